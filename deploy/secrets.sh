#!/usr/bin/env bash
# Makes the secrets of compose.yaml, once: passwords of the accounts on NATS and
# MySQL, and the addresses that carry them.
set -euo pipefail
cd "$(dirname "$0")"

if [[ -e secrets ]]; then
	echo "deploy/secrets is there already; the databases know only the passwords they were made with" >&2
	exit 0
fi
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Nobody else enters the directory. The files in it are readable, because each is
# mounted alone into a container that runs under another user.
making=$(mktemp -d secrets.XXXXXX)
trap 'rm -rf "$making"' EXIT
cd "$making"

for user in root ttp-admin ttp; do
	password >"mysql-$user"
done
for user in ttp-admin ttp; do
	printf 'mysql://%s:%s@mysql:3306/ttp' "$user" "$(<"mysql-$user")" >"dsn-$user"
done
for user in sensor worker reader admin; do
	secret=$(password)
	printf 'nats://%s:%s@nats:4222' "$user" "$secret" >"nats-$user"
	printf 'nats://%s:%s@127.0.0.1:4222' "$user" "$secret" >"nats-$user-local" # for programs of this host
	printf '%s_PASSWORD: "%s"\n' "${user^^}" "$secret" >>nats-passwords.conf
done
chmod 0444 ./*
cd ..
chmod 0700 "$making"
mv "$making" secrets
trap - EXIT
