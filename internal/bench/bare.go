package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/ttp"
)

// bareOptions say where the bare loop works.
type bareOptions struct{ nats, db string }

func (o *bareOptions) flags(f *flag.FlagSet) {
	f.StringVar(&o.nats, "bare-nats", "", "be the bare loop: on this server")
	f.StringVar(&o.db, "bare-db", "", "and this database")
}

// run is the bare loop: fetch, decode the text and the address, as many fixed
// tags as the worker makes, one INSERT IGNORE, publish, ack. It forgets what a
// crash, a refused row or a duplicate would need.
func (o *bareOptions) run(ctx context.Context) error {
	nc, err := nats.Connect(o.nats)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, "TELEMETRY", jetstream.ConsumerConfig{
		Durable: "ttp-worker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 100_000,
	})
	if err != nil {
		return err
	}
	db, err := sql.Open("mysql", o.db)
	if err != nil {
		return err
	}
	defer db.Close()
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		var messages []jetstream.Msg
		for msg := range batch.Messages() {
			messages = append(messages, msg)
		}
		if err := bareBatch(ctx, js, db, messages); err != nil {
			return err
		}
	}
	return nil
}

var bareNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("bench"))

func bareBatch(ctx context.Context, js jetstream.JetStream, db *sql.DB, messages []jetstream.Msg) error {
	var args []any
	var acks []jetstream.PubAckFuture
	now := time.Now().UTC().Format("2006-01-02 15:04:05.000000")
	for _, msg := range messages {
		var in struct {
			Payload struct {
				Text    string `json:"command_text"`
				Address string `json:"attacker_ip"`
				Tags    int    `json:"bench_tags"`
			}
		}
		if err := json.Unmarshal(msg.Data(), &in); err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		var uuids []string
		for n := range in.Payload.Tags {
			id := uuid.NewSHA1(bareNamespace, fmt.Append(nil, meta.Sequence.Stream, "|", n)).String()
			uuids = append(uuids, id)
			args = append(args, id, "command", fmt.Sprint(meta.Sequence.Stream), ttp.AttackerUUID(in.Payload.Address), nil, nil, "decky-1", "TA0007", "T1083", nil, 0.8, "BARE", 1,
				fmt.Sprintf(`{"command_text":%q}`, in.Payload.Text), "v19.2", "https://attack.mitre.org/techniques/T1083/", now)
		}
		if len(uuids) > 0 {
			data, err := json.Marshal(map[string]any{"v": 1, "type": "ttp.tagged", "payload": map[string]any{"tag_uuids": uuids, "command_text": in.Payload.Text}})
			if err != nil {
				return err
			}
			ack, err := js.PublishAsync("ttp.tagged", data, jetstream.WithMsgID(uuids[0]))
			if err != nil {
				return err
			}
			acks = append(acks, ack)
		}
	}
	if err := bareInsert(ctx, db, args); err != nil {
		return err
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		}
	}
	for i, msg := range messages {
		if i == len(messages)-1 {
			return msg.DoubleAck(ctx)
		}
		if err := msg.Ack(); err != nil {
			return err
		}
	}
	return nil
}

const bareColumns = 17

func bareInsert(ctx context.Context, db *sql.DB, args []any) error {
	if len(args) == 0 {
		return nil
	}
	group := "(" + strings.Repeat("?, ", bareColumns-1) + "?)"
	_, err := db.ExecContext(ctx, "INSERT IGNORE INTO ttp_tag (uuid, source_kind, source_id, attacker_uuid, identity_uuid, session_id, decky_id, tactic, technique_id, "+
		"sub_technique_id, confidence, rule_id, rule_version, evidence, attack_release, mitre_url, created_at) VALUES "+
		strings.Repeat(group+", ", len(args)/bareColumns-1)+group, args...)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
