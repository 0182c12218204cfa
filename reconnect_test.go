package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flakyServer answers one request after the other with the next of its answers, and those after the last with the last.
type flakyServer struct {
	t       *testing.T
	answers []func(w http.ResponseWriter, r *http.Request)

	mu    sync.Mutex
	asked []time.Time // when the requests came; guarded by mu
}

func (f *flakyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	answer := f.answers[min(len(f.asked), len(f.answers))-1]
	f.mu.Unlock()
	answer(w, r)
}

// requests returns when the requests came.
func (f *flakyServer) requests() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// refusing answers with a status.
func refusing(status int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		lines := ""
		for _, h := range header {
			lines += h + "\r\n"
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			fmt.Fprintf(conn, "HTTP/1.1 %d x\r\n%sContent-Length: 0\r\n\r\n", status, lines)
			conn.Close()
		}
	}
}

// closing after a time: code 0 cuts the connection.
func closingAfter(d time.Duration, code edgews.StatusCode) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil || s.Accept() != nil {
			return
		}
		_ = s.Send("hello")
		select {
		case <-time.After(d):
		case <-s.Done():
		}
		_ = s.Close(code, "")
	}
}

// reconnect runs a loop against a server with these answers, and calls body with each socket. It returns the error of the last iteration.
func (f *flakyServer) reconnect(ctx context.Context, opts *edgews.ReconnectOptions, body func(s *edgews.Socket) bool) (last error) {
	server := edgewstest.New(f.t, f)
	opts.HTTPClient = server.Client()
	for s, err := range edgews.Reconnect(ctx, server.URL, opts) {
		if err != nil {
			assert.Nil(f.t, s)
			assert.NoError(f.t, last, "a second error")
			last = err
			continue
		}
		if !body(s) {
			break
		}
	}
	return last
}

// untilTheEnd receives from the socket until its end.
func untilTheEnd(s *edgews.Socket) bool {
	for range s.Messages(context.Background()) {
	}
	return true
}

func TestReconnectStops(t *testing.T) {
	cases := []struct {
		name    string
		answers []func(http.ResponseWriter, *http.Request)
		sockets int
		want    string
	}{
		{"404", []func(http.ResponseWriter, *http.Request){refusing(404)}, 0, "404"},
		{"403 after others", []func(http.ResponseWriter, *http.Request){refusing(500), refusing(429), refusing(408), refusing(425), refusing(200), refusing(403)}, 0, "403"},
		{"1008", []func(http.ResponseWriter, *http.Request){closingAfter(0, 1008)}, 1, "1008"},
		{"401 after sockets", []func(http.ResponseWriter, *http.Request){closingAfter(0, 1000), closingAfter(0, 4000), closingAfter(time.Hour, 1001), refusing(401)}, 3, "401"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := &flakyServer{t: t, answers: c.answers}
				sockets := 0
				waits := 0
				err := f.reconnect(t.Context(), &edgews.ReconnectOptions{OnWait: func(error, time.Duration) { waits++ }}, func(s *edgews.Socket) bool {
					sockets++
					return untilTheEnd(s)
				})
				require.ErrorContains(t, err, c.want)
				assert.Equal(t, c.sockets, sockets)
				assert.Len(t, f.requests(), len(c.answers))
				assert.Equal(t, len(c.answers)-1, waits)
			})
		})
	}
}

// The bounds of the waits double, and begin again after a socket that was connected for a minute. Each wait is random.
func TestReconnectBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		refuse := refusing(503)
		f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){
			refuse, refuse, refuse, refuse, refuse, refuse, closingAfter(59*time.Second, 1000), refuse, closingAfter(time.Minute, 1000), refuse, refusing(410),
		}}
		bounds := []time.Duration{1, 2, 4, 8, 10, 10, 10, 10, 1, 2}
		var waits []time.Duration
		err := f.reconnect(t.Context(), &edgews.ReconnectOptions{MaxDelay: 10 * time.Second, OnWait: func(err error, d time.Duration) {
			assert.Error(t, err)
			waits = append(waits, d)
		}}, untilTheEnd)
		require.ErrorContains(t, err, "410")
		require.Len(t, waits, len(bounds))
		different := make(map[time.Duration]bool)
		for i, d := range waits {
			assert.LessOrEqual(t, d, bounds[i]*time.Second, "wait %d", i)
			different[d] = true
		}
		assert.Len(t, different, len(waits), "the waits are random")
	})
}

func TestReconnectHonoursTheServer(t *testing.T) {
	cases := []struct {
		name     string
		answer   func(http.ResponseWriter, *http.Request)
		max      time.Duration
		min, end time.Duration
	}{
		{"Retry-After in seconds", refusing(503, "Retry-After: 120"), 0, 2 * time.Minute, 2*time.Minute + time.Second},
		{"of 429", refusing(429, "Retry-After: 90"), 0, 90 * time.Second, 91 * time.Second},
		{"a date", nil, 0, 299 * time.Second, 301 * time.Second},
		{"too long", refusing(503, "Retry-After: "+strconv.Itoa(1<<30)), 0, time.Hour, time.Hour + time.Second},
		{"a date in the past", refusing(503, "Retry-After: Wed, 21 Oct 1998 07:28:00 GMT"), 0, 0, time.Second},
		{"nonsense", refusing(503, "Retry-After: soon"), 0, 0, time.Second},
		{"1012", closingAfter(0, 1012), 0, 5 * time.Second, 30 * time.Second},
		{"1013", closingAfter(0, 1013), 0, 5 * time.Second, 30 * time.Second},
		{"1012 and MaxDelay", closingAfter(0, 1012), 3 * time.Second, 3 * time.Second, 3 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				if c.answer == nil {
					c.answer = refusing(503, "Retry-After: "+time.Now().Add(5*time.Minute).UTC().Format(http.TimeFormat))
				}
				f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){c.answer, refusing(404)}}
				var wait time.Duration
				err := f.reconnect(t.Context(), &edgews.ReconnectOptions{MaxDelay: c.max, OnWait: func(_ error, d time.Duration) { wait = d }}, untilTheEnd)
				require.ErrorContains(t, err, "404")
				assert.GreaterOrEqual(t, wait, c.min)
				assert.LessOrEqual(t, wait, c.end)
				assert.GreaterOrEqual(t, f.requests()[1].Sub(f.requests()[0]), wait)
			})
		})
	}
}

// The body may add listeners and return. Reconnect then waits for the end of the socket.
func TestReconnectWithListeners(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){closingAfter(time.Second, 1000), closingAfter(time.Second, 1001), refusing(404)}}
		messages := 0
		var why []string
		err := f.reconnect(t.Context(), &edgews.ReconnectOptions{OnWait: func(err error, _ time.Duration) { why = append(why, err.Error()) }}, func(s *edgews.Socket) bool {
			s.OnMessage(func(edgews.MessageEvent) { messages++ })
			require.NoError(t, s.Accept())
			return true
		})
		require.ErrorContains(t, err, "404")
		assert.Equal(t, 2, messages)
		require.Len(t, why, 2)
		assert.Contains(t, why[0], "1000")
		assert.Contains(t, why[1], "1001")
	})
}

func TestReconnectClosesWhatIsNotAccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		got := make(chan string, 1)
		f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, nil)
			assert.NoError(t, err)
			s.OnClose(func(e edgews.CloseEvent) { got <- fmt.Sprint(e.Code) })
			assert.NoError(t, s.Accept())
		}, refusing(404)}}
		err := f.reconnect(t.Context(), new(edgews.ReconnectOptions), func(s *edgews.Socket) bool { return true })
		require.ErrorContains(t, err, "404")
		assert.Equal(t, "1001 going away", <-got)
	})
}

func TestReconnectAndBreak(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){closingAfter(time.Minute, 1000)}}
		var kept *edgews.Socket
		require.NoError(t, f.reconnect(t.Context(), new(edgews.ReconnectOptions), func(s *edgews.Socket) bool {
			kept = s
			return false
		}))
		m, err := kept.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "hello", m.Text())
		untilTheEnd(kept)
	})
}

func TestReconnectWhoseContextEnds(t *testing.T) {
	hangs := func(w http.ResponseWriter, r *http.Request) { time.Sleep(20 * time.Second) }
	cases := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
	}{
		{"in a handshake", hangs},
		{"in a wait", refusing(503, "Retry-After: 100")},
		{"while a socket is open", closingAfter(time.Hour, 1000)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){c.answer}}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				began := time.Now()
				err := f.reconnect(ctx, new(edgews.ReconnectOptions), func(s *edgews.Socket) bool { return s.Accept() == nil })
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 10*time.Second, time.Since(began))
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for s, err := range edgews.Reconnect(ctx, "ws://localhost", nil) {
		assert.Nil(t, s)
		assert.ErrorIs(t, err, context.Canceled)
	}
}

// A server that does not answer is given up after 30 s.
func TestReconnectToAServerThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hangs := func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute) }
		f := &flakyServer{t: t, answers: []func(http.ResponseWriter, *http.Request){hangs, refusing(404)}}
		require.ErrorContains(t, f.reconnect(t.Context(), new(edgews.ReconnectOptions), untilTheEnd), "404")
		after := f.requests()[1].Sub(f.requests()[0])
		assert.GreaterOrEqual(t, after, 30*time.Second)
		assert.LessOrEqual(t, after, 31*time.Second)
	})
}

// The cursor is asked for before each attempt, and replaces a parameter of the URL.
func TestReconnectSendsTheCursor(t *testing.T) {
	cases := []struct {
		name, url, param string
		cursors, want    []string // the query of each attempt
	}{
		{"default", "/ws", "", []string{"", "17", "18"}, []string{"", "cursor=17", "cursor=18"}},
		{"beside another", "/ws?room=a%26b", "", []string{"", "1"}, []string{"room=a%26b", "cursor=1&room=a%26b"}},
		{"in place of another", "/ws?after=3", "after", []string{"", "4"}, []string{"after=3", "after=4"}},
		{"escaped", "/ws", "", []string{"a b&c=ü"}, []string{"cursor=a+b%26c%3D%C3%BC"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var queries []string
				server := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					queries = append(queries, r.URL.RawQuery)
					answer := closingAfter(0, 1000)
					if len(queries) == len(c.want) {
						answer = refusing(404)
					}
					answer(w, r)
				}))
				asked := 0
				opts := &edgews.ReconnectOptions{CursorParam: c.param, Cursor: func() string { asked++; return c.cursors[asked-1] }}
				opts.HTTPClient = server.Client()
				for s, err := range edgews.Reconnect(t.Context(), server.URL+c.url, opts) {
					if err != nil {
						require.ErrorContains(t, err, "404")
						break
					}
					untilTheEnd(s)
				}
				assert.Equal(t, c.want, queries)
			})
		})
	}
}

func TestReconnectRefusesArguments(t *testing.T) {
	cases := []struct {
		name, url string
		opts      *edgews.ReconnectOptions
		want      string
	}{
		{"URL", "ftp://localhost", nil, "ftp"},
		{"MinDelay", "ws://localhost", &edgews.ReconnectOptions{MinDelay: -1}, "ReconnectOptions.MinDelay"},
		{"MaxDelay", "ws://localhost", &edgews.ReconnectOptions{MaxDelay: -1}, "ReconnectOptions.MaxDelay"},
		{"options", "ws://localhost", &edgews.ReconnectOptions{DialOptions: edgews.DialOptions{Options: edgews.Options{SendBuffer: -1}}}, "SendBuffer"},
	}
	for _, c := range cases {
		iterations := 0
		for s, err := range edgews.Reconnect(t.Context(), c.url, c.opts) {
			iterations++
			assert.Nil(t, s)
			assert.ErrorContains(t, err, c.want, c.name)
		}
		assert.Equal(t, 1, iterations, c.name)
	}
}
