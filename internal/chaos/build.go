package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// binaries are the programs under test.
type binaries struct {
	worker string // with fail-points
	nats   string
}

// build makes the programs, in dir, from the module that this one is part of.
func build(ctx context.Context, dir string) (binaries, error) {
	b := binaries{filepath.Join(dir, "ttp-worker"), filepath.Join(dir, "nats-server")}
	if err := goBuild(ctx, b.worker, "ttp-worker/cmd/ttp-worker", "-tags", "failpoint"); err != nil {
		return b, err
	}
	return b, goBuild(ctx, b.nats, "github.com/nats-io/nats-server/v2")
}

func goBuild(ctx context.Context, out, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, text)
	}
	return nil
}
