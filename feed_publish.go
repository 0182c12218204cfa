package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// publication is a message on its way into the history, and from there to the members.
type publication struct {
	id       string
	data     []byte // JSON
	seq      uint64
	prepared *Prepared // the frame that the members get
}

// errRepeated: the message of that id has been published before.
var errRepeated = errors.New("edgews: message has been published before")

// Publish stores v, as JSON, and sends it to all members. It returns the number of the message: 1 for the first of a feed, and one more for
// each that follows. When Publish returns nil the message is durable, and queued for every member that reads fast enough; the others get it
// later. No member gets a message before it is durable. Messages that are published at the same time are sent in the order of their numbers.
//
// id is chosen by the one who publishes, usually the client, and makes it safe to repeat a message that was not confirmed: if a message of
// that id has been published, Publish returns its number and neither stores nor sends anything. An id is remembered as long as its
// message is kept, and in any case for the last 1000 messages. It has at most 256 bytes of UTF-8 (ErrFeedName). Members see it, and a client
// may take it as the confirmation. With "" the message is published each time.
//
// v is encoded once. json.Marshal says what it may be; a [json.RawMessage] goes as it is. A message with its id has a little less
// than 2 MiB (ErrValueTooBig). The errors are those of Storage.Update; then nothing was published. In the function of a Storage.Update of
// the same object it fails with ErrReentrant.
func (f *Feed) Publish(ctx context.Context, id string, v any) (seq uint64, err error) {
	if err := checkFeedName("the id of a message", id, maxFeedID); err != nil {
		return 0, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("edgews: message cannot be encoded: %w", err)
	}
	if !utf8.Valid(data) {
		return 0, ErrInvalidUTF8
	}
	p := &publication{id: id, data: data}
	store := func(tx *Tx) error { return f.store(tx, p) }
	settled := func(committed bool) {
		if !committed {
			f.roster.withdraw(p)
		}
	}
	switch err = f.st.Storage().updateThen(ctx, store, settled); {
	case err == errRepeated:
		return p.seq, nil
	case err != nil:
		return 0, err
	}
	f.roster.deliver(p)
	return p.seq, nil
}

// store adds p to the history and gives it its number. With errRepeated it has the number of the message that was published before.
func (f *Feed) store(tx *Tx, p *publication) error {
	if p.id != "" {
		seq, err := f.seqOf(tx, p.id)
		if err != nil || seq > 0 {
			p.seq = seq
			return err
		}
	}
	tail, err := f.tailOf(tx.Scan)
	if err != nil {
		return err
	}
	rec := &feedRecord{seq: f.roster.nextSeq(tail.seq), at: max(unixMilli(), tail.at), first: tail.first, oldest: tail.oldest, id: p.id}
	if tail.seq == 0 {
		rec.first, rec.oldest = rec.seq, rec.seq
	}
	if f.opts.Keep > 0 {
		rec.hasBody, rec.body = true, p.data
	}
	if err := f.trim(tx, rec); err != nil {
		return err
	}
	if err := f.putRecord(tx, rec); err != nil {
		return err
	}
	p.seq = rec.seq
	p.prepared = f.roster.positioned(Prepare(Text, f.appendMessage(nil, rec, p.data)), ClusterPosition{HasSeq: true, Seq: p.seq})
	f.roster.expect(p)
	return nil
}

// seqOf returns the number of the message with that id, and errRepeated; 0 and nil if there is none.
func (f *Feed) seqOf(tx *Tx, id string) (uint64, error) {
	value, err := tx.Get(f.idKey(id))
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	seq, err := strconv.ParseUint(string(value), 16, 64)
	if err != nil || seq == 0 {
		return 0, fmt.Errorf("%w: %q is %q", ErrFeedDamaged, f.idKey(id), value)
	}
	return seq, errRepeated
}

// putRecord stores the entries of a message.
func (f *Feed) putRecord(tx *Tx, rec *feedRecord) error {
	if rec.id != "" {
		if err := tx.Put(f.idKey(rec.id), strconv.AppendUint(nil, rec.seq, 16)); err != nil {
			return err
		}
	}
	return tx.Put(f.recordKey(rec.seq), rec.encode())
}

// frameTime is how times are written in frames.
const frameTime = "2006-01-02T15:04:05.000Z07:00"

// appendMessage appends the feed.message frame of a message: what FeedFrame.encode would return, without encoding data again.
func (f *Feed) appendMessage(b []byte, rec *feedRecord, data []byte) []byte {
	b = append(b, `{"type":"`+frameMessage+`",`...)
	if f.opts.Name != "" {
		b = append(appendJSON(append(b, `"feed":`...), f.opts.Name), ',')
	}
	b = strconv.AppendUint(append(b, `"seq":`...), rec.seq, 10)
	if rec.id != "" {
		b = appendJSON(append(b, `,"id":`...), rec.id)
	}
	b = time.UnixMilli(rec.at).UTC().AppendFormat(append(b, `,"at":"`...), frameTime)
	b = append(append(b, `","data":`...), data...)
	return append(b, '}')
}

// appendJSON appends a string as JSON.
func appendJSON(b []byte, s string) []byte {
	encoded, err := json.Marshal(s)
	if err != nil {
		panic("edgews: a string cannot be encoded: " + err.Error())
	}
	return append(b, encoded...)
}
