package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The parts of bbolt's pages that inspectPages reads. A page header is the page's number (8 bytes), flags (2), count (2) and the number of
// overflow pages (4).
const (
	branchPage     = 0x01
	leafPage       = 0x02
	freelistPage   = 0x10
	elementSize    = 16 // of branch and leaf pages
	bucketElement  = 0x01
	bucketSize     = 16 // in front of an inline bucket's page
	countInElement = 0xFFFF
	maxTreeDepth   = 64
)

// inspectPages looks for damage that ends a process although guard is in place: Go recovers neither from a stack that is too large, which
// is what a loop of branch pages leads to, nor from memory that cannot be allocated, which is what a wrong number of free pages
// leads to. It reads the list of free pages, the branch pages, and the header of each leaf page.
func inspectPages(file io.ReaderAt, m meta) error {
	w := pageWalk{file: file, meta: m, used: make([]bool, m.highWater)}
	w.used[0], w.used[1] = true, true
	if err := w.tree(m.root, 0, true); err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return nil
	}
	return w.free()
}

// pageWalk reads pages of a file that is not mapped.
type pageWalk struct {
	file io.ReaderAt
	meta meta
	used []bool // by page number
}

type pageHeader struct {
	id              uint64
	flags, count    uint16
	overflow, bytes uint64
}

// claim reads the header of a page, and marks it and its overflow pages as used.
func (w *pageWalk) claim(id uint64) (h pageHeader, err error) {
	if id < 2 || id >= w.meta.highWater {
		return h, fmt.Errorf("page %d is referred to, and there are %d", id, w.meta.highWater)
	}
	b, err := w.read(id, pageHeaderSize)
	if err != nil {
		return h, err
	}
	order := binary.NativeEndian
	h = pageHeader{id: order.Uint64(b), flags: order.Uint16(b[8:]), count: order.Uint16(b[10:]), overflow: uint64(order.Uint32(b[12:]))}
	if h.id != id {
		return h, fmt.Errorf("page %d says that it is page %d", id, h.id)
	}
	if h.overflow >= w.meta.highWater-id {
		return h, fmt.Errorf("page %d goes on for %d pages, and there are %d", id, h.overflow, w.meta.highWater)
	}
	h.bytes = (h.overflow + 1) * w.meta.pageSize
	for i := id; i <= id+h.overflow; i++ {
		if w.used[i] {
			return h, fmt.Errorf("page %d is in use twice", i)
		}
		w.used[i] = true
	}
	return h, nil
}

// read returns the first n bytes of a page, and of those that it goes on in.
func (w *pageWalk) read(id, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := w.file.ReadAt(b, int64(id*w.meta.pageSize)); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return b, nil
}

// tree checks a tree of pages. The leaves of the top one hold the buckets.
func (w *pageWalk) tree(id uint64, depth int, top bool) error {
	if depth > maxTreeDepth {
		return fmt.Errorf("page %d is more than %d pages below its root", id, maxTreeDepth)
	}
	h, err := w.claim(id)
	if err != nil {
		return err
	}
	end := pageHeaderSize + elementSize*uint64(h.count)
	switch {
	case h.flags != branchPage && h.flags != leafPage:
		return fmt.Errorf("page %d has flags %#x where a tree goes on", id, h.flags)
	case end > h.bytes:
		return fmt.Errorf("page %d has %d elements, for which it is too small", id, h.count)
	case h.flags == branchPage:
		return w.branch(id, end, depth, top)
	case top:
		return w.buckets(h, end)
	}
	return nil
}

func (w *pageWalk) branch(id, end uint64, depth int, top bool) error {
	b, err := w.read(id, end)
	if err != nil {
		return err
	}
	for e := b[pageHeaderSize:]; len(e) > 0; e = e[elementSize:] {
		if err := w.tree(binary.NativeEndian.Uint64(e[8:]), depth+1, top); err != nil {
			return err
		}
	}
	return nil
}

// buckets checks the trees of the buckets in a leaf page.
func (w *pageWalk) buckets(h pageHeader, end uint64) error {
	b, err := w.read(h.id, h.bytes)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	for at := uint64(pageHeaderSize); at < end; at += elementSize {
		e := b[at:]
		if order.Uint32(e)&bucketElement == 0 {
			continue
		}
		value := at + uint64(order.Uint32(e[4:])) + uint64(order.Uint32(e[8:]))
		size := uint64(order.Uint32(e[12:]))
		if size < bucketSize || value+size > h.bytes {
			return fmt.Errorf("page %d: a bucket lies outside of it", h.id)
		}
		if err := w.bucket(h.id, b[value:value+size]); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks one bucket: a page number, or 0 and an inline page, which must be a leaf.
func (w *pageWalk) bucket(in uint64, value []byte) error {
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, 1, false)
	}
	if len(value) < bucketSize+pageHeaderSize || binary.NativeEndian.Uint16(value[bucketSize+8:]) != leafPage {
		return fmt.Errorf("page %d: a bucket in it is no leaf", in)
	}
	return nil
}

// free checks the list of free pages: it fits in its pages, and names no page that is in use. A commit would overwrite that one.
func (w *pageWalk) free() error {
	h, err := w.claim(w.meta.freelist)
	if err != nil {
		return err
	}
	if h.flags != freelistPage {
		return fmt.Errorf("page %d has flags %#x where the list of free pages is", h.id, h.flags)
	}
	b, err := w.read(h.id, h.bytes)
	if err != nil {
		return err
	}
	ids, n := b[pageHeaderSize:], uint64(h.count)
	if n == countInElement {
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return errors.New("the list of free pages is longer than its pages")
	}
	for ; n > 0; n, ids = n-1, ids[8:] {
		id := binary.NativeEndian.Uint64(ids)
		if id >= w.meta.highWater || w.used[id] {
			return fmt.Errorf("page %d is in the list of free pages, and is in use, in it twice, or not there", id)
		}
		w.used[id] = true
	}
	return nil
}
