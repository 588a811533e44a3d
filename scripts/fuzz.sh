#!/usr/bin/env bash
# Runs every fuzz test of the tree, one after the other: fuzz.sh TIME
set -euo pipefail

grep -rEo --include='*_test.go' '^func Fuzz\w+' . | while IFS=: read -r file func; do
	go test -run '^$' -fuzz "^${func#func }\$" -fuzztime "$1" "$(dirname "$file")"
done
