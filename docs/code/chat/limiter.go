package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// limiter admits one message of an address in 5 seconds, and a burst of five: the class RateLimiter.
type limiter struct {
	http.Handler
	next time.Time // when the next message would be due
}

func newLimiter(context.Context, *edgews.State) (edgews.Object, error) {
	return &limiter{Handler: http.NotFoundHandler()}, nil
}

func (l *limiter) Call(_ context.Context, method string, _ json.RawMessage) (any, error) {
	if method != "act" {
		return nil, edgews.ErrUnknownMethod
	}
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	if l.next.Sub(now) > 20*time.Second {
		return false, nil
	}
	l.next = l.next.Add(5 * time.Second)
	return true, nil
}
