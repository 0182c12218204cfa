package edgewsnats

import (
	"bytes"
	"encoding/binary"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/treap"
)

// contents is what an object has: a version that never changes.
type contents struct {
	entries *treap.Tree
	size    int // of the entries, in a commit that contains all of them
}

// entryOverhead is about what the lengths of a key and of a value take.
const entryOverhead = 6

func (c contents) put(key string, value []byte) contents {
	if old, exists := c.entries.Get(key); exists {
		c.size -= len(key) + len(old) + entryOverhead
	}
	return contents{c.entries.Put(key, value), c.size + len(key) + len(value) + entryOverhead}
}

func (c contents) without(key string) contents {
	old, exists := c.entries.Get(key)
	if !exists {
		return c
	}
	return contents{c.entries.Remove(key), c.size - len(key) - len(old) - entryOverhead}
}

// after returns the contents after the changes of b, of which it keeps nothing.
func (c contents) after(b edgews.Batch) contents {
	if b.DeleteAll {
		c = contents{}
	}
	for _, key := range b.Deletes {
		c = c.without(key)
	}
	for _, e := range b.Puts {
		c = c.put(e.Key, append([]byte{}, e.Value...))
	}
	return c
}

// The changes of a commit: a byte that is 1 if they replace everything; the number of deleted keys and these; the number of entries and
// these. Lengths and numbers are uvarints.

func appendChanges(b edgews.Batch) []byte {
	out := []byte{0}
	if b.DeleteAll {
		out[0] = 1
	}
	out = binary.AppendUvarint(out, uint64(len(b.Deletes)))
	for _, key := range b.Deletes {
		out = appendBytes(out, key)
	}
	out = binary.AppendUvarint(out, uint64(len(b.Puts)))
	for _, e := range b.Puts {
		out = appendBytes(appendBytes(out, e.Key), e.Value)
	}
	return out
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// snapshot returns changes that make everything of nothing.
func (c contents) snapshot() []byte {
	n := uint64(0)
	var entries bytes.Buffer
	entries.Grow(c.size)
	c.entries.Ascend("", "", func(key string, value []byte) bool {
		n++
		entries.Write(binary.AppendUvarint(nil, uint64(len(key))))
		entries.WriteString(key)
		entries.Write(binary.AppendUvarint(nil, uint64(len(value))))
		entries.Write(value)
		return true
	})
	out := binary.AppendUvarint([]byte{1, 0}, n)
	return append(out, entries.Bytes()...)
}

// changed returns the contents after the changes in raw, which it keeps.
func (c contents) changed(raw []byte) (contents, error) {
	r := reader{b: raw}
	if r.byte() == 1 {
		c = contents{}
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		c = c.without(string(r.take(r.uvarint())))
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		key := string(r.take(r.uvarint()))
		c = c.put(key, r.take(r.uvarint()))
	}
	if r.bad || len(r.b) > 0 {
		return contents{}, ErrDamaged
	}
	return c, nil
}
