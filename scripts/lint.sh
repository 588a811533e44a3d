#!/usr/bin/env bash
# Runs every linter over the tree and fails at the end if any of them complained.
set -uo pipefail

failed=0
check() {
	local name=$1
	shift
	"$@" || {
		echo "lint: $name complains" >&2
		failed=1
	}
}

formatted() {
	local files
	files=$(.tools/gofumpt -l .) && [[ -z $files ]] || {
		echo "$files"
		echo "not formatted; run: make fmt" >&2
		return 1
	}
}

# Test data is left out: attackers misspell as they like. Immortalis is a GPU.
spelled() {
	find . \( -name testdata -o -name .git -o -name .tools \) -prune \
		-o \( -name '*.go' -o -name '*.md' \) -print0 |
		xargs -0 .tools/misspell -error -i immortalis
}

check gofumpt formatted
check 'go vet' go vet ./...
check staticcheck .tools/staticcheck ./...
check 'tools/lint' go vet -vettool="$PWD/.tools/lint" ./...
check misspell spelled
exit "$failed"
