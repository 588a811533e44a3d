// Package compose holds the files for Docker Compose against the specification,
// as Compose itself reads them.
package compose

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
)

// check loads the files as one project: schema, references between services,
// volumes and secrets, and the conditions of what depends on what.
func check(ctx context.Context, files []string) error {
	options, err := cli.NewProjectOptions(files, cli.WithName("check"))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return err
	}
	if len(project.Services) == 0 {
		return fmt.Errorf("no services in %v", files)
	}
	return nil
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a service":           {"services: {a: {image: x}}", ""},
		"no services":         {"services: {}", "no services"},
		"an unknown key":      {"services: {a: {image: x, imgae: y}}", "imgae"},
		"an unknown secret":   {"services: {a: {image: x, secrets: [s]}}", "undefined secret"},
		"an unknown service":  {"services: {a: {image: x, depends_on: {b: {condition: service_healthy}}}}", "b"},
		"an odd condition":    {"services: {a: {image: x, depends_on: {a2: {condition: sometime}}}, a2: {image: y}}", "condition"},
		"nothing to be built": {"services: {a: {command: [x]}}", "neither an image nor a build"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "compose.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := check(t.Context(), []string{file})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestCheck_deploy(t *testing.T) {
	one, cluster := "../../deploy/compose.yaml", "../../deploy/compose.cluster.yaml"
	for _, files := range [][]string{{one}, {one, cluster}} {
		if err := check(t.Context(), files); err != nil {
			t.Errorf("%v: %v", files, err)
		}
	}
}
