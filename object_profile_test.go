package edgews_test

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// labelLine finds the labels of objects in a profile of goroutines.
var labelLine = regexp.MustCompile(`# labels: (\{.*"namespace":"rooms".*\})`)

// labelsNow returns the labels of the goroutines that run events of objects.
func labelsNow(t *testing.T) []string {
	var b bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&b, 1))
	var found []string
	for _, m := range labelLine.FindAllStringSubmatch(b.String(), -1) {
		found = append(found, m[1])
	}
	return found
}

// Profiles say which handler of which object a goroutine runs, if there is an Observer.
func TestHandlersHaveLabels(t *testing.T) {
	for name, observer := range map[string]edgews.Observer{"nil": nil, "observer": edgews.NopObserver{}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var during map[string][]string
				n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: observer}}, func(r *room) {
					r.serve = func(http.ResponseWriter, *http.Request) { during["ServeHTTP"] = labelsNow(t) }
					r.message = func(context.Context, *edgews.Socket, edgews.Message) error {
						during["WebSocketMessage"] = labelsNow(t)
						return nil
					}
				})
				during = make(map[string][]string)
				id := n.IDFromName("lobby")
				client, _, _ := n.joins(id)
				require.NoError(t, client.Send("hello"))
				held, peer := edgews.NewPair()
				st := n.wake(id)
				st.Hold(held)
				held.OnMessage(func(edgews.MessageEvent) { during["OnMessage"] = labelsNow(t) })
				acceptBoth(t, held, peer)
				require.NoError(t, peer.Send("hello"))
				synctest.Wait()
				for _, handler := range []string{"ServeHTTP", "WebSocketMessage", "OnMessage"} {
					if observer == nil {
						assert.Empty(t, during[handler], handler)
						continue
					}
					require.Len(t, during[handler], 1, handler)
					for _, want := range []string{`"object":"` + id.String() + `"`, `"handler":"` + handler + `"`} {
						assert.Contains(t, during[handler][0], want)
					}
				}
				assert.Empty(t, labelsNow(t), "after the events")
			})
		})
	}
}

// An execution trace has a region for each event, with and without an Observer, and one for each message of an observed socket.
func TestEventsAreTraced(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, trace.Start(&b))
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			trace.Stop()
		}
	}
	defer stop()
	n := newRooms(t, nil, nil)
	id := n.IDFromName("lobby")
	client, _, events := n.joins(id)
	require.NoError(t, client.Send("hello"))
	require.NoError(t, client.Close(1000, ""))
	events.wantsEnd(closed(1000, "", true))
	eventually(t, func() bool { return len(n.Sockets(id)) == 0 }, "the object has closed it")

	client, server := overTCP.connect(t, edgews.Options{Observer: edgews.NopObserver{}})
	heard := make(chan string, 1)
	server.OnMessage(func(e edgews.MessageEvent) { heard <- e.Text() })
	acceptBoth(t, client, server)
	require.NoError(t, client.Send("hello"))
	<-heard
	require.NoError(t, client.Close(1000, ""))
	waitDone(t, server)
	stop()
	for _, want := range []string{"edgews.ServeHTTP", "edgews.WebSocketMessage", "edgews.WebSocketClose", "edgews.OnMessage", "rooms/" + id.String()} {
		assert.True(t, strings.Contains(b.String(), want), want)
	}
}
