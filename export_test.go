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

	ObjectSocketSize = unsafe.Sizeof(objectSocket{})
)

// IsNewDay says whether a quota begins anew.
func IsNewDay(was, day time.Time) bool { return isNewDay(was, day) }

// PanicUnderMutex is a fault of this package.
func PanicUnderMutex(s *Socket) {
	s.mu.Lock()
	panic("a fault under the mutex")
}

// ForgetNames has the process know as few names of IDs as a new one.
func ForgetNames() {
	knownIDs.mu.Lock()
	defer knownIDs.mu.Unlock()
	for _, e := range knownIDs.entries {
		if e := e.Value(); e != nil {
			e.name.Store(nil)
		}
	}
}

// KnownIDs returns how many IDs the process has.
func KnownIDs() int {
	knownIDs.mu.Lock()
	defer knownIDs.mu.Unlock()
	return len(knownIDs.entries)
}

// StoredObjects returns of how many objects NewMemoryStore's Store keeps something.
func StoredObjects(s Store) int {
	m := s.(*memoryStore)
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.objects)
}

// Lose cuts the connection of s, or the pair.
func Lose(s *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseLocked(nil)
}
