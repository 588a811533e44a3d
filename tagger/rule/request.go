package rule

import (
	"strings"

	"ttp-worker/ttp"
)

// request is what is read out of an HTTP request, each part when it is first
// asked for.
type request struct {
	ready   bool
	raw     string // raw_url, else the first of its stand-ins
	decoded string
	headers ttp.Object
}

// urlMembers are where the address of a request may stand.
var urlMembers = []string{"raw_url", "url", "request_path", "path"}

var urlUses = append([]string{"headers"}, urlMembers...)

// requestFields are the fields of kind http_request beside its payload: ours,
// and the names that Sigma has for what web servers and proxies log.
var requestFields = map[string]field{
	"url":           {read: readURL, uses: urlUses, shows: "raw_url"},
	"header":        {read: readHeaders, uses: urlUses, shows: "headers"},
	"cs-uri":        {read: readWhole, uses: urlUses, shows: "raw_url"},
	"c-uri":         {read: readWhole, uses: urlUses, shows: "raw_url"},
	"cs-uri-stem":   {read: readStem, uses: urlUses, shows: "raw_url"},
	"c-uri-stem":    {read: readStem, uses: urlUses, shows: "raw_url"},
	"cs-uri-query":  {read: readQuery, uses: urlUses, shows: "raw_url"},
	"c-uri-query":   {read: readQuery, uses: urlUses, shows: "raw_url"},
	"cs-method":     requestMember("method"),
	"c-method":      requestMember("method"),
	"c-useragent":   requestHeader("User-Agent", "user_agent"),
	"cs-user-agent": requestHeader("User-Agent", "user_agent"),
	"cs-referer":    requestHeader("Referer", "referer"),
	"cs-referrer":   requestHeader("Referer", "referer"),
	"cs-host":       requestHeader("Host", "host"),
	"r-dns":         requestHeader("Host", "host"),
	"cs-cookie":     requestHeader("Cookie", "cookie"),
	"sc-status":     requestMember("status", "status_code", "sc-status"),
}

// requestMember is a field that is the first of these payload members.
func requestMember(names ...string) field {
	read := func(ev *event, v *values) {
		for _, name := range names {
			if raw, ok := ev.payload.Get(name); ok && !raw.IsNull() {
				v.addJSON(raw)
				return
			}
		}
	}
	return field{read: read, uses: names, shows: names[0]}
}

// requestHeader is a field that is a payload member, else a header.
func requestHeader(header, name string) field {
	read := func(ev *event, v *values) {
		if s := ev.payload.Text(name); s != "" {
			v.add(s)
			return
		}
		for _, m := range ev.request().headers {
			if strings.EqualFold(m.Name, header) {
				v.addJSON(m.Value)
			}
		}
	}
	return field{read: read, uses: append([]string{name}, urlUses...), shows: name}
}

func (ev *event) request() *request {
	r := &ev.http
	if !r.ready {
		r.ready = true
		r.raw = ev.payload.Text(urlMembers...)
		r.decoded = unescapeURL(unescapeURL(r.raw))
		r.headers, _ = ev.payload.Object("headers")
	}
	return r
}

func readURL(ev *event, v *values) { v.addText(ev.request().decoded) }

func readHeaders(ev *event, v *values) {
	for _, m := range ev.request().headers {
		v.addJSON(m.Value)
	}
}

// addBoth adds what a server would log and, if it differs, what it decodes to:
// rules are written for either.
func addBoth(raw, decoded string, v *values) {
	v.addText(raw)
	if decoded != raw {
		v.addText(decoded)
	}
}

func readWhole(ev *event, v *values) {
	r := ev.request()
	addBoth(r.raw, r.decoded, v)
}

func readStem(ev *event, v *values) {
	stem, _, _ := strings.Cut(ev.request().raw, "?")
	addBoth(stem, unescapeURL(unescapeURL(stem)), v)
}

// readQuery adds the query, and the whole address too, for that is what public
// rules expect there: they look for paths in it.
func readQuery(ev *event, v *values) {
	r := ev.request()
	addBoth(r.raw, r.decoded, v)
	if _, query, ok := strings.Cut(r.raw, "?"); ok {
		addBoth(query, unescapeURL(unescapeURL(query)), v)
	}
}

// unescapeURL undoes percent escapes and leaves be what is none. A plus stays.
func unescapeURL(s string) string {
	at := strings.IndexByte(s, '%')
	if at < 0 {
		return s
	}
	b := make([]byte, at, len(s))
	copy(b, s)
	for i := at; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
