package servers

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMain lets the tests start this program as one that has a directory.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TTP_TEST_DIR"); dir != "" {
		fmt.Println(RemoveAtEnd(dir))
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
	}
	os.Exit(m.Run())
}

func TestRemoveAtEnd_ofAProgramThatIsKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a dir")
	if err := os.MkdirAll(filepath.Join(dir, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	program := exec.Command(exe)
	program.Env = append(os.Environ(), "TTP_TEST_DIR="+dir)
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := program.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "<nil>\n" {
		t.Errorf("said %q, %v", said, err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("before the end: %v", err)
	}
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = program.Wait() // killed
	if err := Eventually(10*time.Second, func() error {
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is still there", dir)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
