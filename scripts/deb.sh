#!/usr/bin/env bash
# Packs bin/ttp-worker for Debian and Ubuntu: deb.sh VERSION. The same sources
# make the same file, whenever and wherever it is made.
set -euo pipefail

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
arch=$(dpkg --print-architecture)
version=${1#v}
# Without a release to count from, a later commit is a later version.
[[ $version =~ ^[0-9]+\.[0-9] ]] || version=0~$(date -u --date="@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$version
version=${version//-/+}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"
umask 022
make --no-print-directory install DESTDIR="$tree" prefix=/usr

mkdir "$tree/DEBIAN"
install -m 0755 deploy/debian/{postinst,prerm,postrm} "$tree/DEBIAN/"
(cd "$tree" && find etc -type f -printf '/%p\n' | sort) >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<EOF
Package: ttp-worker
Version: $version
Architecture: $arch
Section: net
Priority: optional
Maintainer: ttp-worker maintainers <root@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: init-system-helpers (>= 1.54)
Recommends: ca-certificates
Suggests: mariadb-server | default-mysql-server
Description: tags honeypot events with MITRE ATT&CK techniques
 Reads events of honeypots from NATS JetStream, maps them to ATT&CK techniques,
 stores the tags in MySQL, MariaDB or SQLite, each exactly once, and publishes
 what is new. As installed it brings NATS and SQLite inside.
EOF
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p dist
dpkg-deb --root-owner-group -Zxz --build "$tree" "dist/ttp-worker_${version}_$arch.deb"
