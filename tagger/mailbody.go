package tagger

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"

	"ttp-worker/ttp"
)

// maxStored is how much of a stored message is read, in bytes.
const maxStored = 8 << 20

var (
	deckyName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	storedName = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ_[0-9a-f]{12}_[A-Za-z0-9._-]{1,255}$`)
)

// storedPath returns where a stored message lies below the artifacts, "" if
// the event does not name one by the rules that such names have.
func storedPath(ev *ttp.Event) string {
	decky, stored := orElse(ev.DeckyID, ev.Payload.Text("decky_id", "decky")), ev.Payload.Text("stored_as")
	if !deckyName.MatchString(decky) || !storedName.MatchString(stored) {
		return ""
	}
	return decky + "/smtp/" + stored
}

// readArtifact returns the first maxStored bytes of a file below dir, nil if
// there is none that this process may read: the sensor is often on another
// host. No link leads out of dir. An error is one that may pass.
func readArtifact(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, passing(err)
	}
	defer func() { _ = root.Close() }()
	// Without O_NONBLOCK, opening a pipe that lies there would never return.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, passing(err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, passing(err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxStored))
	if err != nil {
		return nil, passing(err)
	}
	return raw, nil
}

// passing returns err if it is one that passes with time, else nil.
func passing(err error) error {
	for _, code := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO, syscall.EINTR} {
		if errors.Is(err, code) {
			return err
		}
	}
	return nil
}

// linksIn returns up to limit web links in text.
func linksIn(text string, limit int) []string {
	var links []string
	for len(links) < limit {
		i := strings.Index(text, "://")
		if i < 0 {
			break
		}
		scheme := text[max(0, i-5):i]
		rest := text[i+3:]
		end := strings.IndexAny(rest, " \t\r\n\"'<>()[]{}|\\^`")
		if end < 0 {
			end = len(rest)
		}
		for _, s := range []string{"https", "http"} {
			if len(scheme) >= len(s) && strings.EqualFold(scheme[len(scheme)-len(s):], s) {
				links = append(links, s+"://"+rest[:end])
				break
			}
		}
		text = rest[end:]
	}
	return links
}

// shortestRun is the length from which characters of the base64 alphabet in a
// row are taken to be base64; words are shorter.
const shortestRun = 32

// encodedBytes returns how many bytes the longest base64 in text stands for.
// Mail wraps it at 76 characters, so lines that are all base64 are one run
// with what precedes and follows them.
func encodedBytes(text string) int {
	longest, run := 0, 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n\t ")
		head, tail := leadingBase64(line), trailingBase64(line)
		switch {
		case head == len(line) && (len(line) >= shortestRun || run > 0):
			run += len(line)
			longest = max(longest, run)
			if len(line) == 0 {
				run = 0
			}
			continue
		case run > 0 && head > 0:
			longest = max(longest, run+head)
		}
		longest = max(longest, longestRun(line))
		run = 0
		if tail >= shortestRun {
			run = tail
		}
	}
	if longest < shortestRun {
		return 0
	}
	return longest / 4 * 3
}

func leadingBase64(s string) int {
	n := 0
	for n < len(s) && isBase64(s[n]) {
		n++
	}
	return n
}

func trailingBase64(s string) int {
	n := len(s)
	for n > 0 && isBase64(s[n-1]) {
		n--
	}
	return len(s) - n
}

func longestRun(s string) int {
	longest := 0
	for s != "" {
		n := leadingBase64(s)
		longest = max(longest, n)
		s = s[min(n+1, len(s)):]
	}
	return longest
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '='
}
