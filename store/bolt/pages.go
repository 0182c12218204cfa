package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// bbolt maps the file into memory and trusts it: a page number beyond the end of the file ends the process with
// SIGBUS, and a page that refers to itself overflows the stack. A program cannot recover from either. So the page numbers that bbolt
// will follow are checked first, with ordinary reads.
//
// The format is that of bbolt, version 2, in the byte order of the machine. A page begins with 16 bytes: its number, flags, count
// and overflow, the number of pages that continue it. The first two pages are meta pages. The valid one with the higher transaction
// number is current; the other one is of the transaction before.

const (
	metaMagic      = 0xED0CDAED
	metaVersion    = 2
	metaSize       = 64 // the checksum at its end included
	pageHeaderSize = 16
	elementLen     = 16
	bucketLen      = 16 // root page and sequence
	minPageSize    = 1 << 10
	maxPageSize    = minPageSize << 14 // the last place where bbolt looks for the second meta page

	branchFlag, leafFlag, metaFlag, freelistFlag = 0x01, 0x02, 0x04, 0x10

	bucketElement = 0x01
	noFreelist    = math.MaxUint64
	manyFree      = 0xFFFF // as the count of a freelist page: the real count is the first number on it
)

var native = binary.NativeEndian

// pages are the pages of a file.
type pages struct {
	file io.ReaderAt
	size int64
	meta meta
	used bitmap // pages that another page refers to, and free pages

	// bbolt always writes the first key of a page as its key in the parent page. Check requires that; Open does not, since reading
	// works without.
	firstKeys bool

	torn error // why one of the meta pages is invalid; nil: both are valid
}

type meta struct {
	pageSize                         uint32
	root, freelist, end, transaction uint64 // end is the number of pages (bbolt's high-water mark)
}

type bitmap []uint64

// set sets bit n and reports whether it was clear.
func (b bitmap) set(n uint64) bool {
	was := b[n/64] & (1 << (n % 64))
	b[n/64] |= 1 << (n % 64)
	return was == 0
}

// readPages reads the meta pages, and refuses a file that is shorter than they say.
func readPages(file io.ReaderAt, size int64) (*pages, error) {
	p := &pages{file: file, size: size}
	first, err0 := p.readMeta(0)
	second, err1 := p.secondMeta(first.pageSize)
	switch {
	case err0 != nil && err1 != nil:
		return nil, fmt.Errorf("it is not a bbolt file, or both meta pages are invalid: %w; %w", err0, err1)
	case err0 != nil:
		p.meta, p.torn = second, fmt.Errorf("meta page 0 is invalid: %w", err0)
	case err1 != nil:
		p.meta, p.torn = first, fmt.Errorf("meta page 1 is invalid: %w", err1)
	case first.pageSize != second.pageSize:
		return nil, fmt.Errorf("the meta pages have page sizes %d and %d", first.pageSize, second.pageSize)
	case first.transaction > second.transaction:
		p.meta = first
	default:
		p.meta = second
	}
	m := p.meta
	switch {
	case m.end > uint64(size)/uint64(m.pageSize):
		return nil, fmt.Errorf("the file has %d bytes, which is too short for its %d pages of %d bytes", size, m.end, m.pageSize)
	case m.root < 2 || m.root >= m.end:
		return nil, fmt.Errorf("the root is page %d of %d", m.root, m.end)
	case m.freelist != noFreelist && (m.freelist < 2 || m.freelist >= m.end):
		return nil, fmt.Errorf("the freelist is page %d of %d", m.freelist, m.end)
	}
	p.used = make(bitmap, m.end/64+1)
	p.used.set(0)
	p.used.set(1)
	return p, nil
}

// secondMeta reads the second meta page. pageSize is 0 if the first one is invalid: then every possible page size is tried.
func (p *pages) secondMeta(pageSize uint32) (m meta, err error) {
	if pageSize != 0 {
		return p.readMeta(int64(pageSize))
	}
	for at := int64(minPageSize); at <= maxPageSize; at *= 2 {
		m, err = p.readMeta(at)
		if err == nil && int64(m.pageSize) == at {
			return m, nil
		}
	}
	return meta{}, errors.New("nothing at any page size looks like meta page 1")
}

func (p *pages) readMeta(at int64) (m meta, err error) {
	var b [pageHeaderSize + metaSize]byte
	if _, err := p.file.ReadAt(b[:], at); err != nil {
		return m, fmt.Errorf("it cannot be read: %w", err)
	}
	content := b[pageHeaderSize:]
	sum := fnv.New64a()
	sum.Write(content[:metaSize-8])
	size := native.Uint32(content[8:])
	switch {
	case native.Uint32(content) != metaMagic:
		return m, errors.New("it does not begin as one")
	case native.Uint32(content[4:]) != metaVersion:
		return m, fmt.Errorf("version %d, not %d", native.Uint32(content[4:]), metaVersion)
	case native.Uint64(content[metaSize-8:]) != sum.Sum64():
		return m, errors.New("wrong checksum")
	case size < minPageSize || size > maxPageSize || size&(size-1) != 0:
		return m, fmt.Errorf("page size %d", size)
	}
	return meta{size, native.Uint64(content[16:]), native.Uint64(content[32:]), native.Uint64(content[40:]), native.Uint64(content[48:])}, nil
}

// page is a page with the pages that continue it, or an inline bucket.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // with the header
}

// read reads a page. It is an error if another page has referred to it already.
func (p *pages) read(id uint64) (pg page, err error) {
	var header [pageHeaderSize]byte
	if id < 2 || id >= p.meta.end {
		return pg, fmt.Errorf("page %d is none of its %d pages", id, p.meta.end)
	}
	size := int64(p.meta.pageSize)
	if _, err := p.file.ReadAt(header[:], int64(id)*size); err != nil {
		return pg, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	own, more := native.Uint64(header[:]), uint64(native.Uint32(header[12:]))
	switch {
	case own != id:
		return pg, fmt.Errorf("page %d says that it is page %d", id, own)
	case more >= p.meta.end-id:
		return pg, fmt.Errorf("page %d goes on for %d pages, beyond the end", id, more)
	}
	for n := id; n <= id+more; n++ {
		if !p.used.set(n) {
			return pg, fmt.Errorf("page %d is used twice", n)
		}
	}
	pg = page{id, native.Uint16(header[8:]), int(native.Uint16(header[10:])), make([]byte, int64(more+1)*size)}
	if _, err := p.file.ReadAt(pg.data, int64(id)*size); err != nil {
		return pg, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	return pg, nil
}

// checkFreelist checks the list of free pages.
func (p *pages) checkFreelist() error {
	if p.meta.freelist == noFreelist {
		return nil
	}
	pg, err := p.read(p.meta.freelist)
	if err != nil {
		return fmt.Errorf("freelist: %w", err)
	}
	if pg.flags != freelistFlag {
		return fmt.Errorf("page %d is not a freelist: flags %#x", pg.id, pg.flags)
	}
	ids, count := pg.data[pageHeaderSize:], uint64(pg.count)
	if count == manyFree {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("freelist of %d pages is longer than its page", count)
	}
	for ; count > 0; count, ids = count-1, ids[8:] {
		id := native.Uint64(ids)
		if id < 2 || id >= p.meta.end || !p.used.set(id) {
			return fmt.Errorf("freelist has page %d, which cannot be free", id)
		}
	}
	return nil
}

// subtree is a page to check, with the range of keys that it may have.
type subtree struct {
	id    uint64
	from  []byte // inclusive; nil: no lower bound
	until []byte // exclusive; nil: no upper bound
}

// checkTrees checks all buckets.
func (p *pages) checkTrees() error {
	for left := []subtree{{id: p.meta.root}}; len(left) > 0; {
		next := left[len(left)-1]
		pg, err := p.read(next.id)
		if err != nil {
			return err
		}
		found, err := pg.check(next)
		if err == nil && p.firstKeys && next.from != nil {
			err = pg.beginsWith(next.from)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", pg.id, err)
		}
		left = append(left[:len(left)-1], found...)
	}
	return nil
}

// beginsWith checks the first key of a page. All other checks have been made.
func (pg page) beginsWith(key []byte) error {
	if pg.count == 0 {
		return errors.New("it is empty")
	}
	if first, _, err := pg.element(0); err != nil || !bytes.Equal(first, key) {
		return fmt.Errorf("the first key is %q, and %q in the page above", first, key)
	}
	return nil
}

// check checks a page of a tree, and returns those below it.
func (pg page) check(s subtree) (below []subtree, err error) {
	switch {
	case pg.flags != branchFlag && pg.flags != leafFlag:
		return nil, fmt.Errorf("flags %#x, which are not those of a bucket", pg.flags)
	case pg.flags == branchFlag && pg.count == 0:
		return nil, errors.New("there is nothing below it")
	case pageHeaderSize+pg.count*elementLen > len(pg.data):
		return nil, fmt.Errorf("%d elements do not fit into %d bytes", pg.count, len(pg.data))
	}
	last := s.from
	for i := range pg.count {
		key, value, err := pg.element(i)
		if err != nil {
			return nil, err
		}
		if c := bytes.Compare(last, key); last != nil && (c > 0 || c == 0 && i > 0) || s.until != nil && bytes.Compare(key, s.until) >= 0 {
			return nil, fmt.Errorf("key %d is not in order", i)
		}
		last = key
		if pg.flags == branchFlag {
			if len(below) > 0 {
				below[len(below)-1].until = bytes.Clone(key)
			}
			id := native.Uint64(pg.data[pageHeaderSize+i*elementLen+8:])
			below = append(below, subtree{id, bytes.Clone(key), s.until})
			continue
		}
		if native.Uint32(pg.data[pageHeaderSize+i*elementLen:])&bucketElement == 0 {
			continue
		}
		buckets, err := checkBucket(value)
		if err != nil {
			return nil, fmt.Errorf("bucket %q: %w", key, err)
		}
		below = append(below, buckets...)
	}
	return below, nil
}

// element returns the key and the value of the i-th element. An element of a branch page has no value.
func (pg page) element(i int) (key, value []byte, err error) {
	at := pageHeaderSize + i*elementLen
	e := pg.data[at : at+elementLen]
	var pos, keyLen, valueLen uint32
	if pg.flags == branchFlag {
		pos, keyLen = native.Uint32(e), native.Uint32(e[4:])
	} else {
		pos, keyLen, valueLen = native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
	}
	begin := int64(at) + int64(pos)
	if begin < int64(pageHeaderSize+pg.count*elementLen) || begin+int64(keyLen)+int64(valueLen) > int64(len(pg.data)) {
		return nil, nil, fmt.Errorf("element %d is not within the page", i)
	}
	rest := pg.data[begin:]
	return rest[:keyLen:keyLen], rest[keyLen : keyLen+valueLen], nil
}

// checkBucket checks the value that describes a bucket. It returns the bucket's root if that is another page.
func checkBucket(value []byte) ([]subtree, error) {
	if len(value) < bucketLen {
		return nil, fmt.Errorf("%d bytes", len(value))
	}
	if root := native.Uint64(value); root != 0 {
		return []subtree{{id: root}}, nil
	}
	inline := value[bucketLen:]
	if len(inline) < pageHeaderSize {
		return nil, fmt.Errorf("%d bytes", len(value))
	}
	pg := page{0, native.Uint16(inline[8:]), int(native.Uint16(inline[10:])), inline}
	if pg.flags != leafFlag {
		return nil, fmt.Errorf("flags %#x inline", pg.flags)
	}
	return pg.check(subtree{})
}

// checkUsed returns an error if a page is neither free nor referred to. Such a page does no harm.
func (p *pages) checkUsed() error {
	for id := range p.meta.end {
		if p.used[id/64]&(1<<(id%64)) == 0 {
			return fmt.Errorf("page %d is neither free nor in use", id)
		}
	}
	return nil
}
