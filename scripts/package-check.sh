#!/usr/bin/env bash
# Boots a Debian with systemd in a container whose files are this machine's, and
# does there with the package what an operator does: install, first event,
# reload, upgrade under load, hang, wrong configuration, purge. It needs root,
# Debian and systemd-nspawn (package systemd-container). Nothing of it reaches
# this machine: what the container writes is thrown away.
#
#   scripts/package-check.sh OLD.deb NEW.deb
set -euo pipefail

((EUID == 0)) || { echo "package-check: needs root" >&2; exit 1; }
command -v systemd-nspawn >/dev/null || { echo "package-check: apt-get install systemd-container" >&2; exit 1; }

dir=$(mktemp -d)
trap 'umount "$dir/root" 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir "$dir"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
root=$dir/root
install -D -m 0644 "$1" "$root/check/old.deb"
install -D -m 0644 "$2" "$root/check/new.deb"
install -D -m 0755 scripts/package-check-inside.sh "$root/check/inside"
rm -f "$root/etc/fstab" "$root/usr/sbin/policy-rc.d" # which keeps services from being started
cat >"$root/etc/systemd/system/package-check.service" <<'EOF'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/check/inside
ExecStopPost=/bin/systemctl poweroff --no-block
StandardOutput=file:/check/out
StandardError=file:/check/out
TimeoutStartSec=5min
[Install]
WantedBy=multi-user.target
EOF
ln -s ../package-check.service -t "$root/etc/systemd/system/multi-user.target.wants/"

timeout 400 systemd-nspawn --quiet --directory "$root" --register=no --keep-unit --private-network --boot \
	>"$dir/console" 2>&1 || true
cat "$root/check/out"
grep -qx 'package-check: all is well' "$root/check/out" || {
	tail -40 "$dir/console" >&2
	exit 1
}
