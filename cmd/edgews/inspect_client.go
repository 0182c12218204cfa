package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// inspectPath is where the handler of package inspect is mounted as a rule.
const inspectPath = "/debug/edgews/"

// inspectURL returns the URL of the inspector's WebSocket for that of its page.
func inspectURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	switch {
	case u.Path == "" || u.Path == "/":
		u.Path = inspectPath
	case strings.HasSuffix(u.Path, "/socket"):
		return u.String(), nil
	case !strings.HasSuffix(u.Path, "/"):
		u.Path += "/"
	}
	u.Path, u.RawPath, u.Fragment = u.Path+"socket", "", ""
	return u.String(), nil
}

// inspectClient makes calls to an inspector.
type inspectClient struct {
	socket  *edgews.Socket
	mux     edgews.Mux
	timeout time.Duration
	hello   inspect.Hello
	rows    int // how many the server gives in one reply
}

// dialInspector connects to the inspector at url and checks that it is one.
func dialInspector(ctx context.Context, url string, flags *serverFlags) (*inspectClient, error) {
	opts, err := flags.options()
	if err != nil {
		return nil, err
	}
	s, resp, err := edgews.Dial(ctx, url, opts)
	switch {
	case isArgumentError(err):
		return nil, &usageError{err: err}
	case err != nil:
		return nil, refusal(err, resp)
	}
	c := &inspectClient{socket: s, timeout: flags.timeout}
	s.OnMessage(func(e edgews.MessageEvent) { _ = c.mux.Dispatch(ctx, s, e.Message) }) // what is no reply is none of ours
	if err := s.Accept(); err != nil {
		return nil, err
	}
	hello, err := ask[inspect.Hello](ctx, c, inspect.CallHello, nil)
	if err == nil && hello.Version < 1 {
		err = errors.New("the server is no inspector: it does not tell the version of its protocol")
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.hello, c.rows = hello, max(hello.MaxRows, 1)
	return c, nil
}

// ask makes a call. params must encode to a JSON object, or be nil.
func ask[Reply any](ctx context.Context, c *inspectClient, call string, params any) (Reply, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	reply, err := edgews.Request[any, Reply](limited, &c.mux, c.socket, call, params)
	if limited.Err() != nil && ctx.Err() == nil {
		return reply, fmt.Errorf("no answer to %s within %s (-timeout): %w", call, c.timeout, err)
	}
	return reply, err
}

// close closes the socket and waits for its end, which Options.CloseTimeout bounds.
func (c *inspectClient) close() {
	_ = c.socket.Close(edgews.StatusNormalClosure, "") // ErrClosed: it has ended already
	<-c.socket.Done()
}

// gather asks for pages until there are limit rows, or all of them if limit is 0. page returns the rows from offset on, n of them at most; fewer
// are the last.
func gather[Row any](c *inspectClient, limit int, page func(offset, n int) ([]Row, error)) (all []Row, err error) {
	all = []Row{}
	for limit == 0 || len(all) < limit {
		n := c.rows
		if limit > 0 {
			n = min(n, limit-len(all))
		}
		rows, err := page(len(all), n)
		if err != nil {
			return nil, err
		}
		if all = append(all, rows...); len(rows) < n {
			break
		}
	}
	return all, nil
}
