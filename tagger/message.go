package tagger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"path"
	"slices"
	"strings"
)

// Bounds of what is looked at in one message.
const (
	maxParts       = 100
	maxPartDepth   = 8
	maxAttachments = 32
)

// message is what a stored mail says. An empty one says nothing.
type message struct {
	from, returnPath string // as the header has them
	subject, mailer  string
	gophish          bool
	results          map[string]string // of Authentication-Results: "dkim", "spf" to "pass", "fail" …

	plain, html string // the first part of each
	attachments []attachment

	parts int // seen so far
}

type attachment struct {
	extension string // lower case, without a dot
	sha256    string
	shows     string // what its content shows it to be, as a trigger is called, or ""
}

// parseMessage reads what can be read of a mail; a broken part is left out.
func parseMessage(raw []byte) *message {
	m := &message{}
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return m
	}
	words := mime.WordDecoder{}
	get := func(name string) string {
		v := clip(parsed.Header.Get(name), 1024)
		if decoded, err := words.DecodeHeader(v); err == nil {
			return decoded
		}
		return v
	}
	m.from, m.returnPath = addressIn(get("From")), get("Return-Path")
	m.subject, m.mailer = get("Subject"), get("X-Mailer")
	m.gophish = get("X-Gophish-Contact") != "" || get("X-Gophish-Signature") != ""
	m.results = checks(parsed.Header["Authentication-Results"])
	m.part(parsed.Header, parsed.Body, 0)
	return m
}

// addressIn returns the address in a From header, whose display name may hold
// a false one.
func addressIn(header string) string {
	if a, err := mail.ParseAddressList(header); err == nil && len(a) > 0 {
		return a[0].Address
	}
	if open := strings.LastIndexByte(header, '<'); open >= 0 {
		header, _, _ = strings.Cut(header[open+1:], ">")
	}
	return header
}

// checks reads the results of the checks that servers on the way made. Of two
// about the same thing the first counts: it was written last.
func checks(headers []string) map[string]string {
	results := make(map[string]string)
	for _, h := range headers[:min(len(headers), 8)] {
		for clause := range strings.SplitSeq(strings.ToLower(clip(h, 4096)), ";") {
			method, rest, ok := strings.Cut(strings.TrimSpace(clause), "=")
			if _, known := results[method]; !ok || known || method != "dkim" && method != "spf" {
				continue
			}
			if words := strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' || r == '(' }); len(words) > 0 {
				results[method] = words[0]
			}
		}
	}
	return results
}

// header is what mail.Header and textproto.MIMEHeader have in common.
type header interface{ Get(name string) string }

// part reads one part and those inside it.
func (m *message) part(h header, body io.Reader, depth int) {
	if m.parts++; m.parts > maxParts || depth > maxPartDepth {
		return
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		media = "text/plain"
	}
	if strings.HasPrefix(media, "multipart/") && params["boundary"] != "" {
		m.multipart(body, params["boundary"], depth)
		return
	}
	content, _ := io.ReadAll(decoder(h.Get("Content-Transfer-Encoding"), body)) // what could be decoded counts
	name := fileName(h, params)
	switch {
	case media == "message/rfc822" && name == "":
		if inner, err := mail.ReadMessage(bytes.NewReader(content)); err == nil {
			m.part(inner.Header, inner.Body, depth+1)
		}
	case name == "" && media == "text/plain" && m.plain == "":
		m.plain = strings.ToValidUTF8(string(content), "�")
	case name == "" && media == "text/html" && m.html == "":
		m.html = strings.ToValidUTF8(string(content), "�")
	case name != "" || !strings.HasPrefix(media, "text/"):
		m.attach(name, content)
	}
}

func (m *message) multipart(body io.Reader, boundary string, depth int) {
	parts := multipart.NewReader(body, boundary)
	for m.parts <= maxParts {
		p, err := parts.NextRawPart()
		if err != nil {
			return
		}
		m.part(p.Header, p, depth+1)
	}
}

func decoder(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

// fileName returns the name of an attachment, "" if the part is none.
func fileName(h header, params map[string]string) string {
	disposition, more, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := orElse(more["filename"], params["name"])
	if name == "" && err == nil && disposition == "attachment" {
		return "attachment"
	}
	words := mime.WordDecoder{}
	if decoded, err := words.DecodeHeader(name); err == nil {
		name = decoded
	}
	return clip(name, 1024)
}

func (m *message) attach(name string, content []byte) {
	if len(m.attachments) >= maxAttachments {
		return
	}
	sum := sha256.Sum256(content)
	name = strings.TrimRight(strings.ToLower(name), ". ")
	m.attachments = append(m.attachments, attachment{
		extension: strings.TrimPrefix(path.Ext(name), "."),
		sha256:    hex.EncodeToString(sum[:]),
		shows:     contentTrigger(content),
	})
}

// utf16Macros is "_VBA_PROJECT" as the directory of an OLE file names it.
var utf16Macros = []byte("_\x00V\x00B\x00A\x00_\x00P\x00R\x00O\x00J\x00E\x00C\x00T\x00")

// contentTrigger says what makes a file dangerous, by marks that are not
// compressed: a ZIP's names of files and flags, an OLE file's directory, a
// script that makes a file out of what it carries.
func contentTrigger(content []byte) string {
	zip := bytes.HasPrefix(content, []byte("PK\x03\x04"))
	ole := bytes.HasPrefix(content, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"))
	switch {
	case zip && bytes.Contains(content, []byte("vbaProject.bin")), ole && bytes.Contains(content, utf16Macros):
		return "office_macro"
	case zip && len(content) > 6 && content[6]&1 != 0:
		return "protected_archive"
	case !zip && !ole && smuggles(string(content)):
		return "html_smuggling"
	}
	return ""
}

// smuggles reports whether a page builds a file out of text in it and hands it
// to the user as a download.
func smuggles(page string) bool {
	builds := strings.Contains(page, "new Blob(") || strings.Contains(page, "msSaveOrOpenBlob")
	decodes := strings.Contains(page, "atob(") || strings.Contains(page, "Uint8Array") || strings.Contains(page, "charCodeAt(")
	hands := strings.Contains(page, "createObjectURL") || strings.Contains(page, "msSaveOrOpenBlob")
	return builds && decodes && hands
}

// has reports whether the content shows the trigger.
func (m *message) has(trigger string) bool {
	if trigger == "html_smuggling" && smuggles(m.html) {
		return true
	}
	return slices.ContainsFunc(m.attachments, func(a attachment) bool { return a.shows == trigger })
}

func (m *message) extensions() []string {
	var list []string
	for _, a := range m.attachments {
		list = append(list, a.extension)
	}
	return list
}

// body returns the text of the mail: the plain one, else that of the page.
func (m *message) body() string {
	if strings.TrimSpace(m.plain) != "" {
		return m.plain
	}
	return pageText(m.html)
}

// pageText returns the text between the tags of a page, and the links in them.
func pageText(page string) string {
	var b strings.Builder
	for page != "" {
		before, rest, tagged := strings.Cut(page, "<")
		b.WriteString(before)
		if !tagged {
			break
		}
		tag, after, closed := strings.Cut(rest, ">")
		for _, link := range linksIn(tag, 8) {
			b.WriteString(" " + link + " ")
		}
		if !closed {
			break
		}
		page = after
	}
	return html.UnescapeString(b.String())
}
