package server

import "sync"

// hub is everybody who gets a broadcast. Nobody leaves: the process ends with its cell.
type hub[C any] struct {
	mu      sync.Mutex
	members []C
}

func (h *hub[C]) join(c C) {
	h.mu.Lock()
	h.members = append(h.members, c)
	h.mu.Unlock()
}

// each calls send for everybody, one broadcast after the other.
func (h *hub[C]) each(send func(C)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.members {
		send(c)
	}
}
