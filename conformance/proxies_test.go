package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// proxyTimeout is the time-out of the proxies, in place of the 60 s and 50 s of docs/proxies.md.
	proxyTimeout = 3 * time.Second
	// proxyKeepAlive is the KeepAlive of a socket that a proxy must not cut. It leaves room for a machine that is busy.
	proxyKeepAlive = proxyTimeout / 10
	// proxyPatience bounds waits for what must happen.
	proxyPatience = time.Minute
)

// proxy is a program that runs a configuration of docs/proxies.md.
type proxy struct {
	name     string
	timeouts string // of the configuration there; "": it has none
	listens  string // what it says there about its own address
	listen   string // what the test says in its place; %s: the path of a Unix socket
	around   string // the rest of a configuration file; %[1]s: a directory for files, %[2]s: the configuration of the page
	flags    []string
	patient  bool // it leaves idle connections alone
}

var proxies = []proxy{
	{
		name: "nginx", timeouts: "60s", listens: "listen 80;", listen: "listen unix:%s;", flags: []string{"-c"},
		around: "daemon off; master_process off; pid %[1]s/pid; error_log stderr; events {}\nhttp { access_log off;\n" +
			"client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;\n" +
			"%[2]s}\n",
	},
	{name: "haproxy", timeouts: "50s", listens: "bind :80", listen: "bind unix@%s", flags: []string{"-db", "-f"}, around: "# for %[1]s\n%[2]s"},
	{
		name: "caddy", listens: ":80 {", listen: "http:// {\n\tbind unix/%s", flags: []string{"run", "--adapter", "caddyfile", "--config"},
		around: "{\n\tadmin off\n\tauto_https off\n\tstorage file_system %[1]s/data\n}\n%[2]s", patient: true,
	},
}

// A socket with KeepAlive below the time-out of the proxy in front outlives three of them without a message. One without KeepAlive is cut, except
// by Caddy, which has no such time-out.
func TestIdleSocketsBehindProxies(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			sockets := make(chan *edgews.Socket, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				opts := edgews.Options{KeepAlive: proxyKeepAlive}
				if r.URL.Path == "/silent" {
					opts.KeepAlive = -1
				}
				s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: opts})
				if !assert.NoError(t, err) {
					return
				}
				s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
				assert.NoError(t, s.Accept())
				sockets <- s
			}))
			t.Cleanup(server.Close)
			dial := p.start(t, server.Listener.Addr().String())

			t.Run("with KeepAlive", func(t *testing.T) {
				c := openThroughProxy(t, dial, "/pinging")
				s := <-sockets
				pings := 0
				for start := time.Now(); time.Since(start) < 3*proxyTimeout; pings++ {
					op, payload := c.next()
					require.Equal(t, byte(9), op, "the payload is %q", payload)
					c.send(10, payload)
				}
				t.Logf("%d pings", pings)
				c.send(2, "still there?")
				op, payload := c.next()
				for ; op == 9; op, payload = c.next() {
					c.send(10, payload)
				}
				assert.Equal(t, byte(2), op)
				assert.Equal(t, "still there?", payload)
				require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
				c.conn.Close()
				<-s.Done()
			})
			t.Run("without KeepAlive", func(t *testing.T) {
				c := openThroughProxy(t, dial, "/silent")
				s := <-sockets
				if p.patient {
					require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(3*proxyTimeout)))
					_, err := c.in.ReadByte()
					require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing has arrived, and nothing has ended")
					require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(proxyPatience)))
					c.send(2, "still there?")
					_, payload := c.next()
					assert.Equal(t, "still there?", payload)
					c.conn.Close()
					<-s.Done()
					return
				}
				_, err := c.in.ReadByte()
				require.Error(t, err)
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the proxy has not cut the connection")
				<-s.Done()
				var end *edgews.CloseError
				require.ErrorAs(t, s.Err(), &end)
				assert.Equal(t, edgews.StatusAbnormalClosure, end.Code)
			})
		})
	}
}

// start starts the proxy in front of the server at backend, with the configuration of docs/proxies.md. It returns a function that connects
// to the proxy.
func (p proxy) start(t *testing.T, backend string) (dial func() net.Conn) {
	t.Helper()
	program, err := exec.LookPath(p.name)
	if err != nil {
		program = "/usr/sbin/" + p.name // Debian's place, which is not always in PATH
		if _, err := os.Stat(program); err != nil {
			missing(t, p.name+": apt-get install "+p.name)
		}
	}
	dir, err := os.MkdirTemp("", p.name) // the path of a Unix socket must be short, and that of t.TempDir is not
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, file := filepath.Join(dir, "front"), filepath.Join(dir, "config")
	config := p.config(t, socket, backend)
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, p.around, dir, config), 0o600))

	cmd := exec.Command(program, append(p.flags, file)...)
	cmd.Stderr, cmd.WaitDelay = t.Output(), time.Second
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	connect := func() (net.Conn, error) { return net.Dial("unix", socket) }
	for start := time.Now(); time.Since(start) < proxyPatience; {
		if conn, err := connect(); err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			ended <- err
			require.FailNow(t, "the proxy has ended", "%v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return func() net.Conn {
		conn, err := connect()
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// config returns the configuration of docs/proxies.md with other addresses and time-outs.
func (p proxy) config(t *testing.T, socket, backend string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/proxies.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```" + p.name + "\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, block, "docs/proxies.md has no configuration of %s", p.name)
	config := string(block[1])
	for _, change := range [][2]string{
		{p.listens, fmt.Sprintf(p.listen, socket)}, {"127.0.0.1:8080", backend}, {p.timeouts, fmt.Sprintf("%ds", proxyTimeout/time.Second)},
	} {
		if change[0] == "" {
			continue
		}
		require.Contains(t, config, change[0])
		config = strings.ReplaceAll(config, change[0], change[1])
	}
	return config
}

// proxiedClient is a WebSocket client that sends and receives single frames, and nothing on its own.
type proxiedClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// openThroughProxy makes the opening handshake of a browser's page. Its Origin passes the check only if the proxy keeps the Host header.
func openThroughProxy(t *testing.T, dial func() net.Conn, path string) *proxiedClient {
	t.Helper()
	conn := dial()
	require.NoError(t, conn.SetDeadline(time.Now().Add(proxyPatience)))
	_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: chat.example\r\nOrigin: http://chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	return &proxiedClient{t, conn, in}
}

// send sends a frame with a mask of zeros.
func (c *proxiedClient) send(opcode byte, payload string) {
	c.t.Helper()
	require.Less(c.t, len(payload), 126)
	_, err := c.conn.Write(append([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
	require.NoError(c.t, err)
}

// next returns the next frame, which must be short.
func (c *proxiedClient) next() (opcode byte, payload string) {
	c.t.Helper()
	var head [2]byte
	_, err := io.ReadFull(c.in, head[:])
	require.NoError(c.t, err)
	require.Less(c.t, head[1], byte(126))
	p := make([]byte, head[1])
	_, err = io.ReadFull(c.in, p)
	require.NoError(c.t, err)
	return head[0] & 0x0f, string(p)
}
