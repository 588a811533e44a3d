package ttp

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Envelope is what every message on the bus is wrapped in. The subject a
// message arrived on is its topic; what the envelope says of it is not read.
type Envelope struct {
	ID      string
	Type    string
	At      time.Time // zero if absent
	Payload Object
}

// ParseEnvelope reads one message. An error is permanent and says what is
// wrong without quoting the message.
func ParseEnvelope(text string) (Envelope, error) {
	w, err := ParseWrapped(make(Object, 0, 12), text)
	if err != nil {
		return Envelope{}, err
	}
	return w.Envelope()
}

// Wrapped is an object that may be an envelope.
type Wrapped struct {
	Object

	payload Object // the members of text
	text    Value  // the last member called payload that is an object
}

// ParseWrapped is [ParseObject] of what may be an envelope: the payload is split
// off in the same pass. The members, but not those of the payload, are appended
// to members, which may be nil.
func ParseWrapped(members Object, text string) (w Wrapped, err error) {
	s := scanner{text: text, wrapped: &w}
	err = s.only(func(name string, value Value) { members = append(members, Member{name, value}) })
	w.Object = members
	return w, err
}

// Envelope reads the object as an envelope. An error is permanent.
func (w *Wrapped) Envelope() (Envelope, error) {
	o := w.Object
	if v, _ := o.Get("v"); !isVersion1(v) {
		return Envelope{}, Permanent(fmt.Errorf("envelope version %.20q is not supported, only 1", string(v)))
	}
	payload, ok := o.Get("payload")
	if !ok || payload[0] != '{' {
		return Envelope{}, Permanent(errors.New("envelope has no payload object"))
	}
	env := Envelope{ID: o.Text("id"), Type: o.Text("type")}
	if env.Payload = w.payload; payload != w.text {
		env.Payload, _ = payload.Object()
	}
	if ts, ok := o.Float("ts"); ok && ts > 0 && ts < 1e11 {
		env.At = time.UnixMicro(int64(ts * 1e6)).UTC()
	}
	return env, nil
}

func isVersion1(v Value) bool {
	n, ok := v.Int()
	return v.IsNull() || ok && n == 1
}

// AppendEnvelope appends the message that carries payload, a JSON object, under
// topic. The topic is written without the configured prefix, as is the type.
func AppendEnvelope(dst []byte, id, topic string, at time.Time, payload []byte) []byte {
	return append(append(OpenEnvelope(dst, id, topic, at), payload...), '}')
}

// OpenEnvelope is [AppendEnvelope] up to the payload, which the caller appends,
// and a '}' behind it.
func OpenEnvelope(dst []byte, id, topic string, at time.Time) []byte {
	dst = append(dst, `{"v":1,`...)
	dst = appendText(dst, "id", id)
	dst = appendText(append(dst, ','), "topic", topic)
	dst = appendText(append(dst, ','), "type", topic)
	dst = append(dst, `,"ts":`...)
	dst = strconv.AppendFloat(dst, float64(at.UnixMilli())/1e3, 'f', 3, 64)
	return append(dst, `,"payload":`...)
}
