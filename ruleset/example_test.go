package ruleset_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"ttp-worker/ruleset"
	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

func ExampleNew() {
	files := fstest.MapFS{"a.yml": {Data: []byte(text("A", "alpha", 1))}}
	live, err := ruleset.New(ruleset.Options{
		Sources: []ruleset.Source{{Source: rule.Source{Name: "memory", FS: files}}}, // with a Dir it would be watched
		Build:   func(set *rule.Set) (tagger.Tagger, error) { return set, nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ev := &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: `"alpha"`}}}
	for _, text := range []string{text("A", "alpha", 2), "{", text("A", "beta", 3)} {
		findings, _ := live.Tag(context.Background(), ev)
		fmt.Println("version", findings[0].RuleVersion)
		files["a.yml"] = &fstest.MapFile{Data: []byte(text)}
		_ = live.Reload(context.Background()) // Run does so by itself
	}
	findings, _ := live.Tag(context.Background(), ev)
	fmt.Println(len(findings), "findings")
	// Output:
	// version 1
	// version 2
	// version 2
	// 0 findings
}
