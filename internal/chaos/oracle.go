package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// verdict is what the oracle found, a line of the table.
type verdict struct {
	fault        string
	sent         int // messages that the stream has taken
	stored       int // tags in the table
	published    int // tags announced
	lost         int // tags that should be stored and announced and are not both
	spurious     int // tags, stored or announced, that nothing sent explains
	corrupt      int // tags that are not what they should be
	doubled      int // tags announced more than once
	redelivered  int // deliveries beyond the first of a message
	deadLettered int
	seconds      float64

	complaints []string // why the fault's requirements are not met
}

func (v *verdict) complain(format string, args ...any) {
	const most = 12
	if len(v.complaints) < most {
		v.complaints = append(v.complaints, fmt.Sprintf(format, args...))
	}
}

// compare holds what is stored and what was announced against what should be.
func (v *verdict) compare(want, stored map[string]object, o *observer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v.stored, v.published = len(stored), len(o.times)
	for _, uuid := range slices.Sorted(maps.Keys(want)) {
		v.compareOne(uuid, want[uuid], stored[uuid], o)
	}
	for _, uuid := range slices.Sorted(maps.Keys(union(stored, o.times))) {
		if want[uuid] == nil {
			v.spurious++
			v.complain("spurious tag %s: %v", uuid, stored[uuid])
		}
	}
	for uuid, times := range o.times {
		if times > 1 {
			v.doubled++
			v.complain("tag %s announced %d times", uuid, times)
		}
	}
	for _, fault := range o.faults {
		v.complain("announcement: %s", fault)
	}
}

func union(stored map[string]object, announced map[string]int) map[string]bool {
	all := make(map[string]bool)
	for uuid := range stored {
		all[uuid] = true
	}
	for uuid := range announced {
		all[uuid] = true
	}
	return all
}

func (v *verdict) compareOne(uuid string, want, row object, o *observer) {
	switch {
	case row == nil:
		v.lost++
		v.complain("lost: tag %s of %v is not stored", uuid, want["source_id"])
		return
	case o.times[uuid] == 0 || !o.fired[uuid]:
		v.lost++
		v.complain("lost: tag %s of %v is stored and was never announced", uuid, want["source_id"])
		return
	}
	if d := difference(want, row, columns); d != "" {
		v.corrupt++
		v.complain("corrupt: stored tag %s: %s", uuid, d)
		return
	}
	if d := difference(want, o.tags[uuid], announcedColumns); d != "" {
		v.corrupt++
		v.complain("corrupt: announced tag %s: %s", uuid, d)
	}
}

// announcedColumns are those that an announcement has of each tag: session and
// decky it has once, of the event that arrived.
var announcedColumns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == "session_id" || c == "decky_id" })

func difference(want, got object, names []string) string {
	for _, name := range names {
		a, errA := json.Marshal(want[name])
		b, errB := json.Marshal(got[name])
		if errA != nil || errB != nil || string(a) != string(b) {
			return fmt.Sprintf("%s is %.100s, want %.100s", name, b, a)
		}
	}
	return ""
}

// judge adds what must hold whatever the fault was.
func (v *verdict) judge() {
	for what, n := range map[string]int{"lost": v.lost, "spurious": v.spurious, "corrupt": v.corrupt, "doubled": v.doubled} {
		if n > 0 {
			v.complain("%d %s", n, what)
		}
	}
	if v.sent == 0 || v.stored == 0 {
		v.complain("nothing was sent or nothing was stored, so nothing is proven")
	}
	if v.stored != v.published {
		v.complain("%d tags stored, %d published", v.stored, v.published)
	}
}
