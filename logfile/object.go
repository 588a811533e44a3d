package logfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"ttp-worker/ttp"
)

// spread is an object that is printed over several lines, as far as it was
// read. It ends with a bracket that is indented as the first one was.
type spread struct {
	end  string // the last line
	text strings.Builder
}

// maxSpread bounds such an object, in bytes: they are webhooks.
const maxSpread = 1 << 20

func (s *spread) open() bool { return s.end != "" }

// take reads a line: an object, a list of objects, or a part of an object that
// is spread over lines.
func (r *Reader) take(line string) {
	text := strings.TrimSpace(line)
	text = strings.TrimSuffix(text, ",") // between the elements of a list
	switch {
	case r.spread.open():
		r.join(line, text)
	case text == "" || text == "[" || text == "]":
	case text == "{":
		r.spread.end = line[:strings.IndexByte(line, '{')] + "}"
		r.spread.text.WriteString(text)
	case text[0] == '[':
		r.list(text)
	default:
		r.object(text)
	}
}

// join adds a line to the object that is spread over lines.
func (r *Reader) join(line, trimmed string) {
	if r.spread.text.Len()+len(line) > maxSpread {
		r.spread = spread{}
		r.complain(errors.New("an object over many lines that does not end"))
		return
	}
	if strings.TrimRight(line, ", \t") != r.spread.end {
		r.spread.text.WriteString("\n" + line)
		return
	}
	r.spread.text.WriteString(trimmed)
	text := r.spread.text.String()
	r.spread = spread{}
	r.object(text)
}

// maxList is how many objects of a list on one line are read.
const maxList = 50_000

func (r *Reader) list(text string) {
	elements := json.NewDecoder(strings.NewReader(text))
	_, _ = elements.Token() // the bracket
	for n := 0; elements.More(); n++ {
		var element json.RawMessage
		if err := elements.Decode(&element); err != nil {
			r.complain(errors.New("neither a JSON object nor a list of them"))
			return
		}
		if n == maxList {
			r.complain(fmt.Errorf("a list of more than %d objects on one line", maxList))
			return
		}
		r.object(string(element))
	}
	if _, err := elements.Token(); err != nil || elements.More() {
		r.complain(errors.New("a list that does not end, or something behind it"))
	}
}

// object reads one object and queues what is made of it.
func (r *Reader) object(text string) {
	if !r.counted() {
		r.Rows++
	}
	o, err := ttp.ParseWrapped(r.members[:0], text)
	if err != nil && !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
		o, err = ttp.ParseWrapped(r.members[:0], text)
	}
	if r.members = o.Object; cap(r.members) > manyMembers {
		r.members = nil
	}
	if err != nil {
		r.complain(err)
		return
	}
	before := len(r.queue)
	took, err := r.translate(&o, text)
	if err != nil {
		r.complain(err)
	} else if !took && len(r.queue) == before && !r.counted() {
		r.Ignored++
	}
}

// translate queues the records of an object. took is true if it belongs to a
// record that comes later.
func (r *Reader) translate(w *ttp.Wrapped, text string) (took bool, err error) {
	format, o := r.o.Format, w.Object
	if format == "" {
		format = formatOf(o)
	}
	switch format {
	case "envelope":
		return false, r.envelope(w, text)
	case "cowrie":
		r.cowrie.again = r.repeating()
		return r.cowrie.take(o, r.begun.At, &r.queue)
	case "opencanary":
		return false, readOpenCanary(o, &r.queue)
	case "canarytokens":
		return false, readCanarytoken(o, &r.queue)
	case "thinkst":
		return false, readThinkst(o, &r.queue)
	}
	return false, errors.New("an object of no format that is known")
}

func (r *Reader) envelope(w *ttp.Wrapped, text string) error {
	topic := strings.TrimPrefix(w.Text("topic"), r.o.Prefix)
	if topic == "" {
		return errors.New("an envelope without a topic")
	}
	env, err := w.Envelope()
	if err != nil {
		return err
	}
	if payload := get(w.Object, "payload"); len(text) > 2*len(payload)+muchAround {
		env.Payload, _ = ttp.Value(strings.Clone(string(payload))).Object() // it is one
	}
	r.queue = append(r.queue, Record{Subject: topic, Envelope: env, text: text})
	return nil
}

// manyMembers is how many an object must have for its memory not to be used
// again.
const manyMembers = 1 << 10

// muchAround is how many bytes around a payload are too many for an event to
// keep them with it.
const muchAround = 4 << 10
