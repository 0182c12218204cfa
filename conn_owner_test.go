package edgews_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// A program may use its own net.Conn type. Closing such a connection ends its socket at once, as Upgrade and Dial document.
func TestClosingAConnOfTheProgramsType(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"tcp": (*httptest.Server).Start, "tls": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			sockets, hijacked := make(chan *edgews.Socket, 2), make(chan net.Conn, 2)
			server := httptest.NewUnstartedServer(upgradeInto(t, sockets, edgews.Options{}))
			server.Listener = wrapping{server.Listener}
			server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
				if state == http.StateHijacked {
					hijacked <- conn
				}
			}
			start(server)
			t.Cleanup(server.Close)
			dialed := make(chan net.Conn, 1)
			client := server.Client()
			client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
				conn, err := net.Dial("tcp", server.Listener.Addr().String())
				dialed <- wrapped{conn}
				return wrapped{conn}, err
			}
			for _, side := range []string{"accepted", "dialed"} {
				a, _, err := edgews.Dial(t.Context(), server.URL, &edgews.DialOptions{HTTPClient: client})
				require.NoError(t, err)
				b := <-sockets
				ofA, ofB := <-dialed, <-hijacked
				events := map[string]*recorder{"dialed": record(t, a), "accepted": record(t, b)}
				acceptBoth(t, a, b)
				if side == "accepted" {
					ofB.Close()
				} else {
					ofA.Close()
				}
				events[side].wantsEnd(cut)
				waitDone(t, a)
				waitDone(t, b)
			}
		})
	}
}
