#!/usr/bin/env bash
# Builds the program twice, here and from a copy in another directory with a
# cache and a home of its own, and compares the two.
set -euo pipefail

dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
commit=$(git rev-parse HEAD 2>/dev/null || true)
mkdir "$dir/elsewhere"
tar --create --exclude=./.git --exclude=./bin --exclude=./dist --exclude=./.tools . | tar --extract --directory="$dir/elsewhere"

make --no-print-directory build VERSION="$version" COMMIT="$commit"
GOMODCACHE=$(go env GOMODCACHE) GOPROXY=off HOME=$dir GOCACHE=$dir/cache TZ=Pacific/Auckland LC_ALL=C \
	make --no-print-directory --directory="$dir/elsewhere" build VERSION="$version" COMMIT="$commit"

sha256sum bin/ttp-worker "$dir/elsewhere/bin/ttp-worker"
cmp bin/ttp-worker "$dir/elsewhere/bin/ttp-worker"
echo "the same"
