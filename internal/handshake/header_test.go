package handshake_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/handshake"
)

func TestValuesOfEitherSpelling(t *testing.T) {
	h := http.Header{}
	h.Add(handshake.ProtocolHeader, "a")
	h[handshake.ProtocolHeader] = []string{"b"}
	assert.Equal(t, []string{"a", "b"}, handshake.Values(h, handshake.ProtocolHeader))
	assert.Equal(t, []string{"x"}, handshake.Values(http.Header{"Origin": {"x"}}, "Origin"))
}

func TestCheckField(t *testing.T) {
	assert.NoError(t, handshake.CheckField("X-Name", []string{"value", "ä"}))
	assert.EqualError(t, handshake.CheckField("X Name", nil), `"X Name" is not a header name`)
	for _, value := range []string{"a\nb", "a\rb", "a\x00b"} {
		assert.ErrorContains(t, handshake.CheckField("X-Name", []string{"ok", value}), "line break or NUL", "%q", value)
	}
}

func TestReservedAndDescribesBody(t *testing.T) {
	for name, want := range map[string][2]bool{
		"upgrade": {true, false}, "CONNECTION": {true, false}, "sec-websocket-anything": {true, false},
		"content-length": {false, true}, "Transfer-Encoding": {false, true}, "Trailer:x": {false, true}, "TE": {false, true},
		"Set-Cookie": {false, false}, "Sec-Fetch-Mode": {false, false},
	} {
		assert.Equal(t, want, [2]bool{handshake.Reserved(name), handshake.DescribesBody(name)}, name)
	}
}
