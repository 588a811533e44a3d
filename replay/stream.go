package replay

import (
	"context"
	"fmt"
	"strconv"

	"ttp-worker/intake"
)

// Message is a message of a stream.
type Message struct {
	Subject  string // without the configured prefix
	Data     []byte
	Sequence uint64
}

// MessageReader hands out what a stream has, in order.
type MessageReader interface {
	// Begin sets the sequence to begin at, 0 for the first that is wanted, and
	// returns the one that is read last.
	Begin(ctx context.Context, first uint64) (last uint64, err error)

	// Next returns the next message, or io.EOF.
	Next(ctx context.Context) (Message, error)

	Close()
}

// Stream is a [Source] of what is in a stream.
type Stream struct {
	reader            MessageReader
	begun             bool
	from, first, last uint64
	read              uint64
}

// FromStream returns the history that a stream holds.
func FromStream(reader MessageReader) *Stream { return &Stream{reader: reader} }

// Name implements [Source].
func (*Stream) Name() string { return "stream" }

// Resume implements [Source].
func (s *Stream) Resume(_ context.Context, place string) error {
	n, err := strconv.ParseUint(place, 10, 64)
	if err != nil {
		return fmt.Errorf("resume: the place in the stream cannot be read: %w", err)
	}
	s.from = n + 1
	return nil
}

// Next implements [Source].
func (s *Stream) Next(ctx context.Context) (part Part, err error) {
	if !s.begun {
		if s.last, err = s.reader.Begin(ctx, s.from); err != nil {
			return part, err
		}
		s.begun = true
	}
	msg, err := s.reader.Next(ctx)
	if err != nil {
		return part, err
	}
	if s.first == 0 {
		s.first = msg.Sequence
	}
	s.read = msg.Sequence
	part.Rows = 1
	if !intake.Handles(msg.Subject) {
		part.Ignored = 1
		return part, nil
	}
	if part.Message, err = intake.Decode(msg.Subject, string(msg.Data)); err != nil {
		part.Malformed = 1
	}
	return part, nil
}

// Place implements [Source].
func (s *Stream) Place() string {
	if s.read == 0 {
		return ""
	}
	return strconv.FormatUint(s.read, 10)
}

// Progress implements [Source]: sequences.
func (s *Stream) Progress() (done, total int64) {
	if s.first == 0 {
		return 0, 0
	}
	return int64(s.read - s.first + 1), int64(s.last - s.first + 1)
}

// Close implements [Source].
func (s *Stream) Close() { s.reader.Close() }
