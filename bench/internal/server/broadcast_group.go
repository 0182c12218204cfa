package server

import "sync"

// broadcastGroup has the connections that receive a broadcast. None is removed, since the process ends with its cell.
type broadcastGroup[C any] struct {
	mu      sync.Mutex
	members []C
}

func (h *broadcastGroup[C]) add(c C) {
	h.mu.Lock()
	h.members = append(h.members, c)
	h.mu.Unlock()
}

// send calls the function for all connections. Broadcasts do not overlap.
func (h *broadcastGroup[C]) send(send func(C)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.members {
		send(c)
	}
}
