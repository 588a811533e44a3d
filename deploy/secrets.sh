#!/usr/bin/env bash
# Makes the two secrets of compose.yaml, once: the password of the database user,
# and the DSN that carries it.
set -euo pipefail
cd "$(dirname "$0")"

if [[ -e secrets ]]; then
	echo "deploy/secrets is there already; the database knows only the password it was made with" >&2
	exit 0
fi
# Nobody else enters the directory. The files in it are readable, because each is
# mounted alone into a container that runs under another user.
mkdir -m 0700 secrets
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
printf '%s' "$password" >secrets/mysql-password
printf 'mysql://ttp:%s@mysql:3306/ttp' "$password" >secrets/mysql-dsn
chmod 0444 secrets/*
