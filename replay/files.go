package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ttp-worker/intake"
	"ttp-worker/logfile"
)

// Files is a [Source] of what is in files.
type Files struct {
	reader  *logfile.Reader
	window  Window
	counted struct{ rows, malformed, ignored int } // those that were told
}

// FromFiles returns the history that reader hands out.
func FromFiles(reader *logfile.Reader, window Window) *Files {
	return &Files{reader: reader, window: window}
}

// Name implements [Source].
func (*Files) Name() string { return "file" }

// Resume implements [Source].
func (f *Files) Resume(_ context.Context, place string) error {
	var p logfile.Place
	if err := json.Unmarshal([]byte(place), &p); err != nil {
		return fmt.Errorf("resume: the place in the files cannot be read: %w", err)
	}
	return f.reader.Resume(p)
}

// Next implements [Source].
func (f *Files) Next(context.Context) (Part, error) {
	rec, err := f.reader.Next()
	var part Part
	if err == nil && f.window.Has(rec.Envelope.At) {
		part = f.decoded(&rec)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return part, err
	}
	part.Rows = f.reader.Rows - f.counted.rows
	part.Malformed += f.reader.Malformed - f.counted.malformed
	part.Ignored += f.reader.Ignored - f.counted.ignored
	f.counted.rows, f.counted.malformed, f.counted.ignored = f.reader.Rows, f.reader.Malformed, f.reader.Ignored
	return part, err
}

func (f *Files) decoded(rec *logfile.Record) (part Part) {
	if !intake.Handles(rec.Subject) {
		part.Ignored = 1
		return part
	}
	m, err := intake.DecodeEnvelope(rec.Subject, rec.Envelope)
	if err != nil {
		part.Malformed = 1
		f.reader.Reject(err)
		return part
	}
	part.Message = m
	return part
}

// Place implements [Source].
func (f *Files) Place() string {
	p, ok := f.reader.Place()
	if !ok {
		return ""
	}
	text, _ := json.Marshal(p) // of strings and numbers
	return string(text)
}

// Progress implements [Source]: bytes.
func (f *Files) Progress() (done, total int64) { return f.reader.Progress() }

// Close implements [Source].
func (f *Files) Close() { f.reader.Close() }
