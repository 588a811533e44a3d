#!/usr/bin/env bash
# Prints the licence texts of everything linked into the program, Go's own
# first. It fails if a module brings none.
set -euo pipefail

texts() {
	find "$1" -maxdepth 1 -type f ! -name '*.go' \
		\( -iname 'licen[cs]e*' -o -iname 'notice*' -o -iname 'copying*' \) | sort
}

modules() {
	printf 'go %s %s\n' "$(go env GOVERSION)" "$(go env GOROOT)"
	CGO_ENABLED=0 go list -deps \
		-f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/ttp-worker | sort -u
}

modules | while read -r path version dir; do
	files=$(texts "$dir")
	[[ -n $files ]] || {
		echo "$path $version has no licence text in $dir" >&2
		exit 1
	}
	while read -r file; do
		printf '\n===== %s %s: %s\n\n' "$path" "$version" "${file##*/}"
		cat "$file"
	done <<<"$files"
done
