package park_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
)

// serverConfig has a certificate that clientConfig does not verify.
var serverConfig = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})

func clientConfig() *tls.Config { return &tls.Config{InsecureSkipVerify: true} } // see serverConfig

// secure puts TLS over a connection. near becomes the server's end.
func secure(t testing.TB, near, far net.Conn) (server, client *tls.Conn) {
	server, client = tls.Server(near, serverConfig()), tls.Client(far, clientConfig())
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	require.NoError(t, client.Handshake())
	require.NoError(t, <-shaken)
	return server, client
}

// readers returns the number of goroutines that read connections.
func readers() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "park.(*offLoop).run(")
}

func wantsNoReaders(t *testing.T) {
	t.Helper()
	for begun := time.Now(); readers() > 0; runtime.Gosched() {
		require.Less(t, time.Since(begun), patience)
	}
}

func needsLoop(t *testing.T) {
	if !park.HasLoop {
		t.Skip("this build has no event loop")
	}
}

// TryWrite writes what fits, and leaves the rest to a writer that can wait. No bytes are lost in between.
func TestTLSWrite(t *testing.T) {
	needsLoop(t)
	near, far := connect(t, "tls")
	h := newHandler(near, func([]byte) {})
	h.Start()
	chunk := noise(1000)
	n, err := h.TryWrite(chunk)
	require.NoError(t, err)
	require.Equal(t, len(chunk), n)
	sent := 1
	for ; err == nil; sent++ { // until the peer's window is full
		n, err = h.TryWrite(chunk)
	}
	sent--
	require.ErrorIs(t, err, park.ErrWouldBlock)
	require.Zero(t, n, "part of a record was written")
	require.False(t, h.NotifiesWritable())
	wrote := make(chan error, 1)
	go func() {
		_, err := h.BlockingConn().Write(chunk)
		wrote <- err
	}()
	got := make([]byte, len(chunk))
	for range sent + 1 {
		_, err := io.ReadFull(far, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(chunk, got))
	}
	require.NoError(t, <-wrote)
	far.Close()
	h.wantsEnd(t, io.EOF)
}

// Session tickets, which a server sends on its own, are not data: the handler sees nothing of them, and no goroutine remains.
func TestTLSTickets(t *testing.T) {
	needsLoop(t)
	plain, far := dial(t, "tcp")
	server := tls.Server(far, serverConfig())
	client := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }() // the tickets follow the handshake
	require.NoError(t, client.Handshake())
	require.NoError(t, <-shaken)
	got := make(chan string, 1)
	h := newHandler(client, func(p []byte) { got <- string(p) })
	h.Start()
	wantsNoReaders(t)
	assert.Empty(t, got)
	_, err := server.Write([]byte("data"))
	require.NoError(t, err)
	assert.Equal(t, "data", <-got)
	wantsNoReaders(t)
	server.Close()
	h.wantsEnd(t, io.EOF)
}

// A peer may update its keys, and request that we update ours, at any time. OpenSSL does so on command; package tls does not.
func TestTLSKeyUpdate(t *testing.T) {
	needsLoop(t)
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	cmd := exec.Command(openssl, "s_client", "-connect", l.Addr().String(), "-tls1_3")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout // where it reports key updates
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stop.Stop()

	plain, err := l.Accept()
	require.NoError(t, err)
	server := tls.Server(plain, serverConfig())
	require.NoError(t, server.Handshake())
	h := newHandler(server, nil)
	h.received = func(p []byte) { _ = h.write(bytes.ToUpper(p), nil) }
	h.Start()
	answered := lines(out)
	for _, update := range []string{"", "K", "k", "K", "K"} { // K requests an update of our keys too, k does not
		wantsNoReaders(t)
		if update != "" {
			_, err = io.WriteString(in, update+"\n")
			require.NoError(t, err)
			answered(t, "KEYUPDATE")
			wantsNoReaders(t)
		}
		_, err = io.WriteString(in, "after "+update+" more\n")
		require.NoError(t, err)
		answered(t, "AFTER "+strings.ToUpper(update)+" MORE")
	}
	in.Close()
	h.wantsEnd(t, io.EOF)
}

// lines returns a function that waits for a line of r.
func lines(r io.Reader) func(t *testing.T, want string) {
	all := ""
	buf := make([]byte, 4096)
	return func(t *testing.T, want string) {
		t.Helper()
		for {
			if _, after, ok := strings.Cut(all, want+"\n"); ok {
				all = after
				return
			}
			n, err := r.Read(buf)
			require.NoError(t, err, "%q has not come; the rest is %q", want, all)
			all += string(buf[:n])
		}
	}
}
