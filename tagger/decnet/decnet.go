// Package decnet holds the detections of DECNET's lifters where the built-in
// rules with the same ids see more or less: for rule files in DECNET's format,
// which leave it to code what makes such a rule fire.
package decnet

import "embed"

// FS holds the rule files at its top level.
//
//go:embed *.yaml
var FS embed.FS
