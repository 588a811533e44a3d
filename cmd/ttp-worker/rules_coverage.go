package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ttp-worker/navigator"
	"ttp-worker/tagger/rule"
)

func newRulesCoverage() *cobra.Command {
	var dirs []string
	var name string
	cmd := &cobra.Command{
		Use:   "coverage",
		Short: "Write an ATT&CK Navigator layer of what the rules can see",
		Long: `Writes an ATT&CK Navigator layer, format 4.5: the score of a technique is how
many rules in use report it, the comment names them. Open it at
https://mitre-attack.github.io/attack-navigator/ or in a Navigator of your own.`,
		Example: `  ttp-worker rules coverage >coverage.json`,
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		set, _, err := loadRules(dirs)
		if err != nil {
			return err
		}
		return writeCoverage(cmd.OutOrStdout(), cmd.ErrOrStderr(), name, set)
	})
	rulesFlag(s, &dirs)
	s.text(&name, "name", "ttp-worker rules", "the name of the layer", func(v string) error {
		if v == "" {
			return errors.New("a layer needs a name")
		}
		return nil
	})
	return cmd
}

// green is from few rules to many.
var green = []string{"#e5f5e0", "#74c476", "#00441b"}

func writeCoverage(out, complaints io.Writer, name string, set *rule.Set) error {
	var scores []navigator.Score
	rules := 0
	for _, info := range set.Rules() {
		if info.Status != rule.Loaded && info.Status != rule.OfLifter {
			continue
		}
		rules++
		for _, e := range info.Emits {
			scores = append(scores, navigator.Score{
				Technique: cmp.Or(e.SubTechnique, e.Technique), Tactic: e.Tactic, Score: 1,
				Comment: fmt.Sprintf("%s (%v) %s", info.ID, e.Confidence, visible(info.Title)),
			})
		}
	}
	head := navigator.Head{Name: name, Description: fmt.Sprintf("What %d rules can see; the score is how many report the technique.", rules), Colors: green}
	layers, unplaced := navigator.Layers(head, scores)
	if len(unplaced) > 0 {
		fmt.Fprintf(complaints, "ttp-worker: warning: not in ATT&CK any more: %s\n", visible(strings.Join(unplaced, ", ")))
	}
	return navigator.Write(out, layers)
}
