package handshake_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/handshake"
)

const head = "GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// scan gives p to a HeadScanner, first whole and then byte by byte, and checks that the result is the same.
func scan(t *testing.T, p string) (state handshake.HeadState, n int) {
	t.Helper()
	var whole handshake.HeadScanner
	state, n = whole.Scan([]byte(p))
	var slow handshake.HeadScanner
	for i := range len(p) {
		slowState, slowN := slow.Scan([]byte(p[:i+1]))
		if slowState != handshake.HeadIncomplete || i == len(p)-1 {
			assert.Equal(t, state, slowState, "byte by byte: %q", p)
			assert.Equal(t, n, slowN, "byte by byte: %q", p)
			break
		}
	}
	return state, n
}

func TestHeadScanner(t *testing.T) {
	long := strings.Replace(head, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", handshake.MaxScannedHead)+"\r\n\r\n", 1)
	cases := []struct {
		name, bytes string
		want        handshake.HeadState
	}{
		{"whole", head, handshake.HeadOfUpgrade},
		{"with bytes behind", head + "\x81\x80", handshake.HeadOfUpgrade},
		{"without the last byte", head[:len(head)-1], handshake.HeadIncomplete},
		{"one byte", "G", handshake.HeadIncomplete},
		{"another method", "POST", handshake.HeadOfOther},
		{"one byte of it", "P", handshake.HeadOfOther},
		{"an empty line first", "\r\n" + head, handshake.HeadOfOther},
		{"no Upgrade", strings.Replace(head, "Upgrade:", "X:", 1), handshake.HeadOfOther},
		{"Upgrade in lower case", strings.Replace(head, "Upgrade:", "upgrade:", 1), handshake.HeadOfUpgrade},
		{"Upgrade in a value only", "GET / HTTP/1.1\r\nHost: Upgrade: websocket\r\n\r\n", handshake.HeadOfOther},
		{"a bare LF", strings.Replace(head, "\r\n", "\n", 1), handshake.HeadOfOther},
		{"an empty line of LF", strings.Replace(head, "\r\n\r\n", "\r\n\n", 1), handshake.HeadOfOther},
		{"too long", long, handshake.HeadOfOther},
		{"too long, without an end", long[:handshake.MaxScannedHead+5], handshake.HeadOfOther},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			state, n := scan(t, c.bytes)
			assert.Equal(t, c.want, state)
			if state == handshake.HeadOfUpgrade {
				assert.Equal(t, strings.Index(c.bytes, "\r\n\r\n")+4, n)
			}
		})
	}
}

// FuzzParseUpgrade compares ParseUpgrade with http.ReadRequest: what the first accepts, the second reads in the same way.
func FuzzParseUpgrade(f *testing.F) {
	for _, lines := range []string{
		"", "X: a\r\n", "x-y: a\r\nX-Y: b\r\n", "X: \t a \t\r\n", "X:\r\n", "Pragma: no-cache\r\n", "Host: again\r\n", "Content-Length: 0\r\n",
		"Transfer-Encoding: chunked\r\n", "X: a\r\n b\r\n", "X : a\r\n", "X: \x00\r\n", "Connection: close\r\n", "Expect: 100-continue\r\n", "Trailer: X\r\n",
	} {
		f.Add(strings.Replace(head, "Upgrade:", lines+"Upgrade:", 1))
	}
	for _, target := range []string{"*", "http://example.org/", "//a/b", "/%zz", "/#", "/ ", "", "/\x7f"} {
		f.Add(strings.Replace(head, "/chat?a=b", target, 1))
	}
	f.Fuzz(func(t *testing.T, p string) {
		state, n := scan(t, p)
		if state != handshake.HeadOfUpgrade {
			return
		}
		var got http.Request
		if !handshake.ParseUpgrade(p[:n], &got) {
			return
		}
		source := strings.NewReader(p)
		r := bufio.NewReader(source)
		want, err := http.ReadRequest(r)
		if !assert.NoError(t, err, "%q", p) {
			return
		}
		assert.Equal(t, len(p)-n, r.Buffered()+source.Len(), "bytes behind the head of %q", p)
		assert.Equal(t, want.Method, got.Method)
		assert.Equal(t, want.URL, got.URL)
		assert.Equal(t, want.RequestURI, got.RequestURI)
		assert.Equal(t, want.Host, got.Host)
		assert.Equal(t, want.Header, got.Header)
		assert.Equal(t, []int{want.ProtoMajor, want.ProtoMinor}, []int{got.ProtoMajor, got.ProtoMinor})
		assert.Equal(t, want.Proto, got.Proto)
		assert.Equal(t, want.ContentLength, got.ContentLength)
		assert.Equal(t, want.TransferEncoding, got.TransferEncoding)
		assert.Equal(t, want.Close, got.Close)
		assert.Equal(t, want.Body, got.Body)
		assert.Equal(t, want.Trailer, got.Trailer)
		assert.True(t, handshake.IsUpgrade(want))
	})
}
