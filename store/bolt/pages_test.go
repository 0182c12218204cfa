package bolt

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Go cannot recover from what bbolt does with these.
func TestFatalDamageIsRefused(t *testing.T) {
	whole := wholeFile(t)
	m, err := newestMeta(readerAt(whole), int64(len(whole)))
	require.NoError(t, err)
	order, size := binary.NativeEndian, int(m.pageSize)
	cases := []struct {
		name   string
		change func(b []byte)
		want   string
	}{
		{"branch pages that lead to themselves", func(b []byte) {
			for id := 2; id < int(m.highWater); id++ {
				page := b[id*size:]
				if order.Uint64(page) != uint64(id) || order.Uint16(page[8:]) != branchPage {
					continue
				}
				for i := range int(order.Uint16(page[10:])) {
					order.PutUint64(page[pageHeaderSize+elementSize*i+8:], uint64(id))
				}
			}
		}, "in use twice"},
		{"more free pages than memory", func(b []byte) {
			page := b[int(m.freelist)*size:]
			order.PutUint16(page[10:], countInElement)
			order.PutUint64(page[pageHeaderSize:], 1<<37)
		}, "longer than its pages"},
		{"a free page that is in use", func(b []byte) {
			page := b[int(m.freelist)*size:]
			order.PutUint16(page[10:], 1)
			order.PutUint64(page[pageHeaderSize:], m.root)
		}, "list of free pages"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "objects.db")
			b := append([]byte(nil), whole...)
			c.change(b)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			_, err := Open(path, &Options{LockTimeout: -1})
			for _, err := range []error{err, Check(path)} {
				require.ErrorIs(t, err, ErrDamaged)
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

type readerAt []byte

func (r readerAt) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > int64(len(r)) {
		return 0, os.ErrInvalid
	}
	return copy(b, r[at:]), nil
}
