package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"ttp-worker/attack"
)

// build says what this program was made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	System  string `json:"system"` // operating system and architecture
	ATTACK  string `json:"attack"` // release of the bundled catalogue
}

func thisBuild() build {
	return build{version, revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, attack.Release}
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version and what it was built from",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := thisBuild()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ttp-worker %s\ncommit %s\n%s %s\nATT&CK %s\n", b.Version, b.Commit, b.Go, b.System, b.ATTACK)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one JSON object")
	return cmd
}
