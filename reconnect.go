package edgews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ReconnectOptions configures Reconnect. A nil pointer means the zero value, which is recommended and safe.
type ReconnectOptions struct {
	DialOptions

	// MinDelay is the longest wait before the second attempt; default 1 s. The bound doubles with each further attempt, up to
	// MaxDelay; default 1 min. Each wait is a random part of its bound ("full jitter"), so that the clients of a server that restarts do
	// not all return at the same moment.
	MinDelay, MaxDelay time.Duration

	// OnWait, if it is not nil, is called before each wait: err says how the last socket ended or why the last attempt failed, and d is the
	// time until the next attempt. It is called by the goroutine that runs the loop.
	OnWait func(err error, d time.Duration)

	// Cursor, if it is not nil, says from where the server has to continue: for example the Seq of the last FeedFrame that had one. It is
	// called before each attempt, by the goroutine that runs the loop. What it returns becomes the parameter CursorParam in the query of
	// the URL, instead of one that is there; with "" the URL stays as it is.
	Cursor func() string

	// CursorParam is the name of the parameter; default "cursor", as in client/js.
	CursorParam string
}

const (
	defaultMinDelay = time.Second
	defaultMaxDelay = time.Minute

	defaultCursorParam = "cursor"

	// stableAfter is how long a socket must have been connected for the waits to begin with MinDelay again.
	stableAfter = time.Minute
	// A server that restarts (1012), or asks to try again later (1013), is left alone for restartMinDelay to restartMaxDelay, as the
	// registry of close codes recommends for 1012.
	restartMinDelay = 5 * time.Second
	restartMaxDelay = 30 * time.Second
	// maxRetryAfter is the longest wait that a server may ask for in Retry-After.
	maxRetryAfter = time.Hour
)

// Reconnect returns an iterator over live sockets: it dials url as [Dial] does, yields the socket, and when that has ended, waits and dials
// again. An attempt takes 30 s at most.
//
//	for s, err := range edgews.Reconnect(ctx, url, nil) {
//		if err != nil {
//			return err // no further attempt is made
//		}
//		for msg, err := range s.Messages(ctx) {
//			if err != nil {
//				break // Reconnect knows it too
//			}
//			fmt.Println(msg.Text())
//		}
//	}
//
// The socket is not accepted yet, as with Dial. If the body of the loop returns while the socket is open, because it has only added
// listeners and called Accept, Reconnect waits for the end of the socket; a socket that has not been accepted by then is closed. A
// break ends the loop at once, and leaves the socket as it is.
//
// The last iteration has an error and no socket. It comes when another attempt would be of no use: when the arguments are wrong, when the
// server has answered with a status from 400 to 499 (other than 408, 425 and 429) or closed a socket with 1008, and when ctx has ended,
// which also closes a socket that Reconnect waits for, with 1001. Any other end, 1000 included, leads to another attempt.
//
// If the server has sent Retry-After with its refusal, that is added to the wait, an hour at most. After 1012 and 1013 the wait is 5 s to
// 30 s, or MaxDelay if that is less. The waits begin with MinDelay again when a socket was connected for a minute.
func Reconnect(ctx context.Context, url string, opts *ReconnectOptions) iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) {
		r, err := newReconnector(url, opts)
		for err == nil {
			var s *Socket
			if s, err = r.connect(ctx); err != nil {
				break
			}
			connected := time.Now()
			if !yield(s, nil) {
				return
			}
			err = r.end(ctx, s, connected)
		}
		yield(nil, err)
	}
}

// reconnector is the state of one loop over Reconnect.
type reconnector struct {
	url      string
	opts     ReconnectOptions
	attempts int // since a socket was connected for stableAfter
}

func newReconnector(url string, opts *ReconnectOptions) (*reconnector, error) {
	r := &reconnector{url: url}
	if opts != nil {
		r.opts = *opts
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"MinDelay", r.opts.MinDelay}, {"MaxDelay", r.opts.MaxDelay}} {
		if d.value < 0 {
			return nil, fmt.Errorf("edgews: ReconnectOptions.%s: %v: it cannot be negative", d.name, d.value)
		}
	}
	setDefault(&r.opts.MinDelay, defaultMinDelay)
	setDefault(&r.opts.MaxDelay, defaultMaxDelay)
	setDefault(&r.opts.CursorParam, defaultCursorParam)
	_, err := newClientHandshake(url, &r.opts.DialOptions)
	return r, err
}

// connect dials until it succeeds. An error says why there is no use in another attempt.
func (r *reconnector) connect(ctx context.Context) (*Socket, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		attempt, cancel := context.WithTimeout(ctx, connectTimeout)
		s, resp, err := Dial(attempt, r.urlWithCursor(), &r.opts.DialOptions)
		cancel()
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case resp != nil && refusesForGood(resp.StatusCode):
			return nil, err
		}
		if err := r.wait(ctx, err, retryAfter(resp, time.Now())+r.backoff()); err != nil {
			return nil, err
		}
	}
}

// urlWithCursor returns the URL of the next attempt.
func (r *reconnector) urlWithCursor() string {
	if r.opts.Cursor == nil {
		return r.url
	}
	cursor := r.opts.Cursor()
	u, err := url.Parse(r.url)
	if cursor == "" || err != nil { // Dial says what is wrong
		return r.url
	}
	query := u.Query()
	query.Set(r.opts.CursorParam, cursor)
	u.RawQuery = query.Encode()
	return u.String()
}

// refusesForGood reports whether a server that has answered with status will do so again.
func refusesForGood(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status <= 499
}

// end waits for the end of s, and then for the next attempt. connected is when s was connected. An error says why there is no use in
// another attempt.
func (r *reconnector) end(ctx context.Context, s *Socket, connected time.Time) error {
	s.closeUnaccepted()
	select {
	case <-s.Done():
	case <-ctx.Done():
		_ = s.Close(StatusGoingAway, "")
		<-s.Done()
		return ctx.Err()
	}
	if time.Since(connected) >= stableAfter {
		r.attempts = 0
	}
	err := s.failure()
	d := r.backoff()
	if end, ok := errors.AsType[*CloseError](err); ok && end.WasClean {
		switch end.Code {
		case StatusPolicyViolation:
			return err
		case StatusServiceRestart, StatusTryAgainLater:
			d = min(restartMinDelay+rand.N(restartMaxDelay-restartMinDelay), r.opts.MaxDelay)
		}
	}
	return r.wait(ctx, err, d)
}

// closeUnaccepted closes a socket that has not been accepted.
func (s *Socket) closeUnaccepted() {
	s.mu.Lock()
	unaccepted := s.phase == phaseUnaccepted
	s.acceptLocked(0)
	s.mu.Unlock()
	if unaccepted {
		_ = s.Close(StatusGoingAway, "")
	}
}

// failure returns the error of the receive methods. The socket must have ended.
func (s *Socket) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result.failure()
}

// backoff returns the time until the next attempt.
func (r *reconnector) backoff() time.Duration {
	bound := r.opts.MinDelay
	for range r.attempts {
		if bound *= 2; bound >= r.opts.MaxDelay {
			break
		}
	}
	r.attempts++
	return rand.N(min(bound, r.opts.MaxDelay) + 1)
}

// retryAfter returns the time for which the server of resp, which may be nil, asks to be left alone (RFC 9110 §10.2.3).
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}

// wait waits for d after err, unless ctx ends first: then it returns the error of ctx.
func (r *reconnector) wait(ctx context.Context, err error, d time.Duration) error {
	if r.opts.OnWait != nil {
		r.opts.OnWait(err, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
