package cluster_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// upgradeRaw opens n WebSocket connections without a Socket at the client's end.
func upgradeRaw(t testing.TB, addr string, n int) []net.Conn {
	t.Helper()
	all := make([]net.Conn, n)
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for i := range all {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			conn, err := net.Dial("tcp", addr)
			if !assert.NoError(t, err) {
				return
			}
			_, err = fmt.Fprintf(conn, "GET /?user=%d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUser-Agent: a program with a name\r\n"+
				"Cookie: a=0123456789\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", i)
			assert.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
			if assert.NoError(t, err) {
				assert.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
			}
			all[i] = conn
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, conn := range all {
			if conn != nil {
				conn.Close()
			}
		}
	})
	return all
}

// liveHeap returns the bytes of live objects.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocatedBy returns the bytes of live objects that were allocated below one of some functions, as far as the profile has them.
func allocatedBy(functions ...string) (bytes int64) {
	runtime.GC()
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 100_000)
	n, ok := runtime.MemProfile(records, false)
	if !ok {
		return -1
	}
	for _, r := range records[:n] {
		if isBelow(r.Stack(), functions) {
			bytes += r.InUseBytes()
		}
	}
	return bytes
}

func isBelow(stack []uintptr, functions []string) bool {
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		for _, name := range functions {
			if strings.Contains(f.Function, name) {
				return true
			}
		}
		if !more {
			return false
		}
	}
}

// plainSite is a server whose sockets have listeners, and no object.
func plainSite(t *testing.T) (addr string, opened *sync.WaitGroup) {
	t.Helper()
	opened = new(sync.WaitGroup)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer opened.Done()
		s, err := edgews.Upgrade(w, r, nil)
		if err == nil {
			s.OnMessage(func(edgews.MessageEvent) {})
			s.OnClose(func(edgews.CloseEvent) {})
			_ = s.AcceptHalfOpen()
		}
	})}
	go server.Serve(web)
	t.Cleanup(func() { server.Close() })
	return web.Addr().String(), opened
}

// TestMemoryOfARemoteSocket measures what a socket whose object lives on another node costs while it is idle, more than a socket without an
// object does.
func TestMemoryOfARemoteSocket(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	const n, mostAtBoth = 2000, 3600
	f := startFan(t)
	addr, opened := plainSite(t)
	opened.Add(10 + n)
	upgradeRaw(t, addr, 10)
	upgradeRaw(t, f.edges[0].url[5:], 10)

	before := liveHeap()
	plainConns := upgradeRaw(t, addr, n)
	opened.Wait()
	plain := liveHeap() - before

	if os.Getenv("EDGEWS_MEMPROFILE") != "" {
		runtime.MemProfileRate = 1
	}
	before = liveHeap()
	remoteConns := upgradeRaw(t, f.edges[0].url[5:], n)
	require.Equal(t, n+10, f.call("many", order{}))
	remote := liveHeap() - before
	each := float64(remote-plain) / n
	t.Logf("a plain socket: %d bytes; a remote one: %d bytes, at the edge and at home together; the difference: %.0f bytes", plain/n, remote/n, each)
	assert.Less(t, each, float64(mostAtBoth))
	if os.Getenv("EDGEWS_MEMPROFILE") != "" {
		printProfile(t, n)
	}
	runtime.KeepAlive(plainConns)
	runtime.KeepAlive(remoteConns)
}

func printProfile(t *testing.T, n int64) {
	runtime.GC()
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 100_000)
	k, ok := runtime.MemProfile(records, false)
	require.True(t, ok)
	for _, r := range records[:k] {
		if r.InUseBytes() < 8*n {
			continue
		}
		var names []string
		frames := runtime.CallersFrames(r.Stack())
		for {
			fr, more := frames.Next()
			names = append(names, fmt.Sprintf("%s:%d", fr.Function[strings.LastIndex(fr.Function, "/")+1:], fr.Line))
			if !more {
				break
			}
		}
		t.Logf("%5d B/socket %6d objects %s", r.InUseBytes()/n, r.InUseObjects(), strings.Join(names[:min(len(names), 9)], " < "))
	}
}
