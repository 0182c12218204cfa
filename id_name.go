package edgews

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"weak"
)

// An ID made from a name and the ID parsed from its string must be equal, and only the first comes with a name. So what the process knows
// of an ID is kept once for all IDs with the same bytes, as long as there are any, and an ID is the pointer to it.

// idBytes is what an ID consists of: its own part and the checksum.
type idBytes [32]byte

// idEntry is what the process knows of an ID.
type idEntry struct {
	b    idBytes                // immutable
	name atomic.Pointer[string] // nil: not known; noName: there is none
}

// noName is the name of unique IDs.
var noName = new(string)

// idTable finds the entries of all IDs that the process has at present.
type idTable struct {
	mu      sync.Mutex // a leaf
	entries map[idBytes]weak.Pointer[idEntry]
}

var knownIDs idTable

// get returns the ID with those bytes.
func (t *idTable) get(b idBytes) ID {
	if b == (idBytes{}) {
		return ID{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[b].Value(); e != nil {
		return ID{e}
	}
	e := &idEntry{b: b}
	if t.entries == nil {
		t.entries = make(map[idBytes]weak.Pointer[idEntry])
	}
	t.entries[b] = weak.Make(e)
	runtime.AddCleanup(e, t.collected, b)
	return ID{e}
}

// collected is called when no ID with those bytes has been left.
func (t *idTable) collected(b idBytes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries[b].Value() == nil { // otherwise there is a new one
		delete(t.entries, b)
	}
}

// bytes returns what the ID consists of.
func (id ID) bytes() (b idBytes) {
	if id.entry != nil {
		b = id.entry.b
	}
	return b
}

// Name returns the name that the ID was made from with IDFromName; "" if there is none, as for unique IDs, or if it is not known.
//
// The name is known of every ID of the object, however the ID was come by, while the program has one that IDFromName has returned. An object
// also stores its name: with the first commit that stores a value, and with each alarm. So inside the object the name is known too when an
// alarm or a parsed ID wakes it in another process. DeleteAll removes the stored name, and the next commit stores it again. Names of more
// than 1 024 bytes are not stored.
func (id ID) Name() string {
	if id.entry == nil {
		return ""
	}
	if name := id.entry.name.Load(); name != nil {
		return *name
	}
	return ""
}

// learnName notes the name of the ID.
func (id ID) learnName(name string) {
	if name == "" || id.Name() != "" {
		return
	}
	name = strings.Clone(name) // it may be a part of a long string
	id.entry.name.Store(&name)
}

// maybeNamed reports whether the ID may have a name that is not known.
func (id ID) maybeNamed() bool { return id.entry.name.Load() == nil }

const (
	// nameKey is the key of the object's storage under which its name is. While nothing but an alarm is stored, the name is in the alarm's
	// entry only, so that nothing is left of an object whose alarm has gone off.
	nameKey = "\x00name"

	// maxStoredName is the longest name that is stored, in bytes: as long as names are in Durable Objects.
	maxStoredName = 1 << 10
)

// nameToStore returns the name; "" if it is not to be stored.
func (id ID) nameToStore() string {
	if name := id.Name(); len(name) <= maxStoredName {
		return name
	}
	return ""
}

// findName has the object's name read from its storage if it is not known. The value is about to be constructed, so it is the first to ask.
func (o *object) findName(ctx context.Context) {
	if o.nameSought.Load() || !o.id.maybeNamed() {
		return
	}
	ctx = commitContext{o.ns.eventsContext, ctx} // the value may keep the name for longer than this event lasts
	lease, err := o.acquireStorage(ctx, nil)
	if err != nil {
		return
	}
	defer lease.release()
	if _, err := lease.openForReading(ctx); err != nil && ctx.Err() == nil {
		o.ns.logger().Warn("edgews: object's name cannot be read", "namespace", o.ns.name, "object", o.id.String(), "error", err)
	}
}

// readNameLocked reads the object's name from the storage that has just been opened. The write lock must be held.
func (l *storageLease) readNameLocked(ctx context.Context, store ObjectStore) error {
	o := l.o
	if o.id.entry.name.Load() == noName {
		return nil
	}
	name, err := store.Get(ctx, nameKey)
	l.nameStored = err == nil
	if errors.Is(err, ErrKeyNotFound) {
		var a alarmEntry
		a, err = readAlarm(ctx, store)
		name = []byte(a.name)
	}
	if err != nil {
		return fmt.Errorf("edgews: object's name cannot be read: %w", err)
	}
	o.id.learnName(string(name))
	o.nameSought.Store(true)
	return nil
}

// withNameLocked returns b with the object's name, if b stores a value and the name is not stored. The write lock must be held.
func (l *storageLease) withNameLocked(b Batch) Batch {
	if l.nameStored && !b.DeleteAll || !b.storesValue() {
		return b
	}
	if name := l.o.id.nameToStore(); name != "" {
		b.Puts = append(b.Puts[:len(b.Puts):len(b.Puts)], Entry{nameKey, []byte(name)})
	}
	return b
}

// storesValue reports whether b stores a value of the program.
func (b Batch) storesValue() bool {
	for _, e := range b.Puts {
		if !isReserved(e.Key) {
			return true
		}
	}
	return false
}

// nameCommittedLocked is called when b has been committed. The write lock must be held.
func (l *storageLease) nameCommittedLocked(b Batch) {
	if n := len(b.Puts); n > 0 && b.Puts[n-1].Key == nameKey { // withNameLocked puts it last
		l.nameStored = true
	} else if b.DeleteAll {
		l.nameStored = false
	}
}
