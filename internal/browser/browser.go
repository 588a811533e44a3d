// Package browser lets a test look at a page with headless Chromium, over the
// pipe of its DevTools protocol.
package browser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long the browser may take for anything.
const patience = 30 * time.Second

// Page is one tab. It is for one goroutine.
type Page struct {
	t       testing.TB
	to      io.Writer
	session string
	next    int

	mu       sync.Mutex // guards what follows
	answers  map[int]chan message
	gone     error
	problems []string
}

// message is a call, its answer, or an event.
type message struct {
	ID      int                       `json:"id,omitempty"`
	Session string                    `json:"sessionId,omitempty"`
	Method  string                    `json:"method,omitempty"`
	Params  json.RawMessage           `json:"params,omitempty"`
	Result  json.RawMessage           `json:"result,omitempty"`
	Error   *struct{ Message string } `json:"error,omitempty"`
}

// Open starts a browser of that size, in CSS pixels, light or dark, with a
// blank page. It ends with the test. A machine without Chromium fails the test.
func Open(t testing.TB, width, height int, scheme string) *Page {
	t.Helper()
	p := &Page{t: t, answers: map[int]chan message{}}
	from := p.start()
	go p.read(bufio.NewReader(from)) // ends with the browser
	var target struct{ TargetID string }
	p.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	p.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}, nil)
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	p.call("Runtime.enable", nil, nil)
	p.call("Log.enable", nil, nil)
	p.call("Page.enable", nil, nil)
	return p
}

// start runs the browser and returns what it says.
func (p *Page) start() io.Reader {
	var binary string
	for _, name := range []string{"chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			binary = found
			break
		}
	}
	if binary == "" {
		p.t.Fatal("no Chromium: run apt-get install chromium")
	}
	hear, say, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	listen, speak, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--user-data-dir="+p.t.TempDir())
	cmd.ExtraFiles = []*os.File{hear, speak} // its descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.to = say
	p.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and the processes that it started
		_ = cmd.Wait()                                      // it was killed
		_ = errors.Join(say.Close(), listen.Close())
	})
	_ = errors.Join(hear.Close(), speak.Close()) // the browser has them
	return listen
}

// read hands out answers and keeps what the page complains of.
func (p *Page) read(from *bufio.Reader) {
	for {
		data, err := from.ReadBytes(0)
		p.mu.Lock()
		if err != nil {
			p.gone = fmt.Errorf("the browser is gone: %w", err)
			for _, answer := range p.answers {
				close(answer)
			}
			p.answers = map[int]chan message{}
			p.mu.Unlock()
			return
		}
		var m message
		if err := json.Unmarshal(data[:len(data)-1], &m); err == nil {
			p.take(m)
		}
		p.mu.Unlock()
	}
}

func (p *Page) take(m message) {
	if answer, ok := p.answers[m.ID]; ok {
		answer <- m
		delete(p.answers, m.ID)
		return
	}
	switch m.Method {
	case "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening":
		p.problems = append(p.problems, m.Method+": "+string(m.Params))
	}
}

// Problems returns what the page has complained of so far: exceptions, what the
// policy forbade, files not found, dialogs.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

func (p *Page) call(method string, params, result any) {
	p.t.Helper()
	if params == nil {
		params = struct{}{}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		p.t.Fatal(err)
	}
	p.next++
	answer := make(chan message, 1) // read sends or closes
	p.mu.Lock()
	gone := p.gone
	p.answers[p.next] = answer
	p.mu.Unlock()
	data, err := json.Marshal(message{ID: p.next, Session: p.session, Method: method, Params: raw})
	if err := errors.Join(gone, err); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.to.Write(append(data, 0)); err != nil {
		p.t.Fatal(err)
	}
	select {
	case m, ok := <-answer:
		if !ok || m.Error != nil {
			p.t.Fatalf("%s: %+v", method, m.Error)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				p.t.Fatal(err)
			}
		}
	case <-time.After(patience):
		p.t.Fatalf("%s: no answer in %s", method, patience)
	}
}

// Go opens an address and waits until the expression holds there.
func (p *Page) Go(address, until string) {
	p.t.Helper()
	p.call("Page.navigate", map[string]any{"url": address}, nil)
	p.Until(until)
}

// Eval returns the value of an expression, which may be a promise.
func (p *Page) Eval(expression string) any {
	p.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	return got.Result.Value
}

// Until waits until an expression holds.
func (p *Page) Until(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var got struct{ Result struct{ Value any } }
		p.call("Runtime.evaluate", map[string]any{"expression": "Boolean(" + expression + ")", "returnByValue": true}, &got)
		if got.Result.Value == true {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("never true: %s\n%q", expression, p.Problems())
		}
		p.Eval("new Promise(f => setTimeout(f, 20))")
	}
}

// keyCodes are those of keys that make no text; Enter makes some all the same.
var keyCodes = map[string]int{
	"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35,
}

// Key presses and releases a key: "ArrowDown", "Enter", "Shift+Tab", "/".
func (p *Page) Key(name string) {
	p.t.Helper()
	modifiers := 0
	if rest, shifted := strings.CutPrefix(name, "Shift+"); shifted {
		name, modifiers = rest, 8
	}
	text := ""
	switch {
	case name == "Enter":
		text = "\r"
	case keyCodes[name] == 0:
		text = name
	}
	event := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": keyCodes[name], "text": text, "modifiers": modifiers}
	p.call("Input.dispatchKeyEvent", event, nil)
	event["type"], event["text"] = "keyUp", ""
	p.call("Input.dispatchKeyEvent", event, nil)
}

// Point moves the pointer to a place of the window, in CSS pixels.
func (p *Page) Point(x, y float64) {
	p.t.Helper()
	p.call("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": x, "y": y}, nil)
}

// Node is what assistive technology is told of an element.
type Node struct {
	Role, Name string
	Focusable  bool
	Live       string // "polite" or "assertive" if changes are read out
}

// Accessible returns what assistive technology is told, in the page's order.
func (p *Page) Accessible() (nodes []Node) {
	p.t.Helper()
	type value struct{ Value any }
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name value
			Properties []struct {
				Name  string
				Value value
			}
		}
	}
	p.call("Accessibility.getFullAXTree", nil, &tree)
	text := func(v value) string { s, _ := v.Value.(string); return s }
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		node := Node{Role: text(n.Role), Name: text(n.Name)}
		for _, property := range n.Properties {
			switch property.Name {
			case "focusable":
				node.Focusable = property.Value.Value == true
			case "live":
				node.Live = text(property.Value)
			}
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// Screenshot writes what is to be seen to a PNG file, once nothing moves any
// more but what moves for ever.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	p.Until("document.getAnimations().every(a => a.playState !== 'running' || a.effect.getComputedTiming().endTime === Infinity)")
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
