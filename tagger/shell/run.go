package shell

import "strings"

// run lists a command and what it runs in its turn, and returns its output.
// in.decoded also says that a word of argv came out of an encoding.
func (r *reader) run(argv []string, red redirects, in stream) stream {
	if len(argv) == 0 && len(red.text) == 0 {
		return stream{}
	}
	c := r.add(argv, red)
	if c == nil || len(argv) == 0 {
		return stream{}
	}
	program := c.Program
	back := r.scope
	r.program, r.parent = program, c.Text[:min(len(c.Text), maxParent)]
	defer r.leave(back)

	if inner := behindWrapper(program, argv[1:]); len(inner) > 0 {
		if program == "xargs" && in.known {
			inner = append(inner[:len(inner):len(inner)], strings.Fields(in.text)...)
		}
		return r.within(inner, red, in)
	}
	r.scripts(program, argv[1:], in)
	return r.output(program, argv[1:], in)
}

// within runs a command on behalf of its parent, with the same redirections.
func (r *reader) within(argv []string, red redirects, in stream) stream {
	if r.atLimit() {
		return stream{}
	}
	r.depth++
	return r.run(argv, red, in)
}

// wrapper is a program whose arguments are a command to run.
type wrapper struct {
	valued      string // the short options that take a value
	longValued  string // the long ones that take it as a word of its own
	operands    int    // words between options and command
	assignments bool   // NAME=value may stand in front of the command
}

var wrappers = map[string]wrapper{
	"sudo":        {valued: "ughpCrtTUDR", longValued: "--user --group", assignments: true},
	"doas":        {valued: "uC"},
	"env":         {valued: "uC", assignments: true},
	"pkexec":      {longValued: "--user"},
	"busybox":     {},
	"toybox":      {},
	"nohup":       {},
	"setsid":      {},
	"builtin":     {},
	"command":     {},
	"exec":        {valued: "a"},
	"time":        {valued: "fo"},
	"timeout":     {valued: "sk", operands: 1},
	"nice":        {valued: "n"},
	"ionice":      {valued: "cnp"},
	"stdbuf":      {valued: "ioe"},
	"chroot":      {operands: 1},
	"xargs":       {valued: "InPdasEL"},
	"strace":      {valued: "eopsuaOSXE"},
	"ltrace":      {valued: "eopsuan"},
	"watch":       {valued: "n"},
	"taskset":     {operands: 1},
	"chrt":        {operands: 1},
	"unshare":     {valued: "SG"},
	"nsenter":     {valued: "tSG", longValued: "--target"},
	"sshpass":     {valued: "pfdP"},
	"proxychains": {valued: "f"}, "proxychains4": {valued: "f"},
	"torsocks": {}, "torify": {}, "fakeroot": {}, "unbuffer": {}, "rlwrap": {}, "caffeinate": {},
	"systemd-run": {valued: "upEHM", longValued: "--unit --on-calendar --on-active --property --uid --gid"},
}

// behindWrapper returns the command that a wrapper runs, nil if there is none
// or program is no wrapper.
func behindWrapper(program string, args []string) []string {
	if w, ok := wrappers[program]; ok {
		if program == "command" && len(args) > 0 && strings.EqualFold(args[0], "-v") {
			return nil // asks where a command is
		}
		return w.command(args)
	}
	switch program {
	case "kubectl", "oc", "crictl", "lxc", "podman", "docker", "nerdctl", "ctr":
		return insideContainer(args)
	case "find", "fd":
		return findExec(args)
	}
	return nil
}

func (w wrapper) command(args []string) []string {
	i := 0
	for i < len(args) {
		a := args[i]
		switch {
		case a == "--":
			return after(args, i+1+w.operands)
		case len(a) > 1 && a[0] == '-':
			i++
			if w.takesNext(a) {
				i++
			}
		case w.assignments && strings.IndexByte(a, '=') > 0:
			i++
		default:
			return after(args, i+w.operands)
		}
	}
	return nil
}

// takesNext reports whether the word behind the option is its value.
func (w wrapper) takesNext(option string) bool {
	if strings.HasPrefix(option, "--") {
		return strings.Contains(" "+w.longValued+" ", " "+option+" ")
	}
	first := strings.IndexAny(option[1:], w.valued)
	return first >= 0 && first == len(option)-2
}

func after(args []string, i int) []string {
	if i >= len(args) {
		return nil
	}
	return args[i:]
}

// insideContainer returns the command that docker, kubectl and the like run in
// a container: what is behind "--", else what begins with a shell.
func insideContainer(args []string) []string {
	if len(args) == 0 || args[0] != "exec" && args[0] != "run" && args[0] != "container" && args[0] != "debug" {
		return nil
	}
	for i, a := range args {
		if a == "--" {
			return after(args, i+1)
		}
		if i > 1 && isShell(a[strings.LastIndexByte(a, '/')+1:]) && args[i-1] != "--entrypoint" {
			return args[i:]
		}
	}
	return nil
}

// findExec returns the command of find's -exec.
func findExec(args []string) []string {
	for i, a := range args {
		switch a {
		case "-exec", "-execdir", "-ok", "-okdir", "-x", "--exec":
			command := after(args, i+1)
			for end, word := range command {
				if word == ";" || word == "+" {
					return command[:end]
				}
			}
			return command
		}
	}
	return nil
}

func isShell(program string) bool {
	switch program {
	case "sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "lksh", "rbash", "hush", "csh", "tcsh", "fish":
		return true
	}
	return false
}

// scripts reads what a program gets as text to run as commands.
func (r *reader) scripts(program string, args []string, in stream) {
	if isShell(program) {
		r.shell(args, in)
		return
	}
	switch program {
	case "eval", "watch":
		r.inner(strings.Join(args, " "), in.decoded)
	case "trap":
		if len(args) > 1 {
			r.inner(args[0], in.decoded)
		}
	case "su", "runuser", "sg", "script", "flock":
		r.inner(optionC(args), in.decoded)
	case "ssh":
		remote := wrapper{valued: "BbcDEeFIiJLlmOopQRSWw", operands: 1}.command(args)
		r.inner(strings.Join(remote, " "), in.decoded)
	case "at", "batch", "source", ".":
		if in.known && (program == "at" || program == "batch" || fromInput(args)) {
			r.inner(in.text, in.decoded)
		}
	}
}

// inner reads text as a script of the command that was listed last.
func (r *reader) inner(text string, decoded bool) {
	if text == "" || !isPrintable(text) {
		return
	}
	defer r.leave(r.scope)
	r.decoded = r.decoded || decoded
	r.script(text)
}

// shell reads what a shell runs: the text behind -c, or else its input if no
// script is named.
func (r *reader) shell(args []string, in stream) {
	command := false
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
		case len(a) > 1 && (a[0] == '-' || a[0] == '+'):
			command = command || a[1] != '-' && strings.Contains(a, "c")
			if shellOptionTakesNext(a) {
				i++
			}
		case command:
			r.inner(a, in.decoded)
			return
		case in.known && fromInput(args[i:]):
			r.inner(in.text, in.decoded)
			return
		default:
			return // a script file
		}
	}
	if in.known {
		r.inner(in.text, in.decoded)
	}
}

func shellOptionTakesNext(option string) bool {
	last := option[len(option)-1]
	return option == "--rcfile" || option == "--init-file" || option[1] != '-' && (last == 'o' || last == 'O')
}

func fromInput(args []string) bool {
	return len(args) > 0 && (args[0] == "/dev/stdin" || args[0] == "-" || args[0] == "/proc/self/fd/0")
}

// optionC returns the text behind -c, --command or a cluster such as -qc.
func optionC(args []string) string {
	for i, a := range args {
		if text, ok := strings.CutPrefix(a, "--command="); ok {
			return text
		}
		short := len(a) > 1 && a[0] == '-' && a[1] != '-' && a[len(a)-1] == 'c'
		if (short || a == "--command") && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' && c != '\r' && c != 0x1b || c == 0x7f {
			return false
		}
	}
	return true
}
