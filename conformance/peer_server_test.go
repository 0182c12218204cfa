package conformance

import (
	"fmt"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// TestPeerServer connects edgews clients to servers of other implementations.
func TestPeerServer(t *testing.T) {
	eachProgram(t, func(t *testing.T, p program) {
		params := p.servable()
		options := make([]any, len(params))
		for i, d := range params {
			options[i] = p.params(d)
		}
		urls := p.serve(t, options)
		for i, d := range params {
			t.Run("asks/"+d.String(), func(t *testing.T) { testServerCompression(t, urls[i], d, wideOptions) })
		}
		for _, d := range params {
			t.Run("is asked/"+d.String(), func(t *testing.T) { testServerCompression(t, urls[1], d, d.client()) })
		}
		t.Run("closes", func(t *testing.T) { testServerCloses(t, urls[0]) })
		t.Run("huge/plain", func(t *testing.T) { testServerHuge(t, urls[0]) })
		t.Run("huge/compressed", func(t *testing.T) { testServerHuge(t, urls[1]) })
	})
}

// servable returns the parameters that the program supports as a server. The first means no compression, the second has all defaults.
func (p program) servable() (list []deflateParams) {
	for _, d := range allDeflateParams() {
		if d.serverBits == 0 || d.serverBits >= p.minBits {
			list = append(list, d)
		}
	}
	return list
}

func dialPeer(t *testing.T, url string, o edgews.Options) *edgews.Socket {
	s, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Options: o, Protocols: []string{"other", "chat"}})
	require.NoError(t, err)
	require.Equal(t, "chat", s.Protocol())
	require.NoError(t, s.Accept())
	return s
}

func testServerCompression(t *testing.T, url string, d deflateParams, o edgews.Options) {
	s := dialPeer(t, url, o)
	if d.serverBits == 15 && o.Compression.PeerWindowBits == 15 {
		d.serverBits = 0 // a missing parameter means 15
	}
	if d.clientBits != 0 && o.Compression.WindowBits == d.clientBits {
		d.clientBits = 0 // a client may use a smaller window than it has stated
	}
	require.True(t, d.agreedIn(s.Extensions()), "asked for %v, agreed on %q", d, s.Extensions())
	for _, size := range peerSizes {
		testEcho(t, s, size, 1)
	}
	require.NoError(t, s.Send("!fragments 3"))
	for _, size := range peerSizes {
		testEcho(t, s, size, 3)
	}
	require.NoError(t, s.Close(1000, "done"))
	expectEnding(t, s, 1000, "done")
}

func testServerHuge(t *testing.T, url string) {
	s := dialPeer(t, url, wideOptions)
	testEcho(t, s, hugeSize, 1)
	testEcho(t, s, hugeSize, 16)
	require.NoError(t, s.Close(1000, ""))
	expectEnding(t, s, 1000, "")
}

// testEcho sends size bytes as text and as binary, and expects the echoes.
func testEcho(t *testing.T, s *edgews.Socket, size, fragments int) {
	for _, kind := range []edgews.Kind{edgews.Text, edgews.Binary} {
		sent := edgews.Message{Kind: kind, Data: peerPayload(kind == edgews.Text, size)}
		require.NoError(t, sendFragments(t.Context(), s, sent, fragments))
		got, err := s.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, kind, got.Kind)
		require.True(t, string(sent.Data) == string(got.Data), "echo of %d bytes differs", size)
	}
}

func testServerCloses(t *testing.T, url string) {
	for _, c := range peerCloses {
		s := dialPeer(t, url, wideOptions)
		_, err := s.Ping(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.Send("!ping back"))
		got, err := s.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "back", got.Text())
		require.NoError(t, s.Close(edgews.StatusCode(c.code), c.reason))
		expectEnding(t, s, c.seen, c.reason)

		s = dialPeer(t, url, wideOptions)
		require.NoError(t, s.Send(fmt.Sprintf("!close %d %s", c.code, c.reason)))
		expectEnding(t, s, c.seen, c.reason)
	}
}

// expectEnding waits for the close event of a socket and checks that it is clean.
func expectEnding(t *testing.T, s *edgews.Socket, code int, reason string) {
	t.Helper()
	_, err := s.Receive(t.Context())
	var how *edgews.CloseError
	require.ErrorAs(t, err, &how)
	require.Equal(t, edgews.CloseError{Code: edgews.StatusCode(code), Reason: reason, WasClean: true}, *how)
	<-s.Done()
}
