#!/usr/bin/env bash
# The part of package-check.sh that runs in the container.
set -euo pipefail

say() { printf '%5ss  %s\n' "$SECONDS" "$*"; }
fail() {
	say "FAILED: $*"
	journalctl -u ttp-worker --no-pager | tail -60
	exit 1
}
until_true() { # WHAT SECONDS COMMAND…
	local what=$1 end=$((SECONDS + $2))
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "never: $what"
		sleep 0.2
	done
	say "$what"
}
property() { systemctl show -p "$1" --value ttp-worker; }
is() { [[ $(property "$1") == "$2" ]]; }
event() { # NUMBER
	printf '{"topic":"attacker.command","payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","id":"%s"}}\n' "$1"
}
ready() { curl -fsS http://127.0.0.1:9464/readyz; }
announced() { # how many messages the stream TTP has
	ttp-worker doctor --db sqlite:///var/lib/ttp-worker/ttp.db | awk '/stream TTP / {print $4}'
}
announced_is() { [[ $(announced) == "$1" ]]; }

export DEBIAN_FRONTEND=noninteractive TTP_NATS=nats://127.0.0.1:4222

dpkg -i /check/old.deb
until_true 'installed and ready, as it comes' 20 ready
is MainPID 0 && fail 'no process'
ps -o user=,args= -p "$(property MainPID)"
[[ $(ps -o user= -p "$(property MainPID)") != root ]] || fail 'runs as root'
systemctl is-enabled --quiet ttp-worker || fail 'not enabled'

event 0 | ttp-worker publish --show 2s | grep -q '"techniques_added":\["T' || fail 'no ttp.tagged'
each=$(announced)
say "first event tagged: $each messages"

systemctl reload ttp-worker
until_true 'reloaded' 10 bash -c 'journalctl -u ttp-worker | grep -q "\"reloaded\""'
is NRestarts 0 || fail 'reload restarted it'

say 'upgrade under load'
(for i in {1..40}; do
	for _ in {1..50}; do
		event "$i" | ttp-worker publish --from - >/dev/null 2>&1 && continue 2 # not while it restarts
		sleep 0.2
	done
	exit 1
done) &
load=$!
sleep 1
pid=$(property MainPID)
dpkg -i /check/new.deb
[[ $(property MainPID) != "$pid" ]] || fail 'the upgrade did not restart it'
wait "$load" || fail 'events could not be published'
until_true '40 events tagged over the upgrade, each once' 30 announced_is $((41 * each))
[[ $(dpkg-query -W -f '${Version}' ttp-worker) == 0.2.0 ]] || fail 'not upgraded'

kill -STOP "$(property MainPID)"
until_true 'a worker that hangs is restarted by the watchdog' 80 is NRestarts 1
until_true 'ready again' 20 ready

cp /etc/ttp-worker/config.yaml /check/config.yaml
echo 'lnaes: 3' >>/etc/ttp-worker/config.yaml
systemctl restart ttp-worker || true
until_true 'a wrong configuration ends with 78 and is not started again' 10 is ExecMainStatus 78
sleep 3
is ActiveState failed || fail 'started again'
journalctl -u ttp-worker | grep -q 'did you mean lanes' || fail 'does not say what is wrong'
cp /check/config.yaml /etc/ttp-worker/config.yaml
systemctl restart ttp-worker
until_true 'ready with the old configuration' 20 ready

cat >/etc/ttp-worker/config.yaml <<'EOF'
nats: nats://127.0.0.1:4222
db: cred:mysql-dsn
EOF
printf 'mysql://u:hidden@127.0.0.1:1/x' >/etc/ttp-worker/credentials/mysql-dsn
systemctl restart ttp-worker
until_true 'runs with a credential from systemd and waits for servers that are away' 10 \
	bash -c 'journalctl -u ttp-worker | grep -q "cannot start working yet"'
journalctl -u ttp-worker | grep -q hidden && fail 'the password is in the journal'
tr '\0' ' ' <"/proc/$(property MainPID)/cmdline" | grep -q hidden && fail 'the password is in ps'

systemctl show -p Type,WatchdogUSec,DynamicUser ttp-worker
systemd-analyze security ttp-worker.service --no-pager | grep "Overall exposure" || true
apt-get purge -y ttp-worker >/dev/null 2>&1 || dpkg --purge ttp-worker
[[ ! -e /etc/ttp-worker && ! -e /var/lib/private/ttp-worker && ! -e /usr/bin/ttp-worker ]] || fail 'purge left files'
systemctl is-active --quiet ttp-worker && fail 'runs after the purge'
say 'purged'
echo 'package-check: all is well'
