//go:build !edgews_noloop && !edgews_nouring && (amd64 || arm64)

package park

// HasRing says whether the kernel allows a ring.
func HasRing() bool { return theRing() != nil }

// BreakRing makes every io_uring_enter fail until restore is called.
func BreakRing() (restore func()) {
	r := theRing()
	r.mu.Lock()
	defer r.mu.Unlock()
	fd := r.fd
	r.fd = -1
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fd, r.failed = fd, false
	}
}

// HoldRing uses the ring until release is called.
func HoldRing() (release func()) {
	r := theRing()
	r.mu.Lock()
	return r.mu.Unlock
}
