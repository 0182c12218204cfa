package edgews

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// The history of a feed is one entry for each message, under "feed/NAME/m/" and its number in 16 hexadecimal digits, and one for each id,
// under "feed/NAME/i/" and the id, with the number of its message. The entry of the last message is always there, and says where the
// history begins, so that a feed needs no entry for itself. An entry whose message is not kept any more, but whose id still is, has no body.

// rememberedIDs is how many of the last messages keep their ids, if Keep is less: a client repeats a message that was not confirmed when it
// has connected again, and others may have published meanwhile.
const rememberedIDs = 1000

// maxTrimmed bounds how many entries one Publish removes, after Keep has become smaller. Each Publish adds one, so the rest follows.
const maxTrimmed = 128

// feedRecord is the entry of a message.
type feedRecord struct {
	seq     uint64 // in the key
	at      int64  // when it was published, in milliseconds since 1970; never less than that of the message before
	first   uint64 // the first message that was kept when this one was published; beyond seq: none
	oldest  uint64 // no entry has a smaller number
	id      string
	hasBody bool
	body    []byte // JSON
}

const (
	recordVersion  = 1
	recordHasBody  = 1 << 7 // in the byte of the version
	recordKeyChars = 16
)

func (f *Feed) recordKey(seq uint64) string { return fmt.Sprintf("%sm/%016x", f.prefix, seq) }

func (f *Feed) idKey(id string) string { return f.prefix + "i/" + id }

// encode returns the value of the entry.
func (r *feedRecord) encode() []byte {
	b := make([]byte, 0, 5*binary.MaxVarintLen64+len(r.id)+len(r.body))
	version := byte(recordVersion)
	if r.hasBody {
		version |= recordHasBody
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(r.at))
	b = binary.AppendUvarint(b, r.first)
	b = binary.AppendUvarint(b, r.oldest)
	b = binary.AppendUvarint(b, uint64(len(r.id)))
	b = append(b, r.id...)
	return append(b, r.body...)
}

// decodeRecord decodes an entry.
func (f *Feed) decodeRecord(e Entry) (r feedRecord, err error) {
	damaged := fmt.Errorf("%w: %q has %d bytes", ErrFeedDamaged, e.Key, len(e.Value))
	if r.seq, err = strconv.ParseUint(e.Key[len(f.prefix)+len("m/"):], 16, 64); err != nil || len(e.Value) == 0 {
		return r, damaged
	}
	b := e.Value[1:]
	if e.Value[0]&^recordHasBody != recordVersion {
		return r, fmt.Errorf("%w: %q has version %d, and this program knows %d", ErrFeedDamaged, e.Key, e.Value[0]&^recordHasBody, recordVersion)
	}
	r.hasBody = e.Value[0]&recordHasBody != 0
	var at, idSize uint64
	for _, field := range []*uint64{&at, &r.first, &r.oldest, &idSize} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return r, damaged
		}
		*field, b = v, b[n:]
	}
	if idSize > uint64(len(b)) {
		return r, damaged
	}
	r.at, r.id, r.body = int64(at), string(b[:idSize]), b[idSize:]
	return r, nil
}

// scanner is Storage.Scan with its context, or Tx.Scan.
type scanner func(Range) iter.Seq2[Entry, error]

func (f *Feed) scanner(ctx context.Context) scanner {
	return func(r Range) iter.Seq2[Entry, error] { return f.st.Storage().Scan(ctx, r) }
}

// records returns an iterator over the entries of messages that r selects.
func (f *Feed) records(scan scanner, r Range) iter.Seq2[feedRecord, error] {
	r.Prefix = f.prefix + "m/"
	return func(yield func(feedRecord, error) bool) {
		for e, err := range scan(r) {
			var rec feedRecord
			if err == nil {
				rec, err = f.decodeRecord(e)
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// tailOf returns the entry of the last message. An empty history has that of message 0.
func (f *Feed) tailOf(scan scanner) (feedRecord, error) {
	for rec, err := range f.records(scan, Range{Reverse: true, Limit: 1}) {
		return rec, err
	}
	return feedRecord{first: 1, oldest: 1}, nil
}

func (f *Feed) readTail(ctx context.Context) (feedRecord, error) {
	tail, err := f.tailOf(f.scanner(ctx))
	if err != nil {
		return tail, fmt.Errorf("edgews: history of a feed cannot be read: %w", err)
	}
	return tail, nil
}

// firstKept returns the first message that is kept when last is the last one, apart from MaxAge. It is beyond last if none is.
func (f *Feed) firstKept(first, last uint64) uint64 {
	if keep := uint64(f.opts.Keep); last >= keep {
		return max(first, last-keep+1)
	}
	return first
}

// firstID returns the first message whose id is remembered when last is the last one.
func (f *Feed) firstID(last uint64) uint64 {
	if keep := uint64(max(f.opts.Keep, rememberedIDs)); last >= keep {
		return last - keep + 1
	}
	return 0
}

// isExpired reports whether a message that was published at that time, in milliseconds since 1970, is too old.
func (f *Feed) isExpired(at, now int64) bool {
	return f.opts.MaxAge > 0 && now-at > f.opts.MaxAge.Milliseconds()
}

// unixMilli returns the time, in milliseconds since 1970. No clock of a message is before it.
func unixMilli() int64 { return max(time.Now().UnixMilli(), 0) }

// trim removes what is not kept when rec is the last message, and sets where the history begins then.
func (f *Feed) trim(tx *Tx, rec *feedRecord) error {
	if err := f.trimMessages(tx, rec); err != nil {
		return err
	}
	return f.trimIDs(tx, rec)
}

// trimMessages removes the messages that are not kept, without the ids that are remembered.
func (f *Feed) trimMessages(tx *Tx, rec *feedRecord) error {
	for left := maxTrimmed; left > 0; {
		want := f.firstKept(rec.first, rec.seq) - rec.first
		if want == 0 && f.opts.MaxAge == 0 {
			return nil
		}
		limit := int(min(max(want, 1), uint64(left)))
		r := Range{Start: f.recordKey(rec.first), End: f.recordKey(rec.seq), Limit: limit}
		trimmed := 0
		for old, err := range f.records(tx.Scan, r) {
			if err != nil {
				return err
			}
			if old.seq >= f.firstKept(rec.first, rec.seq) && !f.isExpired(old.at, rec.at) {
				break
			}
			if err := f.trimMessage(tx, rec, &old); err != nil {
				return err
			}
			trimmed++
		}
		if trimmed < limit {
			if trimmed == 0 && want > 0 { // nothing is stored there
				rec.first = f.firstKept(rec.first, rec.seq)
			}
			return nil
		}
		left -= trimmed
	}
	return nil
}

// trimMessage removes the first message that is kept.
func (f *Feed) trimMessage(tx *Tx, rec, old *feedRecord) error {
	rec.first = old.seq + 1
	if old.id != "" && old.seq >= f.firstID(rec.seq) {
		old.hasBody, old.body = false, nil
		return tx.Put(f.recordKey(old.seq), old.encode())
	}
	if old.seq == rec.oldest {
		rec.oldest++
	}
	return f.forget(tx, old)
}

// forget removes an entry and its id.
func (f *Feed) forget(tx *Tx, old *feedRecord) error {
	if old.id != "" {
		if err := tx.Delete(f.idKey(old.id)); err != nil {
			return err
		}
	}
	return tx.Delete(f.recordKey(old.seq))
}

// trimIDs removes the ids that are not remembered any more.
func (f *Feed) trimIDs(tx *Tx, rec *feedRecord) error {
	end := min(rec.first, f.firstID(rec.seq))
	if rec.oldest >= end {
		return nil
	}
	limit := int(min(end-rec.oldest, maxTrimmed))
	trimmed := 0
	for old, err := range f.records(tx.Scan, Range{Start: f.recordKey(rec.oldest), End: f.recordKey(end), Limit: limit}) {
		if err != nil {
			return err
		}
		if err := f.forget(tx, &old); err != nil {
			return err
		}
		rec.oldest = old.seq + 1
		trimmed++
	}
	if trimmed < limit {
		rec.oldest = end
	}
	return nil
}
