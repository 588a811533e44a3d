#!/usr/bin/env bash
# Installs from the distribution what the tests need and this machine lacks: a C
# compiler for the race detector, the MariaDB server program, systemd-analyze and
# curl. The -core package brings the server without a system service; accounts
# need one of the tests' own also where TTP_TEST_MYSQL_DSN names a server.
set -euo pipefail

exec scripts/need.sh "${CC:-gcc}:gcc libc6-dev" mariadbd:mariadb-server-core systemd-analyze:systemd curl:curl
