// Package builtin holds the rules that come with the program, in the format of
// package ttp-worker/tagger/rule: a file or a few for each tactic and
// for each kind of event that is no command, several rules a file.
package builtin

import "embed"

// FS holds the rule files at its top level.
//
//go:embed *.yaml
var FS embed.FS
