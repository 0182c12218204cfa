package edgews

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
)

// ledger keeps what a meter and its tenants have used since it was begun, over any number of runs of the program. An entry is
// a sum, not a difference, so writing it twice changes nothing. Each commit has a number, which tells whether one of
// which nobody heard has happened.
type ledger struct {
	accounting *accounting
	sem        chan struct{} // holds a token while somebody reads or writes: one at a time
	run        uint64        // tells this meter from others

	loaded atomic.Bool // what others have written is known: read, for those who do not have the turn

	// Guarded by turn.
	checkpoint   ledgerCheckpoint // of the last commit that is known
	read         bool             // what others have written is known
	attempted    []pendingEntry   // what a commit has tried to write, of which nobody knows whether it has happened
	attemptedSeq uint64           // the number of that commit
}

// ledgerNamespace is where ledgers are, among the objects of a Store.
const ledgerNamespace = "edgews.meter"

const (
	ledgerCheckpointKey = "head"   // the key of a ledgerSeal
	ledgerEntryPrefix   = "entry/" // the beginning of the keys of ledgerEntry
)

// ledgerEntry is what one meter has used, without its tenants.
type ledgerEntry struct {
	Tenant []ledgerTenant `json:"tenant,omitempty"`
	Usage  Usage          `json:"usage"`
	Day    *dayStart      `json:"day,omitempty"` // if it has a quota
}

// ledgerName is the name of a tenant. JSON would put the same character for all bytes that are not UTF-8, and so make one
// tenant of two: escaped, they stay apart.
type ledgerTenant string

func (n ledgerTenant) MarshalText() ([]byte, error) { return []byte(url.PathEscape(string(n))), nil }

func (n *ledgerTenant) UnmarshalText(text []byte) error {
	name, err := url.PathUnescape(string(text))
	*n = ledgerTenant(name)
	return err
}

func ledgerTenants(tenant []string) (names []ledgerTenant) {
	for _, name := range tenant {
		names = append(names, ledgerTenant(name))
	}
	return names
}

func newLedger(a *accounting) *ledger {
	return &ledger{accounting: a, sem: make(chan struct{}, 1), run: rand.Uint64()}
}

func (l *ledger) lock(ctx context.Context) error {
	select {
	case l.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *ledger) unlock() { <-l.sem }

// open opens the ledger in its store. The turn must be held.
func (l *ledger) openLocked(ctx context.Context) (ObjectStore, error) {
	key := ObjectKey{Namespace: ledgerNamespace, ID: ID{sha256.Sum256([]byte(l.accounting.opts.Ledger))}}
	store, err := l.accounting.opts.Store.Open(ctx, key, Fence{Epoch: firstEpoch})
	if err != nil {
		return nil, fmt.Errorf("edgews: ledger cannot be opened: %w", err)
	}
	if err := l.catchUpLocked(ctx, store); err != nil {
		store.Release()
		return nil, err
	}
	return store, nil
}

// catchUp finds out what has been written since this meter was here last: by itself, if it did not hear of it, or by another.
func (l *ledger) catchUpLocked(ctx context.Context, store ObjectStore) error {
	checkpoint, err := readCheckpointLocked(ctx, store)
	if err != nil {
		return err
	}
	if checkpoint.includes(ledgerCommit{l.run, l.attemptedSeq}) {
		l.markSavedLocked()
	}
	l.attempted = nil
	if l.read && checkpoint.ledgerCommit == l.checkpoint.ledgerCommit {
		return nil
	}
	if !l.read || checkpoint.Run != l.run {
		if err := l.readEntriesLocked(ctx, store); err != nil {
			return err
		}
	}
	l.checkpoint, l.read = checkpoint, true
	l.loaded.Store(true)
	return nil
}

// wrote notes that what was tried has happened.
func (l *ledger) markSavedLocked() {
	for _, e := range l.attempted {
		e.m.mu.Lock()
		e.m.saved, e.m.savedDay = e.booked, e.day
		e.m.mu.Unlock()
	}
	l.attempted = nil
}

// readAll takes over what there is.
func (l *ledger) readEntriesLocked(ctx context.Context, store ObjectStore) error {
	var found []ledgerEntry
	for entry, err := range store.List(ctx, ledgerEntryPrefix) {
		var e ledgerEntry
		if err == nil {
			err = json.Unmarshal(entry.Value, &e)
		}
		if err != nil {
			return fmt.Errorf("edgews: ledger cannot be read: %w", err)
		}
		found = append(found, e)
	}
	marked := make(map[*Meter]bool)
	for _, e := range found {
		m := l.accounting.root
		for _, name := range e.Tenant {
			m = m.tenantNamed(string(name), -1)
		}
		m.mu.Lock()
		m.earlier = e.Usage.Sub(m.saved)
		if e.Day != nil && !e.Day.Day.Before(m.day.Day) {
			m.day, m.savedDay, marked[m] = *e.Day, *e.Day, true
		}
		m.mu.Unlock()
	}
	if !l.read {
		l.accounting.root.addEarlierToDays(marked)
	}
	return nil
}

// moveDays has days begin with what the ledger has, if a quota could not wait for it. Those that are marked do.
func (m *Meter) addEarlierToDays(marked map[*Meter]bool) {
	earlier := m.earlierUsage()
	m.mu.Lock()
	if !marked[m] && !m.day.Day.IsZero() {
		m.day.Used = m.day.Used.Add(earlier)
	}
	m.mu.Unlock()
	for _, t := range m.tenantList() {
		t.addEarlierToDays(marked)
	}
}

// flush writes what has been used since the last time.
func (l *ledger) flush(ctx context.Context) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	store, err := l.openLocked(ctx)
	if err != nil {
		return err
	}
	defer store.Release()
	if l.attempted = l.accounting.root.pendingEntries(nil); len(l.attempted) == 0 {
		return nil
	}
	next := l.checkpoint.next(l.run)
	l.attemptedSeq = next.Seq
	if err := store.Commit(ctx, l.batchLocked(next)); err != nil {
		return fmt.Errorf("edgews: ledger cannot be written: %w", err)
	}
	l.markSavedLocked()
	l.checkpoint = next
	return nil
}

// draft is what a meter has counted, of which the ledger does not have everything.
type pendingEntry struct {
	m      *Meter
	booked Usage
	day    dayStart
	entry  ledgerEntry
}

// drafts appends what is to be written of m and its tenants.
func (m *Meter) pendingEntries(to []pendingEntry) []pendingEntry {
	m.mu.Lock()
	if m.unsavedLocked() {
		entry := ledgerEntry{Tenant: ledgerTenants(m.tenant), Usage: m.earlier.Add(m.booked)}
		if day := m.day; !day.Day.IsZero() {
			entry.Day = &day
		}
		to = append(to, pendingEntry{m, m.booked, m.day, entry})
	}
	m.mu.Unlock()
	for _, t := range m.tenantList() {
		to = t.pendingEntries(to)
	}
	return to
}

// unsavedLocked reports whether the ledger does not have everything. mu must be held.
func (m *Meter) unsavedLocked() bool { return m.booked != m.saved || m.day != m.savedDay }

// batch is what was tried, under its seal.
func (l *ledger) batchLocked(checkpoint ledgerCheckpoint) (b Batch) {
	put := func(key string, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			panic(err) // there is nothing in these that could not be
		}
		b.Puts = append(b.Puts, Entry{key, value})
	}
	put(ledgerCheckpointKey, checkpoint)
	for _, e := range l.attempted {
		put(ledgerEntryKey(e.m.tenant), e.entry)
	}
	return b
}

// ledgerKey has the same length whatever a tenant is called.
func ledgerEntryKey(tenant []string) string {
	path, _ := json.Marshal(ledgerTenants(tenant))
	return fmt.Sprintf("%s%x", ledgerEntryPrefix, sha256.Sum256(path))
}

// Total returns what the ledger had when this meter began and Usage together: what m and its tenants have used since the
// ledger was begun. It reads the store once; from then on Tenants also names those that only the ledger knows. Without a
// Store it is Usage.
func (m *Meter) Total(ctx context.Context) (Usage, error) {
	if m == nil {
		return Usage{}, nil
	}
	if err := m.accounting.readLedger(ctx); err != nil {
		return Usage{}, err
	}
	return m.Usage().Add(m.earlierUsage()), nil
}

// earlier returns what the ledger had when it was read.
func (m *Meter) earlierUsage() Usage {
	m.mu.Lock()
	u := m.earlier
	m.mu.Unlock()
	for _, t := range m.tenantList() {
		u = u.Add(t.earlierUsage())
	}
	return u
}

func (a *accounting) readLedger(ctx context.Context) error {
	l := a.ledger
	if l == nil || l.loaded.Load() {
		return nil
	}
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	if l.read {
		return nil
	}
	store, err := l.openLocked(ctx)
	if err == nil {
		store.Release()
	}
	return err
}

// Flush makes a record of everything that goes on, and waits until Record has been told all there is and the ledger has it,
// or ctx ends. A program calls it at its end, after the Shutdown of its namespaces and before it closes the Store. Do not
// call it from Record.
func (m *Meter) Flush(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return cmp.Or(m.accounting.flush(ctx), m.accounting.waitDelivered(ctx))
}

// flush brings records and ledger up to date.
func (a *accounting) flush(ctx context.Context) error {
	a.recordAll()
	if a.ledger == nil {
		return nil
	}
	return a.ledger.flush(ctx)
}

// await waits until Record has been told everything.
func (a *accounting) waitDelivered(ctx context.Context) error {
	a.mu.Lock()
	for a.delivering {
		told := a.delivered.wait()
		a.mu.Unlock()
		if err := waitFor(ctx, told); err != nil {
			return err
		}
		a.mu.Lock()
	}
	a.mu.Unlock()
	return nil
}
