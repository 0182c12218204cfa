package bolt

import (
	"path/filepath"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/storetest"
	"github.com/stretchr/testify/require"
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
