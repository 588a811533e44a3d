package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"
)

const (
	// serviceSubject begins the subjects that questions are asked on. It lies
	// beside those of the streams, which would keep the questions.
	serviceSubject = "ttp-reads."

	// serviceVersion is that of the questions and answers, not of the program.
	serviceVersion = "1.0.0"

	settleWithin = time.Second

	// NextHeader names the page after the one that is the answer.
	NextHeader = "Ttp-Next"
)

// Endpoint is a question that others ask on ttp-reads.NAME.
type Endpoint struct {
	Name   string
	Does   string
	Answer func(ctx context.Context, request []byte) Reply
}

// Reply is the answer to a question.
type Reply struct {
	Data []byte // JSON
	Next string // for [NextHeader], "" for none
	Code int    // 0, or as of HTTP what is wrong; Data says it then
	Why  string // in a few words, with Code
}

// Serve answers questions as a NATS micro service called ttp-worker, one at a
// time of each sort, until stop is called. All workers share the questions.
func (b *Bus) Serve(ctx context.Context, endpoints []Endpoint) (stop func(), err error) {
	service, err := micro.AddService(b.nc, micro.Config{
		Name: "ttp-worker", Version: serviceVersion, Description: "which ATT&CK techniques a honeypot fleet has seen",
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			b.log.Warn("question on the bus not answered", zap.String("subject", err.Subject), zap.String("cause", err.Description))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("answer questions on the bus: %w", err)
	}
	stop = func() {
		_ = service.Stop() // fails only when there is nothing left to stop
		b.settled()
	}
	for _, e := range endpoints {
		err := service.AddEndpoint(e.Name, micro.HandlerFunc(func(r micro.Request) { b.reply(r, e.Answer(ctx, r.Data())) }),
			micro.WithEndpointSubject(b.o.Prefix+serviceSubject+e.Name),
			micro.WithEndpointMetadata(map[string]string{"description": e.Does}))
		if err != nil {
			stop()
			return nil, fmt.Errorf("answer questions on the bus: %s: %w", e.Name, err)
		}
	}
	b.settled()
	return stop, nil
}

// settled waits until the server knows what is subscribed to and what is not
// any more, for a moment: it may be away, and hears of it later.
func (b *Bus) settled() { _ = b.nc.FlushTimeout(settleWithin) }

// reply sends an answer, or says that it is too long for a message.
func (b *Bus) reply(r micro.Request, a Reply) {
	const room = 1024 // for headers
	if limit := b.nc.MaxPayload() - room; int64(len(a.Data)) > limit {
		data, _ := json.Marshal(map[string]any{ // which cannot fail
			"status": 413, "title": "Content Too Large",
			"detail": "the answer takes " + strconv.Itoa(len(a.Data)) + " bytes, a message at most " + strconv.FormatInt(limit, 10) + ": ask for less with limit",
		})
		a = Reply{Code: 413, Why: "the answer is too long for a message", Data: data}
	}
	var err error
	switch {
	case a.Code != 0:
		err = r.Error(strconv.Itoa(a.Code), a.Why, a.Data)
	case a.Next != "":
		err = r.Respond(a.Data, micro.WithHeaders(micro.Headers(nats.Header{NextHeader: {a.Next}})))
	default:
		err = r.Respond(a.Data)
	}
	if err != nil {
		b.log.Warn("answer not sent", zap.Error(err))
	}
}
