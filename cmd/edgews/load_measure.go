package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// pingTimeout is how long a ping may take before it counts as not answered.
const pingTimeout = 10 * time.Second

// echoGrace is how long load waits at the end for echoes that are missing.
const echoGrace = 5 * time.Second

// measure sends messages and pings for the time of -duration, and waits for the answers.
func (l *load) measure(ctx context.Context) {
	l.mu.Lock()
	talking := slices.DeleteFunc(slices.Clone(l.open), func(s *loadSocket) bool { return s.stalled })
	l.mu.Unlock()
	until, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	var running, waiting sync.WaitGroup
	if n := float64(len(talking)); n > 0 {
		if l.send > 0 {
			running.Go(func() {
				l.evenly(until, n*l.send, func(k int, due time.Time) { talking[k%len(talking)].sendMessage(due) })
			})
		}
		if l.ping > 0 {
			running.Go(func() {
				l.evenly(until, n/l.ping.Seconds(), func(k int, due time.Time) {
					waiting.Go(func() { talking[k%len(talking)].sendPing(ctx, due) })
				})
			})
		}
	}
	<-until.Done()
	running.Wait()
	l.awaitEchoes(ctx)
	waiting.Wait()
}

// grain is the grid on which messages and pings are sent: a timer for each would limit their rate.
const grain = time.Millisecond

// evenly calls do for the moments that lie evenly 1/rate seconds apart, each moved to the next point of the grid, until ctx ends; k counts from 0.
// When it is late it catches up, and records how late it was. A ctx that ends later than its deadline, on a busy machine, adds no moments.
func (l *load) evenly(ctx context.Context, rate float64, do func(k int, due time.Time)) {
	begin := time.Now()
	end, bounded := ctx.Deadline()
	for k := 0; ; k++ {
		after := time.Duration(float64(k) / rate * float64(time.Second))
		due := begin.Add((after + grain - 1).Truncate(grain))
		if bounded && due.After(end) || !sleepUntil(ctx, due) {
			return
		}
		l.late.record(time.Since(due))
		do(k, due)
	}
}

// sendMessage sends the socket's next message.
func (s *loadSocket) sendMessage(due time.Time) {
	l := s.load
	s.mu.Lock()
	s.sent++
	n := s.sent
	text := l.message(s.number, n)
	if l.echo {
		s.pending = append(s.pending, pending{n, due}) // before it is sent: the echo may be there at once
	}
	s.mu.Unlock()
	err := s.socket.Send(text)
	queued := s.socket.BufferedAmount()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.queued = max(l.count.queued, queued)
	switch {
	case err == nil:
		l.count.sent++
		l.count.sentBytes += int64(len(text))
		return
	case errors.Is(err, edgews.ErrBufferFull):
		l.count.unsent++
	}
	s.forget(n)
}

// forget removes a message that was not sent from those that are expected.
func (s *loadSocket) forget(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = slices.DeleteFunc(s.pending, func(p pending) bool { return p.n == n })
}

// message returns the text of message n of a socket.
func (l *load) message(number, n int) string {
	if l.text != "" {
		return strings.NewReplacer("{socket}", strconv.Itoa(number), "{n}", strconv.Itoa(n)).Replace(l.text)
	}
	text := "edgews load, socket " + strconv.Itoa(number) + ", message " + strconv.Itoa(n) + " "
	if len(text) >= l.size {
		return text[:l.size]
	}
	return text + strings.Repeat(".", l.size-len(text))
}

// received is the listener for messages.
func (s *loadSocket) received(e edgews.MessageEvent) {
	now := time.Now()
	l := s.load
	right, expected := false, pending{}
	if l.echo {
		s.mu.Lock()
		if len(s.pending) > 0 {
			expected, s.pending = s.pending[0], s.pending[1:]
			right = string(e.Data) == l.message(s.number, expected.n)
		}
		s.mu.Unlock()
	}
	if right {
		l.echoes.record(now.Sub(expected.due))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.received++
	l.count.receivedBytes += int64(len(e.Data))
	switch {
	case right:
		l.count.echoed++
	case l.echo:
		l.count.wrongEcho++
	}
}

// sendPing sends a ping and waits for its answer.
func (s *loadSocket) sendPing(ctx context.Context, due time.Time) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := s.socket.Ping(ctx)
	if err == nil {
		s.load.pings.record(time.Since(due))
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.load.mu.Lock()
		s.load.count.badPing++
		s.load.mu.Unlock()
	}
}

// awaitEchoes waits until all messages have been sent back, or nothing has come for echoGrace.
func (l *load) awaitEchoes(ctx context.Context) {
	if !l.echo {
		return
	}
	const look = 10 * time.Millisecond // how often to look: no event tells of the last echo
	last := l.snapshot()
	quiet := time.Now()
	for last.echoed+last.wrongEcho < last.sent && time.Since(quiet) < echoGrace {
		if !sleepUntil(ctx, time.Now().Add(look)) {
			return
		}
		now := l.snapshot()
		if now.received != last.received {
			quiet = time.Now()
		}
		last = now
	}
}
