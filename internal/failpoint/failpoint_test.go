package failpoint

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse("after-commit=kill@3")
	if want := (order{AfterCommit, "kill", 3}); got != want || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"after-commit", "after-commit=kill", "after-commit=kill@0", "after-commit=run@1", "somewhere=kill@1"} {
		if o, err := parse(bad); err == nil {
			t.Errorf("%s: read as %v", bad, o)
		}
	}
}

func TestSetup_refusesWithoutTheTag(t *testing.T) {
	if err := Setup(); err != nil {
		t.Errorf("variable not set: %v", err)
	}
	t.Setenv(Variable, "after-commit=kill@3")
	if err := Setup(); (err == nil) != Enabled {
		t.Errorf("built with fail-points: %v; Setup says %v", Enabled, err)
	}
}
