package main

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// composeFile is what these tests look at in a file for docker compose.
type composeFile struct {
	Services map[string]struct {
		Command     []string
		Volumes     []string
		Environment map[string]string
		Secrets     []string
	}
	Secrets map[string]struct{ File string }
}

func readCompose(t *testing.T, name string) (c composeFile) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCompose_namesWhatIsThere makes the secrets and looks for every file,
// secret, variable and command that the compose files name.
func TestCompose_namesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", "../../deploy/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "secrets")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one must change nothing
		if out, err := exec.Command(filepath.Join(dir, "secrets.sh")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	main := readCompose(t, "compose.yaml")
	known := optionsOf(newRoot())
	for _, file := range []string{"compose.yaml", "compose.cluster.yaml"} {
		for name, s := range readCompose(t, file).Services {
			for _, v := range s.Volumes {
				if from, _, _ := strings.Cut(v, ":"); strings.HasPrefix(from, "./") {
					if _, err := os.Stat(filepath.Join(dir, from)); err != nil {
						t.Errorf("%s: %s: %v", file, name, err)
					}
				}
			}
			for _, secret := range s.Secrets {
				if _, err := os.Stat(filepath.Join(dir, main.Secrets[secret].File)); main.Secrets[secret].File == "" || err != nil {
					t.Errorf("%s: %s: secret %s: %v", file, name, secret, err)
				}
			}
			for variable := range s.Environment {
				if option := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, "TTP_")), "_", "-"); strings.HasPrefix(variable, "TTP_") && !known[option] {
					t.Errorf("%s: %s: unknown variable %s", file, name, variable)
				}
			}
			if _, _, err := newRoot().Find(s.Command); len(s.Command) == 1 && err != nil {
				t.Errorf("%s: %s: %v", file, name, err)
			}
		}
	}
}

// TestCluster_keepsEveryStreamThreeTimes runs the three servers that
// deploy/nats/cluster.conf configures.
func TestCluster_keepsEveryStreamThreeTimes(t *testing.T) {
	names := []string{"nats", "nats-2", "nats-3"}
	var routes []*url.URL
	for range names {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: freeAddress(t)})
	}
	var servers []*server.Server
	for i, name := range names {
		t.Setenv("NATS_NAME", name)
		o := natsOptions(t, "cluster.conf", nil)
		if len(o.Routes) != len(names) {
			t.Fatalf("%d routes", len(o.Routes))
		}
		host, port, err := net.SplitHostPort(routes[i].Host)
		if err != nil {
			t.Fatal(err)
		}
		o.Cluster.Host, o.Routes = host, routes
		if o.Cluster.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, startNATS(t, o))
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not start")
		}
	}
	admin := strings.Replace(servers[0].ClientURL(), "://", "://admin:"+password+"@", 1)
	until(t, "the cluster makes the streams", func() bool {
		_, err := execute(t, "provision", "--nats", admin, "--stream-replicas", "3")
		return err == nil
	})
	_, js := clientOf(t, admin)
	for _, name := range []string{"TELEMETRY", "TTP", "TTP_DLQ"} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if info := stream.CachedInfo(); info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s: %d replicas, %+v", name, info.Config.Replicas, info.Cluster)
		}
	}
}
