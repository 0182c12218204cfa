package dialh2_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edgews/edgews"
)

// framer is a client that sends the frames of HTTP/2 that the test wants.
type framer struct {
	*http2.Framer
	t       *testing.T
	conn    *tls.Conn
	block   bytes.Buffer
	encoder *hpack.Encoder
	next    uint32 // the stream that connect opens
}

// frames connects to s.
func (s *server) frames(t *testing.T, settings ...http2.Setting) *framer {
	t.Helper()
	config := s.transport.TLSClientConfig.Clone()
	config.NextProtos = []string{http2.NextProtoTLS}
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	f := &framer{Framer: http2.NewFramer(conn, conn), t: t, conn: conn, next: 1}
	f.encoder = hpack.NewEncoder(&f.block)
	require.NoError(t, f.WriteSettings(settings...))
	return f
}

// fields sends HEADERS.
func (f *framer) fields(stream uint32, end bool, fields ...string) {
	f.t.Helper()
	f.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		require.NoError(f.t, f.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	require.NoError(f.t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block.Bytes(), EndHeaders: true, EndStream: end}))
}

// connect sends an extended CONNECT and returns its stream.
func (f *framer) connect() uint32 {
	f.t.Helper()
	stream := f.next
	f.next += 2
	f.fields(stream, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "127.0.0.1", "sec-websocket-version", "13")
	return stream
}

// until reads frames until one is the wanted one.
func (f *framer) until(wanted func(http2.Frame) bool) {
	f.t.Helper()
	for {
		frame, err := f.ReadFrame()
		require.NoError(f.t, err)
		if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
			require.NoError(f.t, f.WriteSettingsAck())
		}
		if wanted(frame) {
			return
		}
	}
}

// A client may reset or end its stream at any time, with room for the answer or without: other streams of the connection go on, and the
// handlers return.
func TestStreamEndsInEveryPhase(t *testing.T) {
	message := []byte("\x82\xfe\x20\x00\x00\x00\x00\x00" + string(make([]byte, 8192)))
	phases := map[string]func(f *framer, stream uint32) error{
		"before the answer": func(f *framer, stream uint32) error { return f.WriteRSTStream(stream, http2.ErrCodeCancel) },
		"in a frame": func(f *framer, stream uint32) error {
			_ = f.WriteData(stream, false, message[:3])
			return f.WriteRSTStream(stream, http2.ErrCodeNo)
		},
		"in a frame, by an end": func(f *framer, stream uint32) error { return f.WriteData(stream, true, message[:3]) },
		"with an answer under way": func(f *framer, stream uint32) error {
			_ = f.WriteData(stream, false, message)
			return f.WriteRSTStream(stream, http2.ErrCodeInternal)
		},
		"with an answer that is not taken": func(f *framer, stream uint32) error { return f.WriteData(stream, false, message) },
		"by trailers": func(f *framer, stream uint32) error {
			f.fields(stream, true, "x-trailer", "1")
			return nil
		},
	}
	opts := &edgews.UpgradeOptions{Options: edgews.Options{WriteTimeout: 200 * time.Millisecond, CloseTimeout: 200 * time.Millisecond}}
	for _, window := range []uint32{0, 1 << 16} {
		for name, end := range phases {
			t.Run(fmt.Sprintf("%s, window %d", name, window), func(t *testing.T) {
				entered := make(chan struct{}, 2)
				s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					entered <- struct{}{}
					returns(opts)(w, r)
				}), smallWindows)
				f := s.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
				require.NoError(t, end(f, f.connect()))
				other := f.connect()
				require.NoError(t, f.WriteWindowUpdate(other, 1000))
				require.NoError(t, f.WriteData(other, false, []byte("\x82\x83\x00\x00\x00\x00abc")))
				f.until(func(frame http2.Frame) bool {
					data, ok := frame.(*http2.DataFrame)
					return ok && data.StreamID == other && string(data.Data()) == "\x82\x03abc"
				})
				<-entered
				<-entered
				require.NoError(t, f.conn.Close())
			})
		}
	}
}
