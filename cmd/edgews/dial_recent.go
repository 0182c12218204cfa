package main

import (
	"regexp"
	"sync"

	"github.com/edgews/edgews"
)

// Of the messages that no /expect has looked at, these many and their bytes are kept: a script that does not use /expect needs bounded memory.
const (
	maxRecent      = 1024
	maxRecentBytes = 16 << 20
)

// recent has the latest messages that no /expect has looked at.
type recent struct {
	mu       sync.Mutex
	messages [][]byte
	bytes    int
	arrived  chan struct{} // closed by the next message; nil: take has not asked
}

// add appends a copy of m, and drops the oldest messages beyond the limits.
func (r *recent) add(m edgews.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m.Clone().Data)
	r.bytes += len(m.Data)
	for len(r.messages) > 1 && (len(r.messages) > maxRecent || r.bytes > maxRecentBytes) {
		r.dropLocked()
	}
	if r.arrived != nil {
		close(r.arrived)
		r.arrived = nil
	}
}

// take removes messages, the oldest first, through one that matches. If none does, arrived is closed by the next message.
func (r *recent) take(re *regexp.Regexp) (found bool, arrived <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.messages) > 0 && !found {
		found = re.Match(r.messages[0])
		r.dropLocked()
	}
	if r.arrived == nil {
		r.arrived = make(chan struct{})
	}
	return found, r.arrived
}

// dropLocked removes the oldest message.
func (r *recent) dropLocked() {
	r.bytes -= len(r.messages[0])
	r.messages[0] = nil
	r.messages = r.messages[1:]
}
