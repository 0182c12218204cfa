package inspect

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

// Bounds of what is read and shown of an object's storage, in bytes.
const (
	maxListed  = 512      // of a value in a list
	maxValue   = 64 << 10 // of a value by itself
	maxScanned = 16 << 20 // of the keys and values that one list reads
)

// listStorage answers CallStorage.
func (i *Inspector) listStorage(ctx context.Context, q StorageQuery) (StorageList, error) {
	k, err := i.resolve(q.ObjectQuery)
	if err != nil {
		return StorageList{}, err
	}
	r := edgews.Range{Prefix: q.Prefix, Reverse: q.Reverse, Limit: rowLimit(q.Limit, defaultStorage) + 1}
	if r.After, err = keyOf(q.After); err != nil {
		return StorageList{}, err
	}
	if r.End, err = keyOf(q.Before); err != nil {
		return StorageList{}, err
	}
	list := StorageList{Entries: []StorageEntry{}}
	scanned := 0
	for e, err := range k.namespace.ScanStorage(ctx, k.id, r) {
		if err != nil {
			return StorageList{}, failed(err)
		}
		if len(list.Entries) == r.Limit-1 || scanned > maxScanned {
			list.More = true
			break
		}
		scanned += len(e.Key) + len(e.Value)
		list.Entries = append(list.Entries, StorageEntry{
			Key: escape(e.Key, maxLogText), Cursor: cursorOf(e.Key), Value: i.show(k, e, "", 0, maxListed),
		})
	}
	return list, nil
}

// value answers CallValue.
func (i *Inspector) value(ctx context.Context, q ValueQuery) (Value, error) {
	k, err := i.resolve(q.ObjectQuery)
	if err != nil {
		return Value{}, err
	}
	key, err := keyOf(q.Cursor)
	if err != nil {
		return Value{}, err
	}
	switch q.As {
	case "", "text", "json", "hex":
	default:
		return Value{}, badRequest("values are shown as text, json or hex, not as %q", q.As)
	}
	for e, err := range k.namespace.ScanStorage(ctx, k.id, edgews.Range{Start: key, Limit: 1}) {
		if err != nil {
			return Value{}, failed(err)
		}
		if e.Key == key {
			return i.show(k, e, q.As, q.Offset, maxValue), nil
		}
	}
	return Value{}, notFound("the object has no such key")
}

// cursorOf returns the cursor of a key, and keyOf the key; an empty cursor is no key.
func cursorOf(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func keyOf(cursor string) (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", badRequest("a cursor comes from an earlier reply; this is none: %v", err)
	}
	return string(key), nil
}

// show returns at most limit bytes of a stored value from offset on. An empty as is what the value is.
func (i *Inspector) show(k objectKey, e edgews.Entry, as string, offset, limit int) Value {
	shown, redacted := i.redacted(k, e)
	v := Value{Size: len(e.Value), As: as, Redacted: redacted}
	if v.As == "" {
		v.As = formOf(shown)
	}
	offset = min(max(offset, 0), len(shown))
	end := min(len(shown), offset+limit)
	if v.As == "hex" {
		end = min(end, offset+limit/2)
	} else if end < len(shown) {
		if start := runeStart(string(shown[offset:min(end+1, len(shown))]), end-offset); start > 0 {
			end = offset + start
		}
	}
	if v.Cut = end < len(shown); v.Cut {
		v.Next = end
	}
	if v.As == "hex" {
		v.Text = hex.EncodeToString(shown[offset:end])
	} else {
		v.Text = escapeLines(string(shown[offset:end]))
	}
	return v
}

// redacted returns what Options.Redact leaves of a value, and whether that is something else.
func (i *Inspector) redacted(k objectKey, e edgews.Entry) (shown []byte, changed bool) {
	if i.opts.Redact == nil {
		return e.Value, false
	}
	defer func() {
		if p := recover(); p != nil {
			i.logger().Error("edgews: inspect: Options.Redact has panicked", "panic", fmt.Sprint(p))
			shown, changed = nil, true
		}
	}()
	shown = i.opts.Redact(k.namespace.Name(), k.id, e.Key, bytes.Clone(e.Value))
	return shown, !bytes.Equal(shown, e.Value)
}

// formOf says how a value is best shown.
func formOf(value []byte) string {
	if len(value) <= maxValue && json.Valid(value) {
		return "json"
	}
	for part := value[:min(len(value), maxValue)]; len(part) > 0; {
		r, size := utf8.DecodeRune(part)
		if r == utf8.RuneError && size == 1 && utf8.FullRune(part) || !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\r' {
			return "hex"
		}
		part = part[size:]
	}
	return "text"
}
