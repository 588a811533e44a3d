package worker_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ttp-worker/intake"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p worker.Pulse
		if got := p.Stalled(0); got != nil {
			t.Errorf("nothing began, stalled: %q", got)
		}
		p.Beat("lane 1")
		p.Beat("lane 0")
		p.Beat("ended")
		p.End("ended")
		time.Sleep(time.Minute) // of the bubble's clock
		p.Beat("lane 0")
		for limit, want := range map[time.Duration][]string{
			-time.Second:     {"lane 0", "lane 1"},
			time.Minute:      nil,
			59 * time.Second: {"lane 1"},
		} {
			if got := p.Stalled(limit); !slices.Equal(got, want) {
				t.Errorf("stalled for more than %s: %q, want %q", limit, got, want)
			}
		}
	})
}

// TestPulse_ofARun holds that a database which is away is no reason for the
// watchdog, and a tagger which never returns is one.
func TestPulse_ofARun(t *testing.T) {
	for name, c := range map[string]struct {
		down, hangs bool
		want        []string
	}{
		"a tagger hangs":       {hangs: true, want: []string{"lane 0"}},
		"the database is away": {down: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				w := &world{down: c.down}
				w.queue = []worker.Delivery{message{w, `{"payload":` + command("known", "good", "ls") + `}`, worker.Meta{At: time.Now()}}}
				var pulse worker.Pulse
				wk := &worker.Worker{
					Sources: []worker.Source{w}, Sink: w, Publisher: w, Resolver: intake.NewResolver(directory{}, false), Pulse: &pulse,
					Tagger: tagger.Func(func(context.Context, *ttp.Event) ([]ttp.Finding, error) {
						if c.hangs {
							<-release
						}
						return []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1083"}, Confidence: 0.3}}, nil
					}),
				}
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- wk.Run(ctx) }()
				time.Sleep(10 * time.Minute) // of the bubble's clock
				if got := pulse.Stalled(time.Minute); !slices.Equal(got, c.want) {
					t.Errorf("stalled: %q, want %q", got, c.want)
				}
				close(release)
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if got := pulse.Stalled(-time.Second); got != nil {
					t.Errorf("ended and stalled: %q", got)
				}
			})
		})
	}
}
