package worker

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReasons_areCountedFromTheStart looks for every reason in the code.
func TestReasons_areCountedFromTheStart(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`reason: "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			found++
			if !slices.Contains(reasons, m[1]) {
				t.Errorf("%s: %s is not among the reasons", file.Name(), m[1])
			}
		}
	}
	if found < len(reasons) {
		t.Errorf("%d reasons in the code, %d are counted", found, len(reasons))
	}
}
