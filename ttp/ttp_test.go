package ttp_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/ttp"
)

// The vectors were computed with Python's uuid module.
func TestTagUUID_golden(t *testing.T) {
	f, err := os.Open("testdata/golden-uuids.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var v struct {
			SourceKind     ttp.Kind `json:"source_kind"`
			SourceID       string   `json:"source_id"`
			RuleID         string   `json:"rule_id"`
			RuleVersion    int      `json:"rule_version"`
			TechniqueID    string   `json:"technique_id"`
			SubTechniqueID string   `json:"sub_technique_id"`
			UUID           string   `json:"uuid"`
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		got := ttp.TagUUID(v.SourceKind, v.SourceID, v.RuleID, v.RuleVersion, v.TechniqueID, v.SubTechniqueID)
		if got != v.UUID {
			t.Errorf("%s: got %s", lines.Bytes(), got)
		}
	}
	if n != 16 {
		t.Errorf("%d vectors read, want 16", n)
	}
}

func TestIsPermanent(t *testing.T) {
	bad, busy := errors.New("bad row"), errors.New("busy")
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                       {nil, false},
		"unmarked":                      {busy, false},
		"marked":                        {ttp.Permanent(bad), true},
		"marked, then wrapped":          {fmt.Errorf("store: %w", ttp.Permanent(bad)), true},
		"joined, all marked":            {errors.Join(ttp.Permanent(bad), ttp.Permanent(bad)), true},
		"joined, one may pass":          {errors.Join(ttp.Permanent(bad), busy), false},
		"wrapped join, one may pass":    {fmt.Errorf("store: %w", errors.Join(busy, ttp.Permanent(bad))), false},
		"a join that is itself marked":  {ttp.Permanent(errors.Join(bad, busy)), true},
		"two %w verbs, one unpermanent": {fmt.Errorf("%w beside %w", ttp.Permanent(bad), busy), false},
	} {
		if got := ttp.IsPermanent(c.err); got != c.want {
			t.Errorf("%s: IsPermanent = %v, want %v", name, got, c.want)
		}
	}
	if ttp.Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
}

func TestValue(t *testing.T) {
	o, err := ttp.ParseObject(`{"s":"a\n\u00e9\ud83d\ude00\ud800x","n":7,"f":7.0,"half":1.5,"ns":" 12 ","hex":"0x10","t":true,"one":"1",
		"list":["a",{"b":[1]}],"ls":"[\"x\", 2]","bad":"[1,","null":null,"dash":"-","o":{"k":"v"},"dup":1,"dup":2}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := o.Text("s"), "a\né😀\uFFFDx"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	for name, want := range map[string]int64{"n": 7, "f": 7, "ns": 12, "dup": 2} {
		if got, ok := o.Int(name); !ok || got != want {
			t.Errorf("Int(%s) = %d, %v, want %d", name, got, ok, want)
		}
	}
	for _, name := range []string{"s", "half", "hex", "t", "list", "null", "absent"} {
		if got, ok := o.Int(name); ok {
			t.Errorf("Int(%s) = %d, want none", name, got)
		}
	}
	for _, name := range []string{"t", "one"} {
		if got, ok := o.Bool(name); !got || !ok {
			t.Errorf("Bool(%s) = %v, %v", name, got, ok)
		}
	}
	for name, want := range map[string]int{"list": 2, "ls": 2} {
		if got, ok := o.List(name); !ok || len(got) != want {
			t.Errorf("List(%s) = %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"bad", "null", "absent", "o"} {
		if got, ok := o.List(name); ok {
			t.Errorf("List(%s) = %v, want none", name, got)
		}
	}
	if got := o.ID("null", "dash", "t", "s", "n"); got == "" || got == "-" {
		t.Errorf("ID = %q", got)
	}
	if sub, ok := o.Object("o"); !ok || sub.Text("k") != "v" {
		t.Errorf("Object(o) = %v, %v", sub, ok)
	}
	set := o.Set("n", "8").Set("new", ttp.Quote("x"))
	if n, _ := set.Int("n"); n != 8 || set.Text("new") != "x" {
		t.Errorf("Set gave %v", set)
	}
	if n, _ := o.Int("n"); n != 7 || o.Has("new") {
		t.Error("Set changed its receiver")
	}
}

func TestParseObject_refuses(t *testing.T) {
	deep := ""
	for range 100 {
		deep += "["
	}
	for _, text := range []string{
		"", "null", "[]", `"x"`, "{", "{}}", "{} x", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":01}`, `{"a":+1}`, `{"a":1.}`, `{"a":.5}`,
		`{"a":1e}`, `{"a":tru}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u+123"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\xff\"}", `{"a":[1 2]}`,
		`{"a":` + deep,
	} {
		if _, err := ttp.ParseObject(text); err == nil || !ttp.IsPermanent(err) {
			t.Errorf("ParseObject(%.40q) = %v, want a permanent error", text, err)
		}
	}
}

// FuzzParseObject holds the scanner against encoding/json: same texts taken,
// same strings read, and what is written reads back.
func TestParseEnvelope_payloadIsTheLastOfItsName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"payload":{"a":1}}`:                        `{"a":1}`,
		`{"payload": {"a" : {"payload":{"b":2}}} }`:  `{"a":{"payload":{"b":2}}}`,
		`{"payload":{"a":1},"payload":{"b":2}}`:      `{"b":2}`,
		`{"payload":{"a":1},"\u0070ayload":{"b":2}}`: `{"b":2}`,
		`{"\u0070ayload":{"b":2},"payload":{"a":1}}`: `{"a":1}`,
		`{"x":{"payload":{"a":1}},"payload":{}}`:     `{}`,
		`{"payload":7,"payload":{"a":1}}`:            `{"a":1}`,
		`{"payload":{"a":1},"payload":7}`:            "",
		`{"x":{"payload":{"a":1}}}`:                  "",
		`{"payload":[{"payload":{"a":1}}]}`:          "",
		`{"payload":{"a":1}`:                         "",
		`{"payload":{"a":1}} {}`:                     "",
		`{"payload":{"a":}}`:                         "",
	} {
		env, err := ttp.ParseEnvelope(text)
		if got := string(env.Payload.AppendJSON(nil)); (err == nil) != (want != "") || err == nil && strings.ReplaceAll(got, " ", "") != want {
			t.Errorf("%s: payload %s, %v", text, got, err)
		}
	}
}

func FuzzParseObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"b\u00e9\n","c":[1,-2.5e+3,{"d":null}],"e":true}`, `{"a":"\ud83d\ude00"}`, "{\"a\" :\t1 , \"b\":\"<&>\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ttp.ParseObject(text)
		var std map[string]json.RawMessage
		stdErr := json.Unmarshal([]byte(text), &std)
		if !utf8.ValidString(text) {
			stdErr = errors.New("encoding/json replaces what is not UTF-8")
		}
		if err != nil {
			if stdErr == nil && std != nil && len(text) < 64 {
				t.Fatalf("refused %q: %v", text, err)
			}
			return
		}
		if stdErr != nil {
			t.Fatalf("took %q, encoding/json says %v", text, stdErr)
		}
		for _, m := range o {
			v, _ := o.Get(m.Name)
			got, ok := v.Text()
			if !ok {
				continue
			}
			var want string
			if err := json.Unmarshal(std[m.Name], &want); err != nil || got != want {
				t.Fatalf("%q: %q reads %q, encoding/json %q (%v)", text, m.Name, got, want, err)
			}
		}
		again, err := ttp.ParseObject(string(o.AppendJSON(nil)))
		if err != nil || !cmp.Equal(o, again) && len(o) > 0 {
			t.Fatalf("%q: written and read again %v, was %v (%v)", text, again, o, err)
		}
	})
}

func TestAppendQuoted_isASCIIAndReadsBack(t *testing.T) {
	for _, s := range []string{"", "plain", "\x00\x1f\x7f\"\\/", "é名😀\u202e", "<script>&amp;", "a\xffb"} {
		q := ttp.AppendQuoted(nil, s)
		for _, c := range q {
			if c < 0x20 || c > 0x7e {
				t.Errorf("%q: byte %#x in %s", s, c, q)
			}
		}
		var got, want string
		std, _ := json.Marshal(s)
		if err := errors.Join(json.Unmarshal(q, &got), json.Unmarshal(std, &want)); err != nil || got != want {
			t.Errorf("%q reads back %q (%v)", s, got, err)
		}
	}
}

func TestTagged_JSON(t *testing.T) {
	ev := &ttp.Event{Kind: ttp.Command, SourceID: "abc", AttackerUUID: "a1", SessionID: "s1"}
	tag := ttp.NewTag(ev, ttp.Finding{
		Claim: &ttp.Claim{
			RuleID: "R0014", RuleVersion: 2, Tactic: "TA0006",
			Technique: "T1003", SubTechnique: "T1003.008", AttackRelease: "v19.2", MitreURL: "https://attack.mitre.org/techniques/T1003/008",
		},
		Confidence: 0.95, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("cat /etc/shadow <x>")}},
	})
	tagged := ttp.Tagged{AttackerUUID: "a1", SessionID: "s1", SourceKind: ttp.Session, SourceID: "s1", Tags: []ttp.Tag{tag}}
	data, err := json.Marshal(tagged)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"attacker_uuid":"a1","identity_uuid":null,"session_id":"s1","decky_id":null,"source_kind":"session","source_id":"s1",` +
		`"tag_uuids":["` + tag.UUID + `"],"techniques_added":["T1003"],"tags":[{"uuid":"` + tag.UUID + `","source_kind":"command","source_id":"abc",` +
		`"tactic":"TA0006","technique_id":"T1003","sub_technique_id":"T1003.008","confidence":0.95,"rule_id":"R0014","rule_version":2,` +
		`"evidence":{"command_text":"cat /etc/shadow \u003cx\u003e"},"attack_release":"v19.2","mitre_url":"https://attack.mitre.org/techniques/T1003/008"}]}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var back ttp.Tagged
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tagged, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestEnvelope(t *testing.T) {
	at := time.Date(2026, 5, 2, 6, 23, 30, 123e6, time.UTC)
	env, err := ttp.ParseEnvelope(string(ttp.AppendEnvelope(nil, "id1", "ttp.tagged", at, []byte(`{"a":1}`))))
	if err != nil {
		t.Fatal(err)
	}
	want := ttp.Envelope{ID: "id1", Type: "ttp.tagged", At: at, Payload: ttp.Object{{Name: "a", Value: "1"}}}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{`{"v":2,"payload":{}}`, `{"v":1}`, `{"payload":[]}`, `{"payload":null}`, `{"v":1,"payload":"{}"}`, `{"v":{},"payload":{}}`, `{"v":1.5,"payload":{}}`} {
		if _, err := ttp.ParseEnvelope(text); !ttp.IsPermanent(err) {
			t.Errorf("%s: %v, want a permanent error", text, err)
		}
	}
	for _, text := range []string{`{"payload":{},"later":1}`, `{"v":"1","payload":{}}`, `{"v":null,"payload":{}}`} {
		if _, err := ttp.ParseEnvelope(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
