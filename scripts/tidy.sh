#!/usr/bin/env bash
# Runs a command with a directory of its own for temporary files and removes it
# afterwards, with what tests that ran into their time limit left in it.
set -uo pipefail

TMPDIR=$(mktemp -d)
export TMPDIR
trap 'chmod -R u+w "$TMPDIR"; rm -rf "$TMPDIR"' EXIT
"$@"
