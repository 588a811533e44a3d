package tagger_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

func finds(rule string) tagger.Tagger {
	return tagger.Func(func(context.Context, *ttp.Event) ([]ttp.Finding, error) {
		return []ttp.Finding{{Claim: &ttp.Claim{RuleID: rule}}}, nil
	})
}

func TestComposite_isolatesFailures(t *testing.T) {
	busy := errors.New("busy")
	c, err := tagger.NewComposite(
		tagger.Route{Name: "first", Kinds: []ttp.Kind{ttp.Command}, Tagger: finds("R1")},
		tagger.Route{Name: "crash", Kinds: []ttp.Kind{ttp.Command, ttp.Email}, Tagger: tagger.Func(func(_ context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
			panic("secret payload " + string(ev.Kind))
		})},
		tagger.Route{Name: "halfway", Kinds: []ttp.Kind{ttp.Command}, Tagger: tagger.Func(func(context.Context, *ttp.Event) ([]ttp.Finding, error) {
			return []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R2"}}}, busy
		})},
		tagger.Route{Name: "elsewhere", Kinds: []ttp.Kind{ttp.Email}, Tagger: finds("R3")},
	)
	if err != nil {
		t.Fatal(err)
	}

	found, err := c.Tag(t.Context(), &ttp.Event{Kind: ttp.Command})
	if len(found) != 2 || found[0].RuleID != "R1" || found[1].RuleID != "R2" {
		t.Errorf("findings = %+v", found)
	}
	if !errors.Is(err, busy) || ttp.IsPermanent(err) {
		t.Errorf("error = %v, want one that may pass", err)
	}
	for _, want := range []string{"tagger crash", "composite_test.go:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error quotes the payload: %q", err)
	}

	found, err = c.Tag(t.Context(), &ttp.Event{Kind: ttp.Email})
	if len(found) != 1 || !ttp.IsPermanent(err) {
		t.Errorf("a panic alone: findings %+v, error %v, want the other's finding and a permanent error", found, err)
	}
}

func TestComposite_reportsUnclaimedKindsOnce(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	c, err := tagger.NewComposite(tagger.Route{Name: "r", Kinds: []ttp.Kind{ttp.Command}, Tagger: finds("R1")})
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	c.Log, c.Unclaimed = zap.New(core), func(ttp.Kind) { counted++ }
	for range 3 {
		for _, kind := range []ttp.Kind{ttp.Intel, "tcpfp"} {
			if found, err := c.Tag(t.Context(), &ttp.Event{Kind: kind}); found != nil || err != nil {
				t.Errorf("%s: %v, %v", kind, found, err)
			}
		}
	}
	if counted != 6 {
		t.Errorf("counted %d events, want 6", counted)
	}
	if n := logs.FilterLevelExact(zapcore.WarnLevel).FilterField(zap.String("source_kind", "intel")).Len(); n != 1 {
		t.Errorf("%d warnings for a known kind, want 1", n)
	}
	if n := logs.FilterLevelExact(zapcore.InfoLevel).FilterField(zap.String("source_kind", "tcpfp")).Len(); n != 1 || logs.Len() != 2 {
		t.Errorf("%d lines for an unknown kind, %d in all", n, logs.Len())
	}
}

func TestNewComposite_refusesBadRoutes(t *testing.T) {
	for name, r := range map[string]tagger.Route{
		"no name":   {Kinds: []ttp.Kind{ttp.Command}, Tagger: finds("R1")},
		"no tagger": {Name: "x", Kinds: []ttp.Kind{ttp.Command}},
		"no kinds":  {Name: "x", Tagger: finds("R1")},
	} {
		if _, err := tagger.NewComposite(r); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
