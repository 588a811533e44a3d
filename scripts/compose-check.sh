#!/usr/bin/env bash
# Runs deploy/compose.yaml with Docker as an operator does: secrets, up, first
# event, its tag; then with a container killed, and with compose.cluster.yaml.
# Docker runs in namespaces of its own, from which no registry can be reached:
# the images that the files name are stand-ins, made here of a Debian from its
# mirror. nats:2-alpine is nats-server of go.mod, golang:1.26 this Go, mysql:8.4
# the MariaDB of Debian, so that the image of MySQL itself is not tried.
#
# It needs root. The first time it takes half an hour on two cores, most of it to
# build Docker Compose, which Debian 12 does not have.
set -euo pipefail

compose_version=v2.29.7
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ttp-worker-compose

say() { printf '%5ss  %s\n' "$SECONDS" "$*"; }

# prepare makes what needs the network and is kept: Compose and a Debian.
prepare() {
	((EUID == 0)) || { echo "compose-check: needs root" >&2; exit 1; }
	scripts/need.sh dockerd:docker.io runc:runc containerd:containerd iptables:iptables debootstrap:debootstrap busybox:busybox-static ip:iproute2
	mkdir -p "$cache"
	[[ -x $cache/docker-compose ]] || {
		say 'building Docker Compose'
		mkdir -p "$cache/compose"
		(cd "$cache/compose" && { [[ -e go.mod ]] || go mod init compose; } &&
			go get "github.com/docker/compose/v2/cmd@$compose_version" &&
			go build -o "$cache/docker-compose" github.com/docker/compose/v2/cmd) >"$cache/log" 2>&1 || { tail "$cache/log" >&2; exit 1; }
	}
	[[ -e $cache/debian.tar ]] || {
		say 'fetching a Debian'
		debootstrap --variant=minbase --include=ca-certificates,make,git,mariadb-server bookworm "$cache/debian" >"$cache/log" 2>&1 ||
			{ tail "$cache/log" >&2; exit 1; }
		tar --create --file="$cache/debian.tar.new" --directory="$cache/debian" .
		mv "$cache/debian.tar.new" "$cache/debian.tar"
		rm -rf "$cache/debian"
	}
}

# build_images makes the stand-ins and the worker's image from the Dockerfile.
build_images() {
	docker import "$cache/debian.tar" check-debian >/dev/null
	mkdir "$dir"/{go,nats,mysql}
	cp -r "$(go env GOROOT)" "$dir/go/go"
	GOFLAGS='' GOPROXY="file://$(go env GOMODCACHE)/cache/download" GOSUMDB=off GOMODCACHE=$dir/mod go mod download
	mv "$dir/mod/cache/download" "$dir/go/proxy"
	cat >"$dir/go/Dockerfile" <<-'EOF'
		FROM check-debian
		COPY go /usr/local/go
		COPY proxy /proxy
		ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOPROXY=file:///proxy GOSUMDB=off GOTOOLCHAIN=local HOME=/root
	EOF
	cp "$(command -v busybox)" "$dir/nats/wget"
	CGO_ENABLED=0 go build -o "$dir/nats/nats-server" github.com/nats-io/nats-server/v2
	cat >"$dir/nats/Dockerfile" <<-'EOF'
		FROM scratch
		COPY nats-server wget /bin/
		ENV PATH=/bin
		ENTRYPOINT ["nats-server"]
	EOF
	cat >"$dir/mysql/entrypoint" <<-'EOF'
		#!/bin/bash
		# What the image of MySQL does at its first start, as far as compose.yaml relies on it.
		set -euo pipefail
		[[ ${1:-mysqld} == mysqld ]] || exec "$@"
		docker_process_sql() { mariadb --socket=/tmp/s "$@"; }
		if [[ ! -d /var/lib/mysql/mysql ]]; then
			mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db >/dev/null
			mariadbd --user=mysql --datadir=/var/lib/mysql --socket=/tmp/s --skip-networking &
			until mariadb --socket=/tmp/s -e 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done
			for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
			password=$(<"$MYSQL_ROOT_PASSWORD_FILE")
			docker_process_sql -e "CREATE USER root@'%' IDENTIFIED BY '$password'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION; ALTER USER root@localhost IDENTIFIED BY '$password'"
			kill %1 && wait %1
		fi
		exec mariadbd --user=mysql --datadir=/var/lib/mysql --bind-address=0.0.0.0 --skip-name-resolve
	EOF
	chmod 0755 "$dir/mysql/entrypoint"
	cat >"$dir/mysql/Dockerfile" <<-'EOF'
		FROM check-debian
		COPY entrypoint /entrypoint
		RUN rm -rf /var/lib/mysql && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld
		ENTRYPOINT ["/entrypoint"]
		CMD ["mysqld"]
	EOF
	for image in go=golang:1.26 nats=nats:2-alpine mysql=mysql:8.4; do
		docker build --quiet --tag "${image#*=}" "$dir/${image%%=*}" >/dev/null 2>>"$dir/log"
	done
	say 'the Dockerfile'
	git ls-files -z | xargs -0 tar --create | docker build --quiet --network=none --build-arg VERSION=checked --tag ttp-worker - >/dev/null 2>>"$dir/log" || { tail "$dir/log" >&2; exit 1; }
	docker run --rm --read-only --cap-drop=ALL ttp-worker version
}

compose() { "$cache/docker-compose" "${files[@]}" "$@"; }

event() { # NUMBER
	printf '{"topic":"attacker.command","payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","id":"%s"}}\n' "$1" |
		bin/ttp-worker publish --nats "file:$dir/deploy/secrets/nats-sensor-local" --from -
}
tags() { compose exec -T mysql sh -c 'MYSQL_PWD=$(cat /run/secrets/mysql-ttp) mysql --host=127.0.0.1 --user=ttp -N -e "SELECT COUNT(DISTINCT source_id) FROM ttp.ttp_tag"'; }
until_true() { # WHAT SECONDS COMMAND…
	local what=$1 end=$((SECONDS + $2))
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "never: $what"
		sleep 0.5
	done
	say "$what"
}
tags_are() { [[ $(tags) == "$1" ]]; }
fail() {
	say "FAILED: $*"
	compose ps --all
	compose logs --tail=30
	exit 1
}

# one_host is deploy/compose.yaml alone.
one_host() {
	files=(--project-directory "$dir/deploy" --file "$dir/deploy/compose.yaml")
	compose up --detach --wait --wait-timeout 240 worker || fail 'compose up'
	say 'up and healthy'
	event 1
	until_true 'the first event has tags' 20 tags_are 1
	user=$(docker inspect --format '{{.Config.User}} read-only={{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' ttp-worker-1)
	[[ $user == '65532:65532 read-only=true [ALL]' ]] || fail "the worker runs as $user"
	docker inspect ttp-worker-1 | grep -qF "$(<"$dir/deploy/secrets/mysql-ttp")" && fail 'a password is in docker inspect'
	docker kill ttp-nats-1 >/dev/null
	docker start ttp-nats-1 >/dev/null
	until_true 'an event after NATS was killed' 60 event 2
	until_true 'has tags' 60 tags_are 2
	compose logs worker 2>&1 | grep -qF "$(<"$dir/deploy/secrets/mysql-ttp")" && fail 'a password is in the log'
	compose down --volumes >/dev/null 2>&1
	say 'down'
}

# cluster is three servers of NATS and two workers.
cluster() {
	files+=(--file "$dir/deploy/compose.cluster.yaml")
	compose up --detach --wait --wait-timeout 240 worker || fail 'compose up of the cluster'
	say 'the cluster is up and healthy'
	[[ $(compose ps --quiet worker | wc -l) == 2 ]] || fail 'not two workers'
	event 1
	until_true 'the first event has tags' 30 tags_are 1
	compose stop nats-2 >/dev/null 2>&1
	until_true 'an event with one server of three stopped' 60 event 2
	until_true 'has tags' 60 tags_are 2
	compose down --volumes >/dev/null 2>&1
	echo 'compose-check: all is well'
}

# inside runs in the namespaces: nothing of it outlives them.
inside() {
	ip link set lo up
	dir=$(mktemp -d)
	trap 'kill %1; wait %1 || true; rm -rf "$dir"' EXIT
	export DOCKER_HOST=unix://$dir/docker.sock DOCKER_BUILDKIT=0
	dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "$DOCKER_HOST" >"$dir/log" 2>&1 &
	for _ in {1..100}; do docker version >/dev/null 2>&1 && break || sleep 0.2; done
	docker version >/dev/null || { tail "$dir/log" >&2; exit 1; }
	say "docker $(docker version --format '{{.Server.Version}}'), compose $("$cache/docker-compose" version --short)"
	cp -r deploy "$dir/deploy"
	"$dir/deploy/secrets.sh"
	build_images
	one_host
	cluster
}

if [[ ${1:-} == inside ]]; then
	inside
	exit
fi
prepare
make --no-print-directory build
exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" inside
