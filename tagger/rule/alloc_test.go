//go:build !race

package rule

import (
	"testing"

	"ttp-worker/ttp"
)

// The race detector empties pools at random, hence the build tag: make test
// runs this file in a pass of its own.

func TestEventWithoutAFindingAllocatesNothing(t *testing.T) {
	set := bundled(t, Options{})
	ev := &ttp.Event{Kind: ttp.Command, Payload: payload(t, `{"command_text":"ls -la /home/user/projects","user":"bob","pwd":"/tmp","id":"x"}`)}
	req := &ttp.Event{Kind: ttp.HTTPRequest, Payload: payload(t, `{"raw_url":"/index.html?a=b","method":"GET","user_agent":"Mozilla/5.0"}`)}
	for _, ev := range []*ttp.Event{ev, req} {
		if n := len(mustTag(t, set, ev)); n > 0 {
			t.Fatalf("%s: %d findings", ev.Kind, n)
		}
		allocs := testing.AllocsPerRun(200, func() {
			if _, err := set.Tag(t.Context(), ev); err != nil {
				t.Error(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%s: %v allocations", ev.Kind, allocs)
		}
	}
}
