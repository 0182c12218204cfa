package edgews_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAttachments(t *testing.T) {
	_, s := edgews.NewPair()
	var into []byte
	require.ErrorIs(t, s.Attachment(&into), edgews.ErrNoAttachment)

	raw := []byte("raw")
	require.NoError(t, s.SetAttachment(raw))
	raw[0] = 'R'
	require.NoError(t, s.Attachment(&into))
	assert.Equal(t, "raw", string(into))
	into[0] = 'X'
	require.NoError(t, s.Attachment(&into))
	assert.Equal(t, "raw", string(into), "a copy each time")
	assert.Error(t, s.Attachment(new(int)))

	addr, got := netip.MustParseAddr("10.1.2.3"), netip.Addr{}
	require.NoError(t, s.SetAttachment(addr))
	require.NoError(t, s.Attachment(&got))
	assert.Equal(t, addr, got)

	type user struct{ Name string }
	require.NoError(t, s.SetAttachment(user{"ann"}))
	var u user
	require.NoError(t, s.Attachment(&u))
	assert.Equal(t, user{"ann"}, u)
	assert.Error(t, s.Attachment(new(int)))
	assert.Error(t, s.Attachment(nil))

	require.Error(t, s.SetAttachment(func() {}))
	require.NoError(t, s.SetAttachment(make([]byte, 16384)))
	err := s.SetAttachment(make([]byte, 16385))
	require.ErrorIs(t, err, edgews.ErrAttachmentTooBig)
	assert.ErrorContains(t, err, "16385")
	require.NoError(t, s.Attachment(&into))
	assert.Len(t, into, 16384, "the old one stays")
	require.NoError(t, s.SetAttachment(json.RawMessage(`{"name":"bob"}`)))
	require.NoError(t, s.Attachment(&u))
	assert.Equal(t, user{"bob"}, u)
	require.NoError(t, s.SetAttachment(nil))
	require.ErrorIs(t, s.Attachment(&into), edgews.ErrNoAttachment)
}
