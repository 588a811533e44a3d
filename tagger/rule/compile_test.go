package rule

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func memory(files map[string]string) Source {
	fsys := make(fstest.MapFS)
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Source{"test", fsys}
}

func TestFiles_leavesOutWhatEditorsAndVersionControlKeep(t *testing.T) {
	t.Parallel()
	names, problems := memory(map[string]string{
		"b.yaml": "", "a.yml": "", "sub/c.yml": "", ".a.yml.swp": "", ".#a.yml": "", "a.yml~": "", "#a.yml#": "", "4913": "",
		".git/x.yml": "", "..data/a.yml": "", "README.md": "",
	}).Files()
	if want := []string{"a.yml", "b.yaml", "sub/c.yml"}; !slices.Equal(names, want) || problems != nil {
		t.Errorf("got %q, %v, want %q", names, problems, want)
	}
}

func TestCompile_takesFilesAgainAndLeavesThemAsTheyWere(t *testing.T) {
	t.Parallel()
	src := memory(map[string]string{"a.yml": with("id", "A1"), "b.yml": with("id", "A1") + "---\n" + with("id", "B1")})
	a, b := src.Read("a.yml", nil), src.Read("b.yml", nil)
	if _, problems := Compile(Options{}, a, b); len(problems) != 1 || !strings.Contains(problems[0].Error(), "taken by a rule in test/a.yml") {
		t.Errorf("both: %v", problems)
	}
	set, problems := Compile(Options{}, b)
	if len(problems) > 0 || len(b.Problems()) > 0 {
		t.Errorf("b alone: %v, %v", problems, b.Problems())
	}
	for _, info := range set.Rules() {
		if info.Status != Loaded {
			t.Errorf("%s is %s", info.ID, info.Status)
		}
	}
}

func TestDigest_isOfTheDefinitionNotOfItsLayout(t *testing.T) {
	t.Parallel()
	digestOf := func(text string) string {
		set, _ := Load(Options{}, memory(map[string]string{"a.yml": text}))
		return set.Rules()[0].Digest
	}
	rule := with("level", "low")
	same := []string{"# a comment\n" + rule, strings.ReplaceAll(rule, ": ", ":   "), with("level", "'low'"), with("level", "&a low")}
	for _, text := range same {
		if digestOf(text) != digestOf(rule) {
			t.Errorf("another digest for %q", text)
		}
	}
	for _, other := range []string{with("level", "high"), with("version", "7"), with("version", "'7'")} {
		if digestOf(other) == digestOf(rule) {
			t.Errorf("the same digest for %q", other)
		}
	}
	if digestOf(with("version", "7")) == digestOf(with("version", "'7'")) {
		t.Error("the same digest for a number and a text")
	}
}
