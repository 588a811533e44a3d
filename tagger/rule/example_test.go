package rule_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

func Example() {
	files := fstest.MapFS{"shadow.yml": {Data: []byte(`
title: The file of password hashes is read
id: X0001
tags: [attack.credential-access, attack.t1003.008]
level: high
logsource: {category: command}
detection:
  selection: {line|contains: /etc/shadow}
  condition: selection
tests:
  - match: cat /etc/shadow
`)}}
	set, problems := rule.Load(rule.Options{}, rule.Source{Name: "files", FS: files})
	fmt.Println(len(problems), "problems,", len(set.Test()), "failures")

	ev := ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: `"tail /etc/shadow"`}}}
	findings, err := set.Tag(context.Background(), &ev)
	for _, f := range findings {
		fmt.Println(f.RuleID, f.Tactic, f.SubTechnique, f.Confidence, string(f.Evidence.AppendJSON(nil)), err)
	}
	// Output:
	// 0 problems, 0 failures
	// X0001 TA0006 T1003.008 0.85 {"command_text":"tail /etc/shadow"} <nil>
}
