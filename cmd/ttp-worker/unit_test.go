package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits asks systemd's own tools about the units: what is wrong in them,
// and how exposed the service is.
func TestUnits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"ttp-worker.service", "ttp-worker-replay@.service", "ttp-worker-replay@.timer"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// verify looks for the program where the unit says it is.
		overwrite(t, filepath.Join(dir, name), strings.ReplaceAll(string(text), "/usr/bin/ttp-worker", "/bin/true"))
	}
	for _, unit := range []string{"ttp-worker.service", "ttp-worker-replay@all.service", "ttp-worker-replay@all.timer"} {
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
	for _, unit := range []string{"ttp-worker.service", "ttp-worker-replay@.service"} {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", filepath.Join(dir, unit)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}
