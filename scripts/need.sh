#!/usr/bin/env bash
# Installs from the distribution the packages of commands that are missing here:
# need.sh COMMAND:PACKAGE…
set -euo pipefail

packages=()
for need in "$@"; do
	command -v "${need%%:*}" >/dev/null 2>&1 && continue
	read -ra names <<<"${need#*:}"
	packages+=("${names[@]}")
done
((${#packages[@]})) || exit 0

install="apt-get install ${packages[*]}"
command -v apt-get >/dev/null 2>&1 || {
	echo "needed: ${packages[*]}, and there is no apt-get here" >&2
	exit 1
}
sudo=()
if ((EUID)); then
	command -v sudo >/dev/null 2>&1 || {
		echo "needed, as root: $install" >&2
		exit 1
	}
	sudo=(sudo)
fi

echo "installing: ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
	"${sudo[@]}" apt-get update -q &&
		"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
} >"$log" 2>&1 </dev/null || {
	cat "$log" >&2
	exit 1
}
