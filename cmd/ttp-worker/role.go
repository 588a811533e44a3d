package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// masterOnly are the commands that use the database of a DECNET master.
var masterOnly = map[string]bool{"run": true, "replay": true, "publish": true, "migrate": true}

// onAgent reports whether this host is a DECNET agent, which has no business
// with the master's database.
func onAgent() bool {
	return strings.EqualFold(os.Getenv("DECNET_MODE"), "agent") && !strings.EqualFold(os.Getenv("DECNET_DISALLOW_MASTER"), "false")
}

// guardRole hides and refuses a command on an agent host.
func guardRole(cmd *cobra.Command) {
	if !onAgent() {
		return
	}
	cmd.Hidden = true
	work := cmd.RunE
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if allow := c.Flags().Lookup("allow-agent"); allow != nil && (allow.Value.String() == "true" || os.Getenv("TTP_ALLOW_AGENT") == "true") {
			return work(c, args)
		}
		return errors.New(c.Name() + " is for the master: DECNET_MODE=agent is set (DECNET_DISALLOW_MASTER=false allows it here)")
	}
}
