#!/usr/bin/env bash
# Installs from the distribution what the tests need and this machine lacks: a C
# compiler for the race detector, the MariaDB server program, systemd-analyze and
# curl.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

packages=()
have "${CC:-gcc}" || packages+=(gcc libc6-dev)
# The tests start a server of their own; the -core package brings the program
# without a system service.
# Also where TTP_TEST_MYSQL_DSN names a server: accounts need one of their own.
have mariadbd || packages+=(mariadb-server-core)
have systemd-analyze || packages+=(systemd) # for its opinion of the units
have curl || packages+=(curl)               # a command in the documentation
((${#packages[@]})) || exit 0

if ! have apt-get; then
	echo "the tests need ${packages[*]}, and there is no apt-get here:" \
		"install a C compiler and MariaDB or MySQL, or set TTP_TEST_MYSQL_DSN" >&2
	exit 1
fi
sudo=()
if ((EUID)); then
	have sudo || {
		echo "the tests need packages; as root: apt-get install ${packages[*]}" >&2
		exit 1
	}
	sudo=(sudo)
fi

echo "installing for the tests: ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
{
	"${sudo[@]}" apt-get update -q &&
		"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get install -q -y --no-install-recommends "${packages[@]}"
} >"$log" 2>&1 </dev/null || {
	cat "$log" >&2
	exit 1
}
