package cluster

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// memberView is what Members and Owner read. It is not changed any more.
type memberView struct {
	byID   map[string]Member
	sorted []Member
}

// publishLocked shows the members to those who read without the mutex.
func (n *Node) publishLocked() {
	byID := make(map[string]Member, len(n.peers))
	for id, p := range n.peers {
		byID[id] = p.member
	}
	sorted := slices.SortedFunc(maps.Values(byID), func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	n.view.Store(&memberView{byID, sorted})
}

// broadcast wakes all who wait for the next of some events.
type broadcast struct {
	mu sync.Mutex
	c  chan struct{} // nil: none waits
}

func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
