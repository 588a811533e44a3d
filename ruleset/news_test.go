package ruleset

import (
	"testing"
	"time"

	"ttp-worker/ttp"
)

type nobody struct{ Notifier }

// ids returns the ids of the news that one worker has of a state's life.
func ids(t *testing.T, s ttp.RuleState) (list []string) {
	t.Helper()
	l, err := New(Options{Build: asGiven, Notifier: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	l.tellState(s)
	l.tellReverted(s)
	l.tellRemoved(s)
	for n, ok := l.news.first(); ok; n, ok = l.news.first() {
		list = append(list, n.id)
		l.news.drop()
	}
	return list
}

func TestNewsOfAState_haveOneIDInAllWorkersAndOnePerChange(t *testing.T) {
	t.Parallel()
	s := ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled, SetAt: time.Unix(1, 0).UTC()}
	again := s
	again.SetAt = again.SetAt.Add(time.Second)
	one, other, later := ids(t, s), ids(t, s), ids(t, again)
	seen := make(map[string]bool)
	for i := range one {
		if one[i] != other[i] {
			t.Errorf("two workers say the same under %q and %q", one[i], other[i])
		}
		seen[one[i]], seen[later[i]] = true, true
	}
	if len(one) != 3 || len(seen) != 6 {
		t.Errorf("%d ids of 2 times %d changes", len(seen), len(one))
	}
}

func TestBoard_isBounded(t *testing.T) {
	t.Parallel()
	b := newBoard()
	for range maxNews {
		if !b.post(news{}) {
			t.Fatal("no room")
		}
	}
	if b.post(news{}) {
		t.Error("there is no bound")
	}
}

func TestSubjectWord_isOneWord(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{"R0001": "R0001", "a.b*c>d e\r\n": "a_b_c_d_e__", "ä": "__"} {
		if got := subjectWord(id); got != want {
			t.Errorf("subjectWord(%q) = %q, want %q", id, got, want)
		}
	}
}
