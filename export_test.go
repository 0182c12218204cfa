package edgews

import (
	"time"
	"unsafe"
)

// SetWallClock gives the alarms of a namespace another clock.
func SetWallClock(n *Namespace, wall func() time.Time) {
	n.alarms.mu.Lock()
	defer n.alarms.mu.Unlock()
	n.alarms.now = wall
}

// The sizes that the tests of memory pin, in bytes.
const (
	SocketSize = unsafe.Sizeof(Socket{})
	WireSize   = unsafe.Sizeof(wire{})
)

// IsNewDay says whether a quota begins anew.
func IsNewDay(was, day time.Time) bool { return isNewDay(was, day) }

// PanicUnderMutex is a fault of this package.
func PanicUnderMutex(s *Socket) {
	s.mu.Lock()
	panic("a fault under the mutex")
}

// Lose cuts the connection of s, or the pair.
func Lose(s *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseLocked(nil)
}
