//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
)

// collectFor is the shortest time for which requests are made: the slowest of fewer than fifty would mean little.
const collectFor = time.Second

// collect makes a server collect garbage repeatedly while it answers messages. Each collection is triggered by an HTTP request to
// the same process, and stops all of its threads for a moment. A server whose loop sleeps in a system call that the scheduler
// does not know about delays the request and the collection.
func (b *bench) collect(e *load.Engine, c Cell, p *child) (sample, error) {
	addr, err := p.control("http")
	if err != nil {
		return nil, err
	}
	requests := &requester{url: "http://" + addr, stop: make(chan struct{}), done: make(chan error, 1)}
	if err := requests.ask(); err != nil { // opens the connection
		return nil, err
	}
	requests.took = nil
	go requests.run()
	r, err := e.Rate(c.Rate, max(b.length, collectFor))
	if failed := requests.end(); failed != nil || err != nil {
		return nil, cmp.Or(err, failed)
	}
	slices.Sort(requests.took)
	return sample{
		requestP50: millis(requests.took[len(requests.took)/2]),
		requestMax: millis(requests.took[len(requests.took)-1]),
		p50:        micros(r.Latency.Quantile(0.50)),
		p99:        micros(r.Latency.Quantile(0.99)),
	}, nil
}

// requester makes one request after the other. Only its goroutine uses its fields until end has returned.
type requester struct {
	url  string
	took []time.Duration
	stop chan struct{}
	done chan error
}

func (q *requester) run() {
	const pause = 20 * time.Millisecond
	for {
		select {
		case <-q.stop:
			q.done <- nil
			return
		case <-time.After(pause):
		}
		if err := q.ask(); err != nil {
			<-q.stop
			q.done <- err
			return
		}
	}
}

func (q *requester) ask() error {
	begin := time.Now()
	client := http.Client{Timeout: startTime}
	r, err := client.Get(q.url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("request for a garbage collection: %s", r.Status)
	}
	q.took = append(q.took, time.Since(begin))
	return nil
}

// end stops the requests and returns why one failed.
func (q *requester) end() error {
	q.stop <- struct{}{}
	return <-q.done
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
