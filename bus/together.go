package bus

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/ttp"
)

// The headers that make messages one batch: the stream takes all or none of
// them, and a server that syncs every message to the disk does so once.
const (
	headerBatch       = "Nats-Batch-Id"
	headerBatchNumber = "Nats-Batch-Sequence" // from 1
	headerBatchEnd    = "Nats-Batch-Commit"   // on the last one
)

// maxTogether is how many messages go together; a server takes 1,000.
const maxTogether = 500

// publishTogether publishes announcements in batches, and returns those that
// were not taken in one. That is not an error: a server before 2.12, a stream
// that knows one of them already and one that is away all refuse the batch.
func (p *Publisher) publishTogether(ctx context.Context, list []ttp.Announcement) (done []string, left []ttp.Announcement) {
	for len(list) > 0 {
		n, messages := 0, 0
		for n < len(list) && (n == 0 || messages+1+len(list[n].Tags) <= maxTogether) {
			messages += 1 + len(list[n].Tags) // at most
			n++
		}
		if err := p.together(ctx, list[:n]); err != nil {
			left = append(left, list[:n]...)
		} else {
			done = append(done, ttp.AnnouncementIDs(list[:n])...)
		}
		list = list[n:]
	}
	return done, left
}

// together publishes announcements as one batch and waits for the answer.
func (p *Publisher) together(ctx context.Context, list []ttp.Announcement) error {
	id, batch := rand.Text(), []*nats.Msg(nil)
	for i := range list {
		_, err := p.messages(&list[i], nil, func(m message) error {
			batch = append(batch, p.member(m, id, len(batch)+1))
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(batch) == 0 {
		return nil
	}
	end := len(batch) - 1
	for _, m := range batch[:end] {
		if err := p.bus.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("publish a batch: %w", err)
		}
	}
	batch[end].Header[headerBatchEnd] = []string{"1"}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	answer, err := p.bus.nc.RequestMsgWithContext(ctx, batch[end])
	if err == nil {
		err = verdict(answer)
	}
	if err != nil {
		return fmt.Errorf("publish a batch: %w", err)
	}
	return nil
}

// member is m as the nth message of a batch.
func (p *Publisher) member(m message, batch string, n int) *nats.Msg {
	header := nats.Header{
		headerBatch: {batch}, headerBatchNumber: {strconv.Itoa(n)},
		jetstream.MsgIDHeader: {m.id}, jetstream.ExpectedStreamHeader: {p.bus.o.TTP},
	}
	if m.trace != "" {
		header[headerTrace] = []string{m.trace}
	}
	return &nats.Msg{Subject: m.subject, Data: append([]byte(nil), m.data...), Header: header}
}
