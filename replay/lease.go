package replay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"ttp-worker/ttp"
)

// ErrBusy says that another process works on the same replay.
var ErrBusy = errors.New("another process is at this very replay; wait for it, or stop it first")

// aliveWithin is how long the owner of a job may be silent before it is taken
// to be gone. He speaks every [keepEvery], also between batches.
const aliveWithin = 10 * time.Second

// claim makes this process the owner of the job. One that died on this machine
// is found out at once; one elsewhere after it has been silent for a while,
// which needs no clocks that agree.
func (r *Replay) claim(ctx context.Context) error {
	r.owner = thisProcess()
	job, err := r.Store.Job(ctx, r.Job)
	if err != nil {
		return err
	}
	if job, err = r.awaitEnd(ctx, job); err != nil {
		return err
	}
	if r.Resume && job.State != "" {
		if err := r.load(job.State); err != nil {
			return err
		}
	} else if r.Resume {
		r.Log.Info("nothing to resume, beginning at the beginning")
	}
	got, err := r.Store.ClaimJob(ctx, job, r.owner, !r.Resume)
	if err == nil && !got {
		err = ErrBusy
	}
	return err
}

// awaitEnd returns the job as it is once nobody works on it.
func (r *Replay) awaitEnd(ctx context.Context, job ttp.Job) (ttp.Job, error) {
	if job.Owner == "" || died(job.Owner) {
		return job, nil
	}
	if sameMachine(job.Owner) {
		return job, ErrBusy
	}
	r.Log.Info("this replay was begun by another process; looking whether it still works", zap.Duration("for", aliveWithin))
	for until := time.Now().Add(aliveWithin); time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return job, ctx.Err()
		case <-time.After(keepEvery):
		}
		now, err := r.Store.Job(ctx, r.Job)
		if err != nil {
			return job, err
		}
		if now.Beat != job.Beat {
			return job, ErrBusy
		}
	}
	return job, nil
}

// keep tells others that this process works on the job.
func (r *Replay) keep(ctx context.Context) error {
	if r.DryRun {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	return r.insist(ctx, func(ctx context.Context) error { return r.Store.KeepJob(ctx, r.Job, r.owner) })
}

func (r *Replay) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.Store.ReleaseJob(ctx, r.Job, r.owner); err != nil {
		r.Log.Warn("the replay is not marked as free; the next one may have to wait a moment", zap.Error(err))
	}
}

// thisProcess names this process: the machine as long as it runs, the process
// as the machine counts, when it began, and something that only it knows.
func thisProcess() string {
	pid := os.Getpid()
	return fmt.Sprintf("%s %d %s %s", machine(), pid, begun(pid), rand.Text())
}

// machine names what process ids are unique in: the boot of a kernel and a
// namespace of its. It is "-" where there is no such thing.
func machine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "-"
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "-"
	}
	return strings.TrimSpace(string(boot)) + "/" + space
}

// begun returns when a process was started, in the kernel's ticks; "" if there
// is no such process.
func begun(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	const startTime = 22 - 3 // field 22 of proc(5); the rest begins at field 3
	if len(fields) <= startTime || fields[0] == "Z" {
		return ""
	}
	return fields[startTime]
}

func sameMachine(owner string) bool {
	name, _, _ := strings.Cut(owner, " ")
	return name != "-" && name == machine()
}

// died reports whether the owner was a process of this machine that is gone.
func died(owner string) bool {
	parts := strings.Split(owner, " ")
	if len(parts) != 4 || !sameMachine(owner) {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	return err == nil && begun(pid) != parts[2]
}
