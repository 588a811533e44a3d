//go:build browser

package api_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/api"
	"ttp-worker/internal/browser"
	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// axe is the accessibility engine that make page-check installs.
const axe = "../.tools/npm/node_modules/axe-core/axe.min.js"

// accessible lets axe look for what keeps people out, in the state that the
// page is in.
func accessible(t *testing.T, p *browser.Page, state string) {
	t.Helper()
	source, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("run make page-check: %v", err)
	}
	p.Eval("typeof axe === 'undefined' && (() => {" + string(source) + "})(); 0")
	found := p.Eval(`axe.run({ resultTypes: ["violations"] }).then(r => r.violations.map(v =>
		v.impact + " " + v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.target + " " + n.failureSummary).join(" | ")))`)
	for _, violation := range found.([]any) {
		t.Errorf("%s: %.600v", state, violation)
	}
}

// named makes sure that assistive technology is told what everything is that
// can have the focus, and what is read out when it changes.
func named(t *testing.T, p *browser.Page) {
	t.Helper()
	live := map[string]int{}
	var landmarks []string
	for _, n := range p.Accessible() {
		if n.Focusable && n.Role != "RootWebArea" && (n.Name == "" || n.Role == "" || n.Role == "generic") {
			t.Errorf("%+v can have the focus and has no name or role", n)
		}
		if n.Live != "" && n.Live != "off" {
			live[n.Live]++
		}
		if slices.Contains([]string{"banner", "main", "search", "region"}, n.Role) {
			landmarks = append(landmarks, n.Role)
		}
	}
	if live["polite"] == 0 || live["polite"] > 2 || live["assertive"] > 0 {
		t.Errorf("parts that are read out: %v, want that the connection and the answer are, and nothing interrupts", live)
	}
	for _, want := range []string{"banner", "search", "main", "region"} {
		if !slices.Contains(landmarks, want) {
			t.Errorf("there is no %s among %v", want, landmarks)
		}
	}
}

// focusShown is the element that has the focus, in words, and whether that is
// to be seen: an outline, within the window.
const focusShown = `(() => {
	const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);
	const name = e.id || e.name || e.dataset.export || [...e.classList].join(" ") || e.tagName;
	const seen = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1.5 && r.width > 0 && r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth;
	return (e.closest("dialog")?.id ?? "") + "/" + name + (seen ? "" : " unseen");
})()`

// tabTo presses Tab until the element of that name has the focus, and returns
// all that had it on the way.
func tabTo(t *testing.T, p *browser.Page, name string) (way []string) {
	t.Helper()
	for range 80 {
		p.Key("Tab")
		here := fmt.Sprint(p.Eval(focusShown))
		way = append(way, here)
		if strings.HasSuffix(here, "unseen") {
			t.Errorf("the focus on %s is not to be seen", here)
		}
		if here == name {
			return way
		}
	}
	t.Fatalf("Tab never leads to %s: %q", name, way)
	return nil
}

// TestPage_inABrowserWithKeysOnly does everything that the page can do without
// a pointer.
func TestPage_inABrowserWithKeysOnly(t *testing.T) {
	feed := &api.Feed{}
	s := server(t, &api.Handler{Service: &api.Service{Store: sights(t)}, Feed: feed})
	for _, v := range views {
		t.Run(v.String(), func(t *testing.T) {
			p := browser.Open(t, v.width, v.height, v.scheme)
			p.Go(s.URL, ready)
			way := tabTo(t, p, "/cell")
			for _, want := range []string{"/skip", "/theme", "/scope", "/decky", "/since", "/min_confidence", "/domain", "/everything"} {
				if !slices.Contains(way, want) {
					t.Errorf("Tab does not lead to %s before the matrix: %q", want, way)
				}
			}
			if len(way) > 14 {
				t.Errorf("the matrix is %d tabs away", len(way))
			}
			if next := tabTo(t, p, "/pause"); len(next) != 2 && len(next) != 1 {
				t.Errorf("the matrix is more than one stop: %q", next)
			}
			p.Key("Shift+Tab")
			drawerByKeys(t, p)
			filterByKeys(t, p)
		})
	}
}

// drawerByKeys opens the tags of a technique, narrows the page to one of them,
// and comes back.
func drawerByKeys(t *testing.T, p *browser.Page) {
	t.Helper()
	p.Eval(`document.querySelector("button.cell[tabindex='0']").focus()`)
	key := p.Eval(`document.activeElement.dataset.key`)
	p.Key("Enter")
	p.Until(`document.querySelector("#drawer .tags li")`)
	for _, at := range tabTo(t, p, "drawer/chip") {
		if !strings.HasPrefix(at, "drawer/") && at != "/BODY unseen" {
			t.Errorf("Tab leaves the drawer for %s", at)
		}
	}
	p.Key("Escape")
	p.Until(`!document.querySelector("#drawer").open`)
	if got := p.Eval(`document.activeElement.dataset.key`); got != key {
		t.Errorf("after the drawer %v has the focus, want %v", got, key)
	}
}

// filterByKeys types a filter and takes it back.
func filterByKeys(t *testing.T, p *browser.Page) {
	t.Helper()
	p.Key("/")
	if at := p.Eval(focusShown); at != "/decky" {
		t.Errorf("/ leads to %v", at)
	}
	for _, letter := range "mail" {
		p.Key(string(letter))
	}
	p.Until(`location.hash.includes("decky=mail") && !document.querySelector("#matrix").ariaBusy`)
	if got := fmt.Sprint(p.Eval(`document.querySelector("#said").textContent`)); !strings.Contains(got, "tags") {
		t.Errorf("read out: %q", got)
	}
	tabTo(t, p, "/clear")
	p.Key("Enter")
	p.Until(`!location.hash.includes("decky") && document.querySelector("#clear").hidden`)
}

// TestPage_inABrowserTickerKeepsStill makes sure that nothing moves away under
// who reads or is about to click.
func TestPage_inABrowserTickerKeepsStill(t *testing.T) {
	feed := &api.Feed{}
	s := server(t, &api.Handler{Service: &api.Service{Store: sights(t)}, Feed: feed})
	p := browser.Open(t, 1280, 800, "light")
	p.Go(s.URL, ready)
	const first = `document.querySelector("#ticks li").textContent`
	announce := func(id string) {
		tag := ttp.NewTag(&ttp.Event{Kind: ttp.Command, SourceID: id, AttackerUUID: attacker}, ttp.Finding{
			Claim:      &ttp.Claim{RuleID: "R0001", RuleVersion: 1, Tactic: "TA0007", Technique: "T1083"},
			Confidence: 0.9, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("announced " + id)}},
		})
		feed.Tell(&ttp.Tagged{AttackerUUID: attacker, Tags: []ttp.Tag{tag}}, time.Now())
	}
	for name, c := range map[string]struct{ hold, release func() }{
		"the pointer": {
			func() { p.Point(300, 680) }, func() { p.Point(300, 300) },
		},
		"the focus": {
			func() { p.Eval(`document.querySelector("#ticks button").focus()`) }, func() { p.Eval(`document.querySelector("#theme").focus()`) },
		},
		"a pause": {
			func() { p.Eval(`document.querySelector("#pause").click()`) }, func() { p.Eval(`document.querySelector("#pause").click()`) },
		},
	} {
		p.Eval(`globalThis.before = ` + first)
		c.hold()
		announce("while " + name + " holds")
		p.Until(`document.querySelector("#waiting").textContent === "1 new"`)
		if p.Eval(first+" === before") != true {
			t.Errorf("the list moves although %s holds it", name)
		}
		c.release()
		p.Until(first + `.includes("announced while ` + name + `") && document.querySelector("#waiting").textContent === ""`)
	}
}

// TestPage_inABrowserWithMuchAndWithNothing looks at the extremes.
func TestPage_inABrowserWithMuchAndWithNothing(t *testing.T) {
	empty, err := sink.Open(testdb.SQLite(t), sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = empty.Close() })
	if err := empty.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		store api.Store
		shows string
	}{
		"nothing":   {empty, `!document.querySelector("#empty").hidden`},
		"very-much": {crowded(t), `document.querySelectorAll("button.cell").length > 300`},
	} {
		s := server(t, &api.Handler{Service: &api.Service{Store: c.store}, Feed: &api.Feed{}})
		for _, v := range views {
			p := browser.Open(t, v.width, v.height, v.scheme)
			p.Go(s.URL, ready+" && "+c.shows)
			shoot(p, v.String()+"-"+name)
			if got := p.Eval(`document.documentElement.scrollWidth - innerWidth`); got.(float64) > 0 {
				t.Errorf("%s, %s: the page is %v pixels wider than the screen", v, name, got)
			}
			if v == views[0] || v == views[3] {
				accessible(t, p, v.String()+", "+name)
			}
		}
	}
}
