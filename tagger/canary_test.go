package tagger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

const (
	winChrome     = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
	macSafari     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15"
	linuxFirefox  = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
	pixelChrome   = "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"
	iPhoneSafari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	chromebook    = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
	headlessLinux = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36"

	swiftShader = "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero) (0x0000C0DE)), SwiftShader driver)"
	direct3D    = "ANGLE (NVIDIA, NVIDIA GeForce RTX 3060 Direct3D11 vs_5_0 ps_5_0, D3D11)"
)

// canaryHit is a hit as the sensor publishes it, with the fingerprint that it
// stored beside it.
func canaryHit(fp string) string {
	return `{"token_id":"t1","trigger_id":"g1","decky_name":"omega-decky","src_ip":"198.51.100.7",` +
		`"user_agent":null,"request_path":"/c/x","dns_qname":null,"_fp":` + fp + `}`
}

func navigator(userAgent, platform, renderer string) string {
	return canaryHit(fmt.Sprintf(`{"mint":1,"id":"x","nav":{"ua":%q,"pl":%q,"lg":"en-US","wd":false},"gl":{"v":"WebKit","r":"WebKit WebGL","uv":"","ur":%q}}`,
		userAgent, platform, renderer))
}

func TestCanary_tags_raw_fingerprints(t *testing.T) {
	t.Parallel()
	const (
		automated = "R0049 TA0002/T1059 0.85"
		proxied   = "R0051 TA0011/T1090 0.85"
		far       = "R0052 TA0011/T1090 0.7"
		lies      = "R0053 TA0005/T1036 0.8"
	)
	fp := func(name, payload string, want ...string) shape {
		return shape{name, ttp.CanaryFingerprint, payload, want}
	}
	checkShapes(t, []shape{
		fp("driven by WebDriver", canaryHit(`{"nav":{"wd":true}}`), automated),
		fp("not driven", canaryHit(`{"nav":{"wd":false}}`)),
		fp("headless by its name", navigator(headlessLinux, "Linux x86_64", swiftShader), automated),

		fp("Windows by its user agent, Linux by its platform", navigator(winChrome, "Linux x86_64", ""), lies),
		fp("iPhone emulated on a Mac", navigator(iPhoneSafari, "MacIntel", "Apple GPU"), lies),
		fp("Windows", navigator(winChrome, "Win32", direct3D)),
		fp("Mac", navigator(macSafari, "MacIntel", "Apple GPU")),
		fp("Linux with Mesa", navigator(linuxFirefox, "Linux x86_64", "Mesa Intel(R) UHD Graphics 620 (KBL GT2)")),
		fp("Android says Linux", navigator(pixelChrome, "Linux armv81", "Mali-G715")),
		fp("Android asks for the desktop site", navigator(linuxFirefox, "Linux armv81", "Adreno (TM) 740")),
		fp("iPad asks for the desktop site", navigator(macSafari, "iPad", "Apple GPU")),
		fp("Chromebook", navigator(chromebook, "Linux x86_64", "Mali-G57")),
		fp("Linux virtual machine without a card", navigator(linuxFirefox, "Linux x86_64", "llvmpipe (LLVM 15.0.7, 256 bits)")),
		fp("Windows without a card", navigator(winChrome, "Win32", "ANGLE (Microsoft, Microsoft Basic Render Driver Direct3D11 vs_5_0 ps_5_0)")),

		fp("Windows drawn by SwiftShader", navigator(winChrome, "Win32", swiftShader), lies),
		fp("Mac drawn by Mesa", navigator(macSafari, "MacIntel", "llvmpipe (LLVM 15.0.7, 256 bits)"), lies),
		fp("Mac drawn by Direct3D", navigator(macSafari, "MacIntel", direct3D), lies),
		fp("phone with a desktop's card", navigator(pixelChrome, "Linux armv81", "NVIDIA GeForce RTX 3060/PCIe/SSE2"), lies),
		fp("Windows with a phone's card", navigator(winChrome, "Win32", "Adreno (TM) 740"), lies),
		fp("renderer under its masked name", canaryHit(`{"nav":{"ua":"`+winChrome+`"},"gl":{"v":"WebKit","r":"WebKit WebGL"}}`)),

		fp("request of another system than the browser's", `{"user_agent":"`+winChrome+`","_fp":{"nav":{"ua":"`+linuxFirefox+`","pl":"Linux x86_64"}}}`, lies),

		fp("another public address", canaryHit(`{"rtc":{"ip":["192.168.1.5","203.0.113.9"],"n":2}}`), proxied),
		fp("private addresses only", canaryHit(`{"rtc":{"ip":["192.168.1.5","10.0.0.1","fe80::1","100.64.3.3","a1b2.local"]}}`)),
		fp("its own address", canaryHit(`{"rtc":{"ip":["198.51.100.7"]}}`)),
		fp("its address of the other family", canaryHit(`{"rtc":{"ip":["2001:db8::1"]}}`)),
		fp("another address of its IPv6 network", `{"src_ip":"2001:db8:1:2::1","_fp":{"rtc":{"ip":["2001:db8:1:2:aaaa::1"]}}}`),
		fp("another IPv6 network", `{"src_ip":"2001:db8:1:2::1","_fp":{"rtc":{"ip":["2001:db8:1:3::1"]}}}`, proxied),
		fp("hit from a private address", `{"src_ip":"10.1.1.1","_fp":{"rtc":{"ip":["203.0.113.9"]}}}`),
		fp("source that is no address", `{"src_ip":"unknown","_fp":{"rtc":{"ip":["203.0.113.9"]}}}`),

		fp("languages from elsewhere", `{"country_code":"NL","_fp":{"nav":{"lg":"ru-RU","lgs":["ru-RU","ru"]}}}`, far),
		fp("English beside them", `{"country_code":"NL","_fp":{"nav":{"lgs":["ru-RU","en"]}}}`),
		fp("language at home", `{"country_code":"at","_fp":{"nav":{"lgs":["de-DE"]}}}`),
		fp("language of many countries", `{"country_code":"NL","_fp":{"nav":{"lgs":["eo"]}}}`),

		fp("sections that failed", canaryHit(`{"nav":{"err":"x"},"gl":{"err":"x"},"rtc":{"err":"x"}}`)),
		fp("wrong types", canaryHit(`{"nav":[],"gl":"x","rtc":{"ip":"203.0.113.9"}}`)),
		fp("fingerprint in a string", `{"_fp":"{\"nav\":{\"wd\":1}}"}`, automated),
		fp("no fingerprint", `{"token_id":"t1"}`),
	})
}

func TestCanary_takes_ready_made_signals_as_they_are(t *testing.T) {
	t.Parallel()
	fp := func(name, payload string, want ...string) shape {
		return shape{name, ttp.CanaryFingerprint, payload, want}
	}
	checkShapes(t, []shape{
		fp("webdriver against the raw one", `{"navigator_webdriver":false,"_fp":{"nav":{"wd":true}}}`),
		fp("webdriver as 1", `{"navigator_webdriver":1}`, "R0049 TA0002/T1059 0.85"),
		fp("tool", `{"matched_tool":"Puppeteer"}`, "R0050 TA0002/T1059 0.85", "R0050 TA0042/T1588.002 0.85"),
		fp("unknown tool", `{"canvas_audio_hash_match":"firefox"}`),
		fp("address", `{"webrtc_geo_mismatch":true}`, "R0051 TA0011/T1090 0.85"),
		fp("zones", `{"tz_mismatch_zones":"3"}`, "R0052 TA0011/T1090 0.7"),
		fp("few zones", `{"tz_mismatch_zones":2}`),
		fp("language", `{"lang_country_mismatch":true}`, "R0052 TA0011/T1090 0.7"),
		fp("platform", `{"platform_ua_inconsistent":true}`, "R0053 TA0005/T1036 0.8"),
		fp("renderer", `{"ua_webgl_mismatch":true}`, "R0053 TA0005/T1036 0.8"),
	})
}

func TestCanary_evidence_is_metric_and_signature(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ rule, payload, metric, signature string }{
		{"R0049", `{"navigator_webdriver":true}`, "navigator_webdriver", "navigator.webdriver_true"},
		{"R0049", `{"user_agent":"HeadlessChrome/1","_fp":{"nav":{"wd":false}}}`, "headless_user_agent", "userAgent.headless"},
		{"R0050", `{"matched_tool":"selenium"}`, "canvas_audio_hash", "selenium"},
		{"R0051", `{"webrtc_geo_mismatch":true,"navigator_webdriver":true}`, "webrtc_geo_mismatch", "webrtc_private_vs_source_ip"},
		{"R0052", `{"tz_mismatch_zones":7}`, "timezone_geo_mismatch", "tz_zones\\u003e=7"},
		{"R0052", `{"tz_mismatch_zones":1,"lang_country_mismatch":true}`, "language_country_mismatch", "lang_vs_source_country"},
		{"R0053", `{"platform_ua_inconsistent":true,"ua_webgl_mismatch":true}`, "platform_ua_mismatch", "navigator.platform_vs_userAgent"},
		{"R0053", `{"platform_ua_inconsistent":false,"ua_webgl_mismatch":true}`, "ua_webgl_mismatch", "userAgent_vs_webgl_renderer"},
	} {
		want := `{"metric":"` + tt.metric + `","matched_signature":"` + tt.signature + `"}`
		if got := evidenceOf(tag(t, ttp.CanaryFingerprint, tt.payload), tt.rule); got != want {
			t.Errorf("%s on %s:\ngot  %s\nwant %s", tt.rule, tt.payload, got, want)
		}
	}
}

func TestCanarySignals_leave_out_what_cannot_be_told(t *testing.T) {
	t.Parallel()
	if got := tagger.CanarySignals(&ttp.Event{Payload: object(t, `{"src_ip":"198.51.100.7","_fp":{"nav":{"err":"x"}}}`)}); len(got) != 0 {
		t.Errorf("signals of nothing: %s", got.AppendJSON(nil))
	}
	got := tagger.CanarySignals(&ttp.Event{Payload: object(t, navigator(winChrome, "Win32", direct3D))})
	want := object(t, `{"navigator_webdriver":false,"headless_user_agent":false,"platform_ua_inconsistent":false,"ua_webgl_mismatch":false}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCanary_hits_mean_what_the_token_was_planted_as(t *testing.T) {
	t.Parallel()
	const (
		secret   = "R0101 TA0006/T1552.001 0.9"
		document = "R0102 TA0009/T1005 0.8"
	)
	hit := func(name, about, want string) shape {
		payload := `{"token_id":"t1","trigger_id":"g1","decky_name":"omega-decky","src_ip":"198.51.100.7","user_agent":"curl/8.5",` +
			`"request_path":"/c/x","dns_qname":null` + about + `}`
		s := shape{name: name, kind: ttp.Canary, payload: payload}
		if want != "" {
			s.want = []string{want}
		}
		return s
	}
	checkShapes(t, []shape{
		hit("AWS keys", `,"token_type":"aws_keys"`, secret),
		hit("Kubernetes configuration", `,"token_type":"kubeconfig"`, secret),
		hit("Azure identity", `,"token_type":"azure_id"`, secret),
		hit("Slack key", `,"token_type":"slack_api"`, secret),
		hit("generator of an environment file", `,"token_kind":"http","generator":"env_file"`, secret),
		hit("generator of git credentials", `,"generator":"git_credentials"`, secret),
		hit("environment file", `,"generator":null,"placement_path":"/var/www/app/.env.production"`, secret),
		hit("private key", `,"placement_path":"/home/bob/.ssh/id_rsa"`, secret),
		hit("git credentials", `,"placement_path":"/root/.git-credentials"`, secret),
		hit("PostgreSQL passwords", `,"placement_path":"/root/.pgpass"`, secret),
		hit("WordPress configuration", `,"placement_path":"/var/www/html/wp-config.php.bak"`, secret),
		hit("Windows path", `,"placement_path":"C:\\Users\\bob\\.aws\\credentials"`, secret),
		hit("document", `,"instrumenter":"docx","placement_path":"/home/bob/Q3 forecast.docx"`, document),
		hit("folder", `,"token_type":"windows_dir"`, document),
		hit("document of a secretary", `,"placement_path":"/srv/secretariat/minutes.pdf"`, document),
		hit("nothing known", ``, document),
		hit("vulnerable library", `,"token_type":"log4shell"`, "R0103 TA0001/T1190 0.85"),
		hit("program", `,"token_type":"cmd"`, "R0104 TA0002/T1059 0.7"),
		hit("copied site", `,"token_type":"clonedsite"`, "R0105 TA0042/T1608.005 0.6"),
		hit("decoy application", `,"token_type":"idp_app"`, "R0106 TA0001/T1078 0.7"),
		hit("database dump", `,"token_type":"my_sql"`, "R0107 TA0009/T1213.006 0.8"),
		hit("cloud resource", `,"token_type":"aws_infra"`, "R0108 TA0007/T1580 0.6"),
		hit("ping of the canary server", `,"token":"a+test+token","token_type":"aws_keys"`, ""),
	})
}

func TestCanary_holds_the_clock_against_the_country(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zone, country string
		at            time.Time
		want          string // of tz_mismatch_zones, "" for none
	}{
		"at home":                              {"Europe/Paris", "FR", winter, "0"},
		"at home in summer":                    {"Europe/Paris", "FR", summer, "0"},
		"next door":                            {"Europe/Moscow", "FR", winter, "1"},
		"far away":                             {"Asia/Shanghai", "US", winter, "6"},
		"the short way round the globe":        {"Pacific/Auckland", "US", winter, "1"},
		"half an hour less than three":         {"Asia/Kolkata", "DE", summer, "3"},
		"anywhere in a wide country":           {"Asia/Vladivostok", "RU", winter, "0"},
		"a zone that is none":                  {"Europe/../../etc/passwd", "FR", winter, ""},
		"the zone of the host this runs on":    {"Local", "FR", winter, ""},
		"a country whose clocks are not known": {"Europe/Paris", "XX", winter, ""},
		"when is not known":                    {"Europe/Paris", "FR", time.Time{}, ""},
	} {
		payload := `{"country_code":"` + c.country + `","_fp":{"tz":{"z":"` + c.zone + `"}}}`
		got, _ := tagger.CanarySignals(&ttp.Event{At: c.at, Payload: object(t, payload)}).Get("tz_mismatch_zones")
		if string(got) != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

var (
	winter = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	summer = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
)
