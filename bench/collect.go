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

// collectFor is the least time for which requests are made: fewer than fifty say nothing of the slowest.
const collectFor = time.Second

// collect has a server collect its garbage again and again while it answers messages. Each collection is asked for with an
// HTTP request in the same process, and needs all of its threads to stop for a moment: a server whose loop sleeps where the
// runtime does not look holds up both.
func (b *bench) collect(e *load.Engine, c Cell, p *child) (sample, error) {
	addr, err := p.order("http")
	if err != nil {
		return nil, err
	}
	asker := &asker{url: "http://" + addr, stop: make(chan struct{}), done: make(chan error, 1)}
	if err := asker.ask(); err != nil { // the connection is there from now on
		return nil, err
	}
	asker.took = nil
	go asker.run()
	r, err := e.Rate(c.Rate, max(b.length, collectFor))
	if failed := asker.end(); failed != nil || err != nil {
		return nil, cmp.Or(err, failed)
	}
	slices.Sort(asker.took)
	return sample{
		requestP50: millis(asker.took[len(asker.took)/2]),
		requestMax: millis(asker.took[len(asker.took)-1]),
		p50:        micros(r.Latency.Quantile(0.50)),
		p99:        micros(r.Latency.Quantile(0.99)),
	}, nil
}

// asker makes one request after the other. Its fields belong to its goroutine until that has ended.
type asker struct {
	url  string
	took []time.Duration
	stop chan struct{}
	done chan error
}

func (a *asker) run() {
	const pause = 20 * time.Millisecond
	for {
		select {
		case <-a.stop:
			a.done <- nil
			return
		case <-time.After(pause):
		}
		if err := a.ask(); err != nil {
			<-a.stop
			a.done <- err
			return
		}
	}
}

func (a *asker) ask() error {
	begin := time.Now()
	client := http.Client{Timeout: startTime}
	r, err := client.Get(a.url)
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
	a.took = append(a.took, time.Since(begin))
	return nil
}

// end stops the requests and returns why one failed.
func (a *asker) end() error {
	a.stop <- struct{}{}
	return <-a.done
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
