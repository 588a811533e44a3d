package bus

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, answer string
		status       string
		want         error // nil: a stream has the message
	}{
		{"stored", `{"stream":"TTP","seq":7}`, "", nil},
		{"stored by a leaf", `{"stream":"TTP","domain":"leaf","seq":7}`, "", nil},
		{"known already", `{"stream":"TTP","seq":7,"duplicate":true}`, "", nil},
		{"written otherwise", `{ "seq": 7, "stream": "TTP" }`, "", nil},
		{"a stream called error", `{"stream":"error","seq":7}`, "", nil},
		{"refused", `{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"},"stream":"X","seq":0}`, "", &jetstream.APIError{ErrorCode: 10060}},
		{"refused, said last", `{"stream":"X","seq":0,"error":{"code":503,"err_code":10077}}`, "", &jetstream.APIError{ErrorCode: 10077}},
		{"of no stream", `{"seq":7}`, "", jetstream.ErrInvalidJSAck},
		{"no JSON", `+OK`, "", jetstream.ErrInvalidJSAck},
		{"nobody there", ``, "503", jetstream.ErrNoStreamResponse},
	} {
		m := &nats.Msg{Data: []byte(test.answer), Header: nats.Header{}}
		if test.status != "" {
			m.Header.Set("Status", test.status)
		}
		if err := verdict(m); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestWire_tellsAnswersApart(t *testing.T) {
	t.Parallel()
	w := &wire{prefix: "_INBOX.x."}
	answer := func(subject string) (part int, ok bool) {
		s := w.answered(&nats.Msg{Subject: subject})
		if s == nil {
			return 0, false
		}
		return s.part, true
	}
	first := w.reply()
	for part := range window {
		if w.full() {
			t.Fatalf("full after %d messages", part)
		}
		w.sent(part, "ttp.tagged")
	}
	if !w.full() || w.open != window {
		t.Fatalf("%d messages wait, full: %t", w.open, w.full())
	}
	if part, ok := answer("_INBOX.x.3"); part != 3 || !ok {
		t.Errorf("an answer in any order is of part %d, %t", part, ok)
	}
	if _, ok := answer("_INBOX.x.3"); ok || w.open != window-1 {
		t.Errorf("an answer that comes twice counts twice, %d wait", w.open)
	}
	for _, nobodys := range []string{"_INBOX.x.", "_INBOX.x.y", "_INBOX", "_INBOX.x.99999999999999999999"} {
		if part, ok := answer(nobodys); ok {
			t.Errorf("%s is the answer to part %d", nobodys, part)
		}
	}
	if part, ok := answer(first); part != 0 || !ok {
		t.Errorf("the first answer is of part %d, %t", part, ok)
	}
	w.sent(1000, "ttp.tagged")
	if _, ok := answer(first); ok {
		t.Error("a late answer is taken for that of the next message in its place")
	}
	if part, ok := answer("_INBOX.x.512"); part != 1000 || !ok {
		t.Errorf("the answer to the next is of part %d, %t", part, ok)
	}
}
