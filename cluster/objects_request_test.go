package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// clerk is an object that answers requests as their "do" says.
type clerk struct {
	st    *edgews.State
	rooms func() *edgews.Namespace
	ended chan<- error    // why the context of a request has ended
	next  <-chan struct{} // what a streaming handler waits for
}

func (o *clerk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	do := r.URL.Query().Get("do")
	if status, err := strconv.Atoi(do); err == nil {
		w.Header().Set("X-Status", do)
		w.WriteHeader(status)
		fmt.Fprint(w, "body of ", do)
		return
	}
	switch do {
	case "echo":
		_, err := io.Copy(w, r.Body)
		o.ended <- err
	case "ignore":
		fmt.Fprint(w, "ignored")
	case "stream":
		for i := range 3 {
			fmt.Fprintln(w, i)
			_ = http.NewResponseController(w).Flush()
			<-o.next
		}
	case "wait":
		o.ended <- nil // it has begun
		<-r.Context().Done()
		o.ended <- context.Cause(r.Context())
	case "waitbody":
		o.ended <- nil
		_, err := io.ReadAll(r.Body)
		o.ended <- err
	case "panic":
		panic("clerk panics")
	case "latepanic":
		fmt.Fprint(w, "begun")
		_ = http.NewResponseController(w).Flush()
		panic("clerk panics")
	case "large":
		chunk := bytes.Repeat([]byte("x"), 100_000)
		for range 50 {
			if _, err := w.Write(chunk); err != nil {
				break
			}
		}
	case "proto":
		fmt.Fprint(w, r.Proto, " ", r.Host, " ", r.Header.Get("X-Sent"), " ", r.ContentLength)
	}
}

func (o *clerk) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	switch method {
	case "length":
		return len(req), nil
	case "large":
		return strings.Repeat("y", 40<<20), nil
	case "wait":
		o.ended <- nil
		<-ctx.Done()
		o.ended <- ctx.Err()
		return nil, ctx.Err()
	case "overloaded":
		return nil, fmt.Errorf("clerk: %w", edgews.ErrOverloaded)
	case "nothome": // an error of this object, not of the cluster
		n, err := count(ctx, o.st, "nothome")
		return nil, fmt.Errorf("clerk: %d %w", n, errors.Join(err, edgews.ErrNotHome))
	case "other":
		var name string
		_ = json.Unmarshal(req, &name)
		return edgews.Call[string, int](ctx, o.rooms().ByName(name), "length", name)
	}
	return nil, edgews.ErrUnknownMethod
}

func count(ctx context.Context, st *edgews.State, key string) (n int, err error) {
	return (&tally{st}).count(ctx, key)
}

// clerks is a cluster of three with clerks.
type clerks struct {
	sites  []*site
	home   *site
	edge   *site
	ended  chan error
	next   chan struct{}
	client *http.Client
}

func startClerks(t *testing.T) *clerks {
	c := &clerks{ended: make(chan error, 100), next: make(chan struct{}), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(c.client.CloseIdleConnections)
	c.sites = startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &clerk{st, func() *edgews.Namespace { return c.home.rooms }, c.ended, c.next}, nil
	}, nil, "a", "b", "c")
	home, others := settledHomeOf(t, c.sites, "desk")
	c.home, c.edge = home, others[0]
	return c
}

func (c *clerks) url(do string) string { return "http" + c.edge.url[2:] + "/desk?do=" + do }

func (c *clerks) do(t *testing.T, method, do string, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url(do), body)
	require.NoError(t, err)
	r.Header.Set("X-Sent", "yes")
	resp, err := c.client.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func read(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(data)
}

// TestRequestBodies: bodies go through, whatever their size, and a handler need not read them.
func TestRequestBodies(t *testing.T) {
	c := startClerks(t)
	for _, size := range []int{0, 1, 40_000, 3_000_000} {
		body := make([]byte, size)
		rand.Read(body)
		assert.True(t, read(t, c.do(t, "POST", "echo", bytes.NewReader(body)).Body) == string(body), "%d bytes", size)
		assert.NoError(t, <-c.ended)
		assert.Equal(t, "ignored", read(t, c.do(t, "POST", "ignore", bytes.NewReader(body)).Body))
	}
	assert.Equal(t, strings.Repeat("x", 5_000_000), read(t, c.do(t, "GET", "large", nil).Body))
	assert.Equal(t, "HTTP/1.1 "+c.edge.url[5:]+" yes 0", read(t, c.do(t, "GET", "proto", nil).Body))
	c.wantNoChannels(t)
}

// wantNoChannels checks that all channels between the nodes have ended.
func (c *clerks) wantNoChannels(t *testing.T) { wantChannels(t, c.sites, 0) }

func wantChannels(t *testing.T, sites []*site, want int) {
	t.Helper()
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		for _, s := range sites {
			assert.LessOrEqual(ct, s.Channels(), want, s.Self().ID)
		}
	}, 10*time.Second, 20*time.Millisecond)
}

// TestResponses: what net/http makes of answers does not depend on where the object lives.
func TestResponses(t *testing.T) {
	c := startClerks(t)
	for _, status := range []string{"200", "404", "500"} {
		resp := c.do(t, "GET", status, nil)
		assert.Equal(t, "body of "+status, read(t, resp.Body))
		assert.Equal(t, status, resp.Header.Get("X-Status"))
		assert.EqualValues(t, len("body of 200"), resp.ContentLength, "small answers have a length")
	}
	for _, status := range []string{"204", "304"} {
		resp := c.do(t, "GET", status, nil)
		assert.Empty(t, read(t, resp.Body))
		assert.Equal(t, status, strconv.Itoa(resp.StatusCode))
	}
	resp := c.do(t, "HEAD", "200", nil)
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, read(t, resp.Body))

	stream := bufio.NewReader(c.do(t, "GET", "stream", nil).Body)
	for i := range 3 { // each line arrives before the handler goes on
		line, err := stream.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintln(i), line)
		c.next <- struct{}{}
	}
	assert.Empty(t, read(t, stream))

	assert.Equal(t, http.StatusInternalServerError, c.do(t, "GET", "panic", nil).StatusCode)
	late := c.do(t, "GET", "latepanic", nil)
	_, err := io.ReadAll(late.Body)
	require.Error(t, err)
	c.wantNoChannels(t)
}

// TestCancelledRequests: the handler learns that the client has gone, in each state of the request.
func TestCancelledRequests(t *testing.T) {
	c := startClerks(t)
	for _, do := range []string{"wait", "waitbody"} {
		ctx, cancel := context.WithCancel(t.Context())
		var body io.Reader
		if do == "waitbody" {
			pr, pw := io.Pipe()
			context.AfterFunc(ctx, func() { pw.CloseWithError(ctx.Err()) })
			go pw.Write([]byte("the beginning"))
			body = pr
		}
		r, err := http.NewRequestWithContext(ctx, "POST", c.url(do), body)
		require.NoError(t, err)
		failed := make(chan error, 1)
		go func() {
			resp, err := c.client.Do(r)
			if err == nil {
				resp.Body.Close()
			}
			failed <- err
		}()
		require.NoError(t, <-c.ended)
		cancel()
		require.Error(t, <-failed)
		require.Error(t, <-c.ended)
	}
	c.wantNoChannels(t)
}

// TestSlowBody: a client that does not send its whole body gets the answer of a handler that does not want it.
func TestSlowBody(t *testing.T) {
	c := startClerks(t)
	conn, err := net.Dial("tcp", c.edge.url[5:])
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /desk?do=ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbeginning")
	require.NoError(t, err)
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.Equal(t, "ignored", read(t, resp.Body))
	c.wantNoChannels(t)
}

// TestHugeHeader: a header that the links do not take is refused, not lost.
func TestHugeHeader(t *testing.T) {
	c := startClerks(t)
	r, err := http.NewRequest("GET", c.url("200"), nil)
	require.NoError(t, err)
	r.Header.Set("X-Large", strings.Repeat("z", 100_000))
	resp, err := c.client.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
}

// TestNoHome: a request waits for a home as long as its context allows, and then is answered with 503.
func TestNoHome(t *testing.T) {
	c := startClerks(t)
	c.edge.engine.Partition(true)
	for _, s := range c.sites {
		if s != c.edge {
			s.engine.Partition(true)
			s.Kill()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	w := newRecorder()
	r, err := http.NewRequestWithContext(ctx, "GET", "/desk", nil)
	require.NoError(t, err)
	c.edge.rooms.ByName("desk").ServeHTTP(w, r)
	assert.Equal(t, http.StatusServiceUnavailable, w.status)
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
	_, err = edgews.Call[string, int](ctx, c.edge.rooms.ByName("desk"), "length", "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

type recorder struct {
	header http.Header
	status int
}

func newRecorder() *recorder                    { return &recorder{header: make(http.Header)} }
func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return len(p), nil }

// TestCalls: calls of objects on other nodes.
func TestCalls(t *testing.T) {
	c := startClerks(t)
	desk := c.edge.rooms.ByName("desk")
	for _, size := range []int{0, 1000, 1_000_000} {
		n, err := edgews.Call[string, int](t.Context(), desk, "length", strings.Repeat("x", size))
		require.NoError(t, err)
		assert.Equal(t, size+2, n)
	}
	_, err := edgews.Call[string, int](t.Context(), desk, "length", strings.Repeat("x", 40<<20))
	require.ErrorContains(t, err, "too large")
	_, err = edgews.Call[string, string](t.Context(), desk, "large", "")
	require.ErrorContains(t, err, "too large")
	_, err = edgews.Call[string, int](t.Context(), desk, "overloaded", "")
	require.ErrorIs(t, err, edgews.ErrOverloaded)
	_, err = edgews.Call[string, int](t.Context(), desk, "none", "")
	require.ErrorIs(t, err, edgews.ErrUnknownMethod)
	_, err = edgews.Call[string, int](t.Context(), desk, "nothome", "")
	require.ErrorContains(t, err, "clerk: 1 ", "a call that has run is not made again")

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-c.ended
		cancel()
	}()
	_, err = edgews.Call[string, int](ctx, desk, "wait", "")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, <-c.ended, context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = edgews.Call[string, int](ctx, desk, "wait", "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, <-c.ended)
	require.Error(t, <-c.ended)
	for i := range 20 { // objects call objects, wherever these live
		name := fmt.Sprint("other", i)
		n, err := edgews.Call[string, int](t.Context(), desk, "other", name)
		require.NoError(t, err)
		assert.Equal(t, len(name)+2, n)
	}
	c.wantNoChannels(t)
}

// slowCalls is an object whose calls do not return before their callers are gone.
type slowCalls struct {
	http.Handler
	begun chan struct{}
}

func (o *slowCalls) Call(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	o.begun <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCallWhoseSessionIsLost: the home has begun to answer a call when it takes the node that has made it for dead. The call is not made again.
func TestCallWhoseSessionIsLost(t *testing.T) {
	o := &slowCalls{http.NotFoundHandler(), make(chan struct{}, 2)}
	sites := startSitesOf(t, func(context.Context, *edgews.State) (edgews.Object, error) { return o, nil }, nil, "a", "b")
	home, others := settledHomeOf(t, sites, "lobby")
	failed := make(chan error, 1)
	go func() {
		_, err := edgews.Call[string, any](t.Context(), others[0].rooms.ByName("lobby"), "wait", "")
		failed <- err
	}()
	<-o.begun
	home.Unlink(others[0].Self())
	select {
	case err := <-failed:
		assert.ErrorContains(t, err, "the home of the object was lost before it answered")
	case <-o.begun:
		assert.Fail(t, "the call is made a second time")
	}
}
