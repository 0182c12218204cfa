//go:build unix

package postgres_test

import (
	"bytes"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between the engine and the server, and loses what statements ask for that have a value of the form lose-WHAT-NUMBER:
//
//	lose-request-1: the connection breaks before the server gets the statement
//	lose-answer-1: it breaks when the server has answered
//	lose-client-1: the client's side breaks at once, and the server's when the server has answered
//
// Each value works once, since the engine sends the statement again. Requests to cancel a statement, which pgx makes when a connection is
// broken, are always lost: they may be in a network that fails.
type proxy struct {
	t      *testing.T
	dir    string // of its socket
	server string // the server's socket

	mu   sync.Mutex
	seen map[string]bool
}

const socketName = ".s.PGSQL.5432"

var cancelRequest = []byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e} // its length and its code

var loses = regexp.MustCompile(`lose-(request|answer|client)-\d+`)

// startProxy starts a proxy for the server with a connection string. It ends with the test.
func startProxy(t *testing.T, conn string) *proxy {
	t.Helper()
	u, err := url.Parse(conn)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "edgews-pg-")
	require.NoError(t, err)
	p := &proxy{t: t, dir: dir, server: filepath.Join(u.Query().Get("host"), socketName), seen: make(map[string]bool)}
	listener, err := net.Listen("unix", filepath.Join(dir, socketName))
	require.NoError(t, err)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client) // until one side ends: the engine closes its connections, or the server does
		}
	})
	t.Cleanup(func() {
		listener.Close()
		accepting.Wait()
		os.RemoveAll(dir)
	})
	return p
}

// conn returns the connection string of the proxy.
func (p *proxy) conn() string { return connTo(p.dir) }

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", p.server)
	if err != nil {
		return
	}
	answerLost := make(chan struct{})
	go func() {
		defer client.Close()
		defer server.Close()
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			select {
			case <-answerLost:
				return
			default:
			}
			if err != nil {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			server.Close()
			return
		}
		if bytes.HasPrefix(buf[:n], cancelRequest) {
			server.Close()
			return
		}
		what := p.lose(buf[:n])
		switch what {
		case "request":
			server.Close()
			return
		case "answer", "client":
			close(answerLost)
		}
		if _, err := server.Write(buf[:n]); err != nil || what == "client" {
			return
		}
	}
}

// lose returns what of a statement is lost, or "".
func (p *proxy) lose(statement []byte) string {
	found := loses.FindSubmatch(statement)
	if found == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[string(found[0])] {
		return ""
	}
	p.seen[string(found[0])] = true
	return string(found[1])
}

// lost returns how many statements have lost something.
func (p *proxy) lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}
