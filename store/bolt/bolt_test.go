package bolt

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/storetest"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func openIn(t *testing.T, dir string) edgews.Store {
	s, err := Open(filepath.Join(dir, "objects.db"), nil)
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) edgews.Store { return openIn(t, t.TempDir()) })
}

func TestStoreIsDurable(t *testing.T) { storetest.RunDurable(t, openIn) }

// The full disk is a limit for the size of the file.
func TestStoreIsFull(t *testing.T) {
	storetest.RunFull(t, func(t *testing.T, dir string) edgews.Store {
		s, err := open(filepath.Join(dir, "objects.db"), defaultFileMode, &bbolt.Options{MaxSize: 4 << 20, FreelistType: bbolt.FreelistMapType})
		require.NoError(t, err)
		return s
	})
}

// openStore opens a store that is closed at the end of the test.
func openStore(t *testing.T, opts *bbolt.Options) *Store {
	t.Helper()
	s, err := open(filepath.Join(t.TempDir(), "objects.db"), defaultFileMode, opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// openObject opens object n of a namespace.
func openObject(t testing.TB, s *Store, namespace string, n int) edgews.ObjectStore {
	t.Helper()
	id, err := parseID(binary.BigEndian.AppendUint32(make([]byte, idLen-4), uint32(n)))
	require.NoError(t, err)
	o, err := s.Open(context.Background(), edgews.ObjectKey{Namespace: namespace, ID: id}, edgews.Fence{Epoch: 1})
	require.NoError(t, err)
	return o
}

// transactions returns how many transactions have written to the file since it was created.
func transactions(t testing.TB, s *Store) int {
	t.Helper()
	tx, err := s.db.Begin(false)
	require.NoError(t, err)
	defer tx.Rollback()
	return tx.ID()
}

func roomObject(t testing.TB, s *Store, n int) *object {
	t.Helper()
	return openObject(t, s, "room", n).(*object)
}

func put(key, value string) edgews.Batch {
	return edgews.Batch{Puts: []edgews.Entry{{Key: key, Value: []byte(value)}}}
}

// list returns all entries as key=value.
func list(t testing.TB, o edgews.ObjectStore) (all []string) {
	t.Helper()
	for e, err := range o.Scan(context.Background(), edgews.Range{}) {
		require.NoError(t, err)
		all = append(all, e.Key+"="+string(e.Value))
	}
	return all
}
