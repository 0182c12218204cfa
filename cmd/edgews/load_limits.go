package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// reservedFiles is how many open files are kept for other things than sockets: stdin, stdout, stderr, the event loop, the resolver, attempts that
// try an IPv4 and an IPv6 address at a time.
const reservedFiles = 64

// When edgews itself counts as the limit.
const (
	busyShare  = 0.8                   // of all processors that Go may use
	lateAtMost = 10 * time.Millisecond // the 99th percentile of how late messages and pings were sent
	queuedLong = 64 << 10              // bytes that waited in one socket's queue
)

// limits finds out what of this process and its machine limits the load.
type limits struct {
	files   int // how many files may be open; 0: not known
	wanted  int // sockets that were asked for
	sockets int // sockets that can be open, as far as files go

	start, openedAt, measuredAt moment

	mu              sync.Mutex
	outOfFiles      int // attempts that failed because too many files are open, here or in the system
	outOfPorts      int // attempts that found no free local port
	waitedForServer int // attempts that had to wait for others to be answered
}

// moment is a time, and the processor time that this process has used until then.
type moment struct {
	at time.Time
	in time.Duration
}

func momentOf(at time.Time) moment { return moment{at, processorTime()} }

// begin notes the beginning.
func (l *limits) begin(wanted int) {
	l.start = momentOf(time.Now())
	l.wanted, l.sockets = wanted, wanted
	if l.files = openFiles(); l.files > 0 {
		l.sockets = min(wanted, max(l.files-reservedFiles, 1))
	}
}

func (l *limits) opened(at time.Time)   { l.openedAt = momentOf(at) }
func (l *limits) measured(at time.Time) { l.measuredAt = momentOf(at) }

// filesText says that files limit the number of sockets; "" if they do not.
func (l *limits) filesText() string {
	if l.sockets >= l.wanted {
		return ""
	}
	return fmt.Sprintf("%d sockets are opened, not %d: a process may have %d open files here (raise it with ulimit -n, or in /etc/security/limits.conf)",
		l.sockets, l.wanted, l.files)
}

// failed looks whether an attempt has failed for a reason of this machine.
func (l *limits) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		l.outOfFiles++
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		l.outOfPorts++
	}
}

// waitForServer notes that an attempt had to wait, because -dialing others had no answer yet.
func (l *limits) waitForServer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waitedForServer++
}

// share returns how much of the processors this process has used between two moments, from 0 to 1; 0 if the system does not tell.
func share(from, to moment) float64 {
	wall := to.at.Sub(from.at)
	if wall <= 0 {
		return 0
	}
	return float64(to.in-from.in) / float64(wall) / float64(runtime.GOMAXPROCS(0))
}

// texts returns what has limited edgews, one sentence each.
func (l *limits) texts(c loadCount, late *histogram) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	l.mu.Lock()
	defer l.mu.Unlock()
	if text := l.filesText(); text != "" {
		add("%s", text)
	}
	if l.outOfFiles > 0 {
		add("open files: %d sockets could not be opened because too many files are open in this process or system", l.outOfFiles)
	}
	if l.outOfPorts > 0 {
		add("local ports: %d sockets could not be opened because no port is free for this address: widen net.ipv4.ip_local_port_range, or use several machines", l.outOfPorts)
	}
	if l.waitedForServer > 0 {
		add("handshakes: %d began late, because the server had not answered those before (-dialing)", l.waitedForServer)
	}
	for _, part := range []struct {
		name     string
		from, to moment
	}{{"opening", l.start, l.openedAt}, {"measuring", l.openedAt, l.measuredAt}} {
		if used := share(part.from, part.to); used > busyShare {
			add("own processor time: edgews used %.0f %% of %d processors while %s: times may be its own, and not the server's", used*100, runtime.GOMAXPROCS(0), part.name)
		}
	}
	if p99 := late.quantile(0.99); p99 > lateAtMost {
		add("own schedule: 1 %% of messages and pings were sent %s late or later, which counts in their times", brief(p99))
	}
	if c.unsent > 0 {
		add("own send queue: %d messages were not sent, because more than 1 MiB waited for their socket", c.unsent)
	} else if c.queued > queuedLong {
		add("own send queue: up to %d bytes waited in the queue of one socket: the server takes less than is sent", c.queued)
	}
	return all
}
