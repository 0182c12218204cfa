package edgews_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIDs(t *testing.T) {
	n, other := newRooms(t, nil, nil), edgews.NewNamespace("other", noObject, nil)
	a := n.IDFromName("a")
	assert.Equal(t, a, n.IDFromName("a"))
	assert.NotEqual(t, a, n.IDFromName("b"))
	assert.NotEqual(t, a, other.IDFromName("a"))
	unique := n.NewUniqueID()
	assert.NotEqual(t, unique, n.NewUniqueID())
	for _, id := range []edgews.ID{a, unique, n.IDFromName("")} {
		assert.Regexp(t, "^[0-9a-f]{64}$", id.String())
		back, err := n.ParseID(id.String())
		require.NoError(t, err)
		assert.Equal(t, id, back)
		_, err = n.ParseID(strings.ToUpper(id.String()))
		assert.ErrorIs(t, err, edgews.ErrInvalidID)
		_, err = other.ParseID(id.String())
		assert.ErrorIs(t, err, edgews.ErrInvalidID)
		assert.Equal(t, id, n.Get(id).ID())
	}
	for _, bad := range []string{"", "a", strings.Repeat("g", 64), a.String()[1:], a.String() + "0", edgews.ID{}.String()} {
		_, err := n.ParseID(bad)
		assert.ErrorIs(t, err, edgews.ErrInvalidID, "%q", bad)
	}
}

// An ID of another namespace, and the zero ID, lead to nothing.
func TestForeignIDs(t *testing.T) {
	meter := edgews.NewMeter(nil)
	asked := 0
	opts := &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}, Tenant: func(edgews.ID) string { asked++; return "x" }}
	inRooms(t, opts, func(t *testing.T, n *rooms, id edgews.ID) {
		other := edgews.NewNamespace("other", noObject, nil)
		for _, c := range []struct {
			id   edgews.ID
			text string
		}{
			{other.IDFromName("lobby"), `edgews: invalid object ID: it is not one of namespace "rooms"`},
			{other.NewUniqueID(), `edgews: invalid object ID: it is not one of namespace "rooms"`},
			{edgews.ID{}, "edgews: invalid object ID: it is the zero ID, which names no object"},
		} {
			w := n.get(c.id)
			assert.Equal(t, http.StatusInternalServerError, w.Code)
			assert.Equal(t, c.text+"\n", w.Body.String())
			assert.Equal(t, c.id, n.Get(c.id).ID())
			err := n.Hibernate(t.Context(), c.id)
			assert.ErrorIs(t, err, edgews.ErrInvalidID)
			assert.EqualError(t, err, c.text)
		}
		assert.Zero(t, n.made.Load())
		assert.Zero(t, asked)
		assert.Empty(t, slices.Collect(n.Objects()))
		assert.Zero(t, meter.Usage())
		assert.Equal(t, http.StatusOK, n.get(id).Code)
	})
}
