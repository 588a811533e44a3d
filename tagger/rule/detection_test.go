package rule

import (
	"strings"
	"testing"

	"ttp-worker/ttp"
)

// TestDetection holds the detection language against payloads of a kind that
// has no derived fields.
func TestDetection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		detection string
		match     []string
		noMatch   []string
	}{
		"case does not count":         {`{s: {a: Abc}, condition: s}`, []string{`{"a":"aBC"}`}, []string{`{"a":"abcd"}`, `{"a":"xabc"}`, `{}`, `{"b":"abc"}`}},
		"cased":                       {`{s: {a|cased: Abc}, condition: s}`, []string{`{"a":"Abc"}`}, []string{`{"a":"abc"}`}},
		"contains":                    {`{s: {a|contains: bc}, condition: s}`, []string{`{"a":"xBCx"}`, `{"a":["x","abc"]}`}, []string{`{"a":"b c"}`, `{"a":{"b":"bc"}}`}},
		"contains, cased":             {`{s: {a|contains|cased: bC}, condition: s}`, []string{`{"a":"xbCx"}`}, []string{`{"a":"xbcx"}`}},
		"startswith":                  {`{s: {a|startswith: bc}, condition: s}`, []string{`{"a":"BCx"}`}, []string{`{"a":"xbc"}`}},
		"endswith":                    {`{s: {a|endswith: bc}, condition: s}`, []string{`{"a":"xBC"}`}, []string{`{"a":"bcx"}`}},
		"overlapping ends":            {`{s: {a|endswith: [abc, bc, c]}, condition: s}`, []string{`{"a":"xc"}`, `{"a":"abc"}`}, []string{`{"a":"bcx"}`}},
		"folding beyond ASCII":        {`{s: {a|contains: kÉs}, condition: s}`, []string{`{"a":"xKÉſx"}`, `{"a":"KéS"}`}, []string{`{"a":"kes"}`}},
		"asterisks":                   {`{s: {a: '/etc/*.conf'}, condition: s}`, []string{`{"a":"/ETC/x\n.conf"}`}, []string{`{"a":"x/etc/a.conf"}`, `{"a":"/etc/a.conf2"}`}},
		"asterisks inside contains":   {`{s: {a|contains: 'a*c'}, condition: s}`, []string{`{"a":"xabbcx"}`}, []string{`{"a":"ca"}`}},
		"asterisks at the ends":       {`{s: {a: ['*bc', 'de*', '*fg*']}, condition: s}`, []string{`{"a":"xbc"}`, `{"a":"dex"}`, `{"a":"xfgx"}`}, []string{`{"a":"bcx"}`, `{"a":"xde"}`}},
		"an asterisk alone":           {`{s: {a: '*'}, condition: s}`, []string{`{"a":""}`, `{"a":1}`}, []string{`{"a":null}`, `{}`}},
		"a question mark":             {`{s: {a: 'a?c'}, condition: s}`, []string{`{"a":"aéc"}`}, []string{`{"a":"ac"}`, `{"a":"abbc"}`}},
		"escaped wildcards":           {`{s: {a: 'a\*b\?c'}, condition: s}`, []string{`{"a":"a*b?c"}`}, []string{`{"a":"axbxc"}`}},
		"an escaped backslash":        {`{s: {a: 'a\\*'}, condition: s}`, []string{`{"a":"a\\x"}`}, []string{`{"a":"a*"}`}},
		"a plain backslash":           {`{s: {a: 'a\b'}, condition: s}`, []string{`{"a":"a\\b"}`}, []string{`{"a":"ab"}`}},
		"a list is any":               {`{s: {a: [x, y]}, condition: s}`, []string{`{"a":"x"}`, `{"a":"y"}`}, []string{`{"a":"z"}`}},
		"all of a list":               {`{s: {a|contains|all: [x, y]}, condition: s}`, []string{`{"a":"y x"}`, `{"a":["x","y"]}`}, []string{`{"a":"x"}`}},
		"several fields are all":      {`{s: {a: x, b: y}, condition: s}`, []string{`{"a":"x","b":"y"}`}, []string{`{"a":"x"}`, `{"b":"y"}`}},
		"a list of maps is any":       {`{s: [{a: x}, {b: y, c: z}], condition: s}`, []string{`{"a":"x"}`, `{"b":"y","c":"z"}`}, []string{`{"b":"y"}`}},
		"null":                        {`{s: {a: null}, condition: s}`, []string{`{}`, `{"a":null}`}, []string{`{"a":""}`, `{"a":0}`}},
		"null or a value":             {`{s: {a: [null, x]}, condition: s}`, []string{`{}`, `{"a":"x"}`}, []string{`{"a":"y"}`}},
		"an empty text":               {`{s: {a: ''}, condition: s}`, []string{`{"a":""}`}, []string{`{}`, `{"a":"x"}`}},
		"contains nothing":            {`{s: {a|contains: ''}, condition: s}`, []string{`{"a":"x"}`}, []string{`{}`}},
		"numbers and truth":           {`{s: {a: 404, b: true}, condition: s}`, []string{`{"a":404,"b":true}`, `{"a":"404","b":"TRUE"}`}, []string{`{"a":404,"b":false}`}},
		"a nested member":             {`{s: {a.b: x}, condition: s}`, []string{`{"a":{"b":"x"}}`, `{"a.b":"x"}`}, []string{`{"a":{"b":{"c":"x"}}}`}},
		"re":                          {`{s: {a|re: 'a.c$'}, condition: s}`, []string{`{"a":"xabc"}`}, []string{`{"a":"xABC"}`, `{"a":"a\nc"}`}},
		"re with flags":               {`{s: {a|re|i|s|m: '^a.c$'}, condition: s}`, []string{`{"a":"x\nA\nC\ny"}`}, []string{`{"a":"xabc"}`}},
		"re with look-around":         {`{s: {a|re: 'curl(?!ftp)\s'}, condition: s}`, []string{`{"a":"curl x"}`}, []string{`{"a":"curlftp x"}`}},
		"all of several re":           {`{s: {a|re|all: ['x+', 'y+']}, condition: s}`, []string{`{"a":"y x"}`}, []string{`{"a":"xx"}`}},
		"cidr":                        {`{s: {a|cidr: [192.0.2.0/24, '2001:db8::/32']}, condition: s}`, []string{`{"a":"192.0.2.9"}`, `{"a":"2001:DB8::1"}`, `{"a":"::ffff:192.0.2.1"}`}, []string{`{"a":"192.0.3.1"}`, `{"a":"x"}`, `{}`}},
		"different from all of them":  {`{s: {a|neq: [x, 'y*']}, condition: s}`, []string{`{"a":"z"}`, `{}`}, []string{`{"a":"X"}`, `{"a":"yz"}`}},
		"none of the parts":           {`{s: {a|contains|neq: x}, condition: s}`, []string{`{"a":"z"}`}, []string{`{"a":"yxz"}`}},
		"comparisons":                 {`{s: {a|lt: 5, b|lte: 5, c|gt: 5, d|gte: 5}, condition: s}`, []string{`{"a":4.5,"b":5,"c":"6","d":5}`}, []string{`{"a":5,"b":5,"c":6,"d":5}`, `{"a":4,"b":6,"c":6,"d":5}`, `{"a":4,"b":5,"c":5,"d":5}`, `{"a":4,"b":5,"c":6,"d":4}`, `{"a":"x","b":5,"c":6,"d":5}`, `{"a":4,"b":5,"c":"inf","d":5}`, `{"a":4,"b":5,"c":"0x9","d":5}`}},
		"exists":                      {`{s: {a|exists: true, b|exists: false}, condition: s}`, []string{`{"a":""}`, `{"a":{},"b":null}`}, []string{`{}`, `{"a":1,"b":1}`}},
		"fieldref":                    {`{s: {a|fieldref: b}, condition: s}`, []string{`{"a":"x","b":"X"}`}, []string{`{"a":"x"}`, `{"a":"x","b":"y"}`, `{}`}},
		"fieldref, cased":             {`{s: {a|cased|fieldref: b}, condition: s}`, []string{`{"a":"x","b":"x"}`}, []string{`{"a":"x","b":"X"}`}},
		"fieldref, startswith":        {`{s: {a|fieldref|startswith: b}, condition: s}`, []string{`{"a":"xy","b":"X"}`}, []string{`{"a":"yx","b":"x"}`}},
		"base64":                      {`{s: {a|base64|contains: 'whoami'}, condition: s}`, []string{`{"a":"echo d2hvYW1p"}`}, []string{`{"a":"whoami"}`}},
		"base64offset":                {`{s: {a|base64offset|contains: '/bin/sh'}, condition: s}`, []string{`{"a":"L2Jpbi9zaA=="}`, `{"a":"eC9iaW4vc2g="}`, `{"a":"eHgvYmluL3No"}`, `{"a":"eHh4L2Jpbi9zaHg="}`}, []string{`{"a":"/bin/sh"}`, `{"a":"L2Jpbi9jYXQ="}`}},
		"wide base64offset":           {`{s: {a|wide|base64offset|contains: 'abc'}, condition: s}`, []string{`{"a":"YQBiAGMA"}`}, []string{`{"a":"YWJj"}`}},
		"utf16be":                     {`{s: {a|utf16be|contains: 'ab'}, condition: s}`, []string{`{"a":"\u0000a\u0000b"}`}, []string{`{"a":"a\u0000b\u0000"}`}},
		"windash":                     {`{s: {a|windash|contains: ' -exec'}, condition: s}`, []string{`{"a":"x -exec"}`, `{"a":"x /exec"}`, `{"a":"x –exec"}`, `{"a":"x ―EXEC"}`}, []string{`{"a":"x exec"}`, `{"a":"x +exec"}`}},
		"windash leaves inner dashes": {`{s: {a|windash|contains: '-a-b'}, condition: s}`, []string{`{"a":"/a-b"}`}, []string{`{"a":"-a/b"}`}},
		"keywords":                    {`{s: [one, two], condition: s}`, []string{`{"a":"xONEx"}`, `{"a":{"b":["x",{"c":"two"}]}}`}, []string{`{"one":1}`}},
		"keywords, all":               {`{s: {'|all': [one, two]}, condition: s}`, []string{`{"a":"one","b":"two"}`}, []string{`{"a":"one"}`}},
		"keywords, re":                {`{s: {'|re': 'o.e'}, condition: s}`, []string{`{"a":"oxe"}`}, []string{`{"a":"oxxe"}`}},
		"a keyword with a wildcard":   {`{s: ['o*e'], condition: s}`, []string{`{"a":"xoxxex"}`}, []string{`{"a":"eo"}`}},
		"a keyword alone":             {`{s: one, condition: s}`, []string{`{"a":"xonex"}`}, []string{`{"a":"on"}`}},
		"not of a missing field":      {`{s: {a: x}, f: {b: y}, condition: s and not f}`, []string{`{"a":"x"}`, `{"a":"x","b":"z"}`}, []string{`{"a":"x","b":"y"}`}},
		"not alone":                   {`{f: {b: y}, condition: not f}`, []string{`{}`}, []string{`{"b":"y"}`}},
		"and binds before or":         {`{p: {a: x}, q: {b: x}, r: {c: x}, condition: p or q and r}`, []string{`{"a":"x"}`, `{"b":"x","c":"x"}`}, []string{`{"b":"x"}`, `{"c":"x"}`}},
		"parentheses":                 {`{p: {a: x}, q: {b: x}, r: {c: x}, condition: (p or q) and not (r)}`, []string{`{"a":"x"}`, `{"b":"x"}`}, []string{`{"a":"x","c":"x"}`}},
		"words in any case":           {`{p: {a: x}, q: {b: x}, condition: p AND NOT q}`, []string{`{"a":"x"}`}, []string{`{"a":"x","b":"x"}`}},
		"1 of a pattern":              {`{s_1: {a: x}, s_2: {b: x}, t: {c: x}, condition: 1 of s_*}`, []string{`{"a":"x"}`, `{"b":"x"}`}, []string{`{"c":"x"}`}},
		"all of a pattern":            {`{s_1: {a: x}, s_2: {b: x}, t: {c: x}, condition: all of s_*}`, []string{`{"a":"x","b":"x"}`}, []string{`{"a":"x","c":"x"}`}},
		"all of them":                 {`{s: {a: x}, _t: {c: x}, condition: all of them}`, []string{`{"a":"x"}`}, []string{`{"c":"x"}`}},
		"2 of them":                   {`{p: {a: x}, q: {b: x}, r: {c: x}, condition: 2 of them}`, []string{`{"a":"x","c":"x"}`, `{"a":"x","b":"x","c":"x"}`}, []string{`{"b":"x"}`}},
		"several conditions":          {`{p: {a: x}, q: {b: x}, condition: [p, q]}`, []string{`{"a":"x"}`, `{"b":"x"}`}, []string{`{"c":"x"}`}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			set := mustLoad(t, strings.Replace(sigmaRule(c.detection), "category: command", "category: session", 1))
			for _, text := range c.match {
				if len(mustTag(t, set, session(t, text))) != 1 {
					t.Errorf("%s: no match", text)
				}
			}
			for _, text := range c.noMatch {
				if len(mustTag(t, set, session(t, text))) != 0 {
					t.Errorf("%s: a match", text)
				}
			}
		})
	}
}

func session(t *testing.T, text string) *ttp.Event {
	return &ttp.Event{Kind: ttp.Session, Payload: payload(t, text)}
}

func TestCommandRecords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		detection string
		match     []string
		noMatch   []string
	}{
		"program":                {`{s: {program: wget}, condition: s}`, []string{"x; /usr/bin/WGET y"}, []string{"echo wget", "wgetx"}},
		"Image":                  {`{s: {Image: [/usr/bin/wget, /opt/wget]}, condition: s}`, []string{"wget y", "/opt/wget y"}, []string{"/tmp/wget y"}},
		"args, quotes undone":    {`{s: {args: a b c}, condition: s}`, []string{`x a "b c"`}, []string{"a b c"}},
		"arg":                    {`{s: {arg: -x}, condition: s}`, []string{"a -y -x"}, []string{"a -xy"}},
		"writes and reads":       {`{s: {writes: /a, reads: /b}, condition: s}`, []string{"x > /a < /b"}, []string{"x > /b < /a"}},
		"CommandLine of a part":  {`{s: {CommandLine|startswith: rm}, condition: s}`, []string{"cd x; rm y"}, []string{"echo; echo rm"}},
		"the line in each part":  {`{s: {program: rm, line|startswith: cd}, condition: s}`, []string{"cd x; rm y"}, []string{"rm y; cd x"}},
		"not is within a record": {`{s: {program: id}, f: {arg: -u}, condition: s and not f}`, []string{"id -u; id"}, []string{"id -u"}},
		"parent":                 {`{s: {ParentImage|endswith: /sudo, program: id}, condition: s}`, []string{"sudo id"}, []string{"id"}},
		"auditd words":           {`{s: {type: EXECVE, a0|endswith: chattr, a1: -i}, condition: s}`, []string{"/usr/bin/chattr -i x"}, []string{"chattr x -i"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			set := mustLoad(t, sigmaRule(c.detection))
			for _, line := range c.match {
				if len(mustTag(t, set, command(line))) != 1 {
					t.Errorf("%q: no match", line)
				}
			}
			for _, line := range c.noMatch {
				if len(mustTag(t, set, command(line))) != 0 {
					t.Errorf("%q: a match", line)
				}
			}
		})
	}
}

func TestSensorThatSeesProcessesIsBelieved(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, sigmaRule(`{s: {Image: /opt/x, CommandLine: x -y}, condition: s}`))
	ev := &ttp.Event{Kind: ttp.Command, Payload: payload(t, `{"CommandLine":"x -y","Image":"/opt/x"}`)}
	if len(mustTag(t, set, ev)) != 1 {
		t.Error("no match")
	}
}

func TestRequestFields(t *testing.T) {
	t.Parallel()
	const req = `{"raw_url":"/a%2Fb?q=%2527+x","method":"GET","status":404,
		"headers":{"User-Agent":"curl/8","Host":"h.example","Cookie":"c=1","Referer":"r","X":["y","z"]}}`
	for detection, want := range map[string]bool{
		`{url: "/a/b?q='+x"}`:            true,
		`{raw_url: '/a%2Fb\?q=%2527+x'}`: true,
		`{cs-uri|contains: a/b}`:         true,
		`{c-uri|contains: a%2fb}`:        true,
		`{cs-uri-stem: /a/b}`:            true,
		`{cs-uri-stem|contains: q=}`:     false,
		`{cs-uri-query|startswith: q=}`:  true,
		`{cs-uri-query|contains: /a/b}`:  true,
		`{cs-method: get}`:               true,
		`{cs-user-agent: curl/8}`:        true,
		`{c-useragent|startswith: wget}`: false,
		`{cs-host: h.example}`:           true,
		`{cs-cookie: c=1}`:               true,
		`{cs-referer: r}`:                true,
		`{header: z}`:                    true,
		`{headers: null}`:                false,
		`{sc-status: 404}`:               true,
		`{sc-status: 200}`:               false,
	} {
		t.Run(detection, func(t *testing.T) {
			t.Parallel()
			rule := strings.Replace(sigmaRule("{s: "+detection+", condition: s}"), "category: command", "category: webserver", 1)
			ev := &ttp.Event{Kind: ttp.HTTPRequest, Payload: payload(t, req)}
			if got := len(mustTag(t, mustLoad(t, rule), ev)) == 1; got != want {
				t.Errorf("match is %t, want %t", got, want)
			}
		})
	}
}

func TestRequestEvidenceIsThePayloadBehindTheFields(t *testing.T) {
	t.Parallel()
	rule := strings.Replace(sigmaRule("{s: {cs-uri-query|contains: x, cs-method: GET}, k: [x], condition: s and k}"),
		"category: command", "category: webserver", 1)
	ev := &ttp.Event{Kind: ttp.HTTPRequest, Payload: payload(t, `{"raw_url":"/x","method":"GET","user_agent":"u"}`)}
	findings := mustTag(t, mustLoad(t, rule), ev)
	if len(findings) != 1 || string(findings[0].Evidence.AppendJSON(nil)) != `{"raw_url":"/x","method":"GET"}` {
		t.Errorf("findings %+v", findings)
	}
}
