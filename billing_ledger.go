package edgews

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
)

// ledger keeps in a Store what a meter and its tenants have used, over any number of runs of the program. An entry is a
// sum, not a difference, so writing it twice changes nothing. Each commit has a number, which tells afterwards whether a
// commit whose result did not arrive has happened.
type ledger struct {
	// Immutable.
	accounting *accounting
	run        uint64        // a random number that tells this meter from others
	sem        chan struct{} // a semaphore that serialises reading and writing: it holds one token while locked

	loaded atomic.Bool // the entries have been read at least once

	// Guarded by sem.
	checkpoint   ledgerCheckpoint // of the last commit whose entries are known
	attempted    []pendingEntry   // what the commit attemptedSeq tries to write, until its result is known
	attemptedSeq uint64
}

// ledgerNamespace is the namespace of ledgers among the objects of a Store.
const ledgerNamespace = "edgews.meter"

const (
	ledgerCheckpointKey = "head"   // the key of the ledgerCheckpoint
	ledgerEntryPrefix   = "entry/" // the prefix of the keys of ledgerEntry values
)

// ledgerEntry is what one meter has used, without its tenants.
type ledgerEntry struct {
	Tenant []ledgerTenant `json:"tenant,omitempty"`
	Usage  Usage          `json:"usage"`
	Day    *dayStart      `json:"day,omitempty"` // if it has a quota
}

// ledgerTenant is the name of a tenant. It is escaped in JSON, which would replace all bytes that are not UTF-8 by the same
// character, and so turn several tenants into one.
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

// lock waits for the semaphore, or until ctx ends. No mutex may be held.
func (l *ledger) lock(ctx context.Context) error {
	select {
	case l.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *ledger) unlock() { <-l.sem }

// Total returns what m and its tenants have used since the ledger was begun: what the ledger had when this meter began, plus
// Usage. The first call reads the store; from then on Tenants also returns those that only the ledger knows. Without a
// Store, Total is Usage.
func (m *Meter) Total(ctx context.Context) (Usage, error) {
	if m == nil {
		return Usage{}, nil
	}
	if err := m.accounting.loadLedger(ctx); err != nil {
		return Usage{}, err
	}
	return m.Usage().Add(m.earlierUsage()), nil
}

// earlierUsage returns what the ledger had, of m and its tenants, when it was last read, without what this meter has written.
func (m *Meter) earlierUsage() Usage {
	m.mu.Lock()
	u := m.earlier
	m.mu.Unlock()
	for _, t := range m.tenantList() {
		u = u.Add(t.earlierUsage())
	}
	return u
}

// loadLedger reads the ledger, if there is one and it has not been read before.
func (a *accounting) loadLedger(ctx context.Context) error {
	l := a.ledger
	if l == nil || l.loaded.Load() {
		return nil
	}
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	if l.loaded.Load() {
		return nil
	}
	store, err := l.openLocked(ctx)
	if err == nil {
		store.Release()
	}
	return err
}

// openLocked opens the ledger in its store, and reads what has changed there. sem must be held.
func (l *ledger) openLocked(ctx context.Context) (ObjectStore, error) {
	key := ObjectKey{Namespace: ledgerNamespace, ID: knownIDs.get(sha256.Sum256([]byte(l.accounting.opts.Ledger)))}
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

// catchUpLocked finds out what has been written since this meter last read the ledger: by the meter itself, if a result did not
// arrive, or by another one. sem must be held.
func (l *ledger) catchUpLocked(ctx context.Context, store ObjectStore) error {
	checkpoint, err := readCheckpoint(ctx, store)
	if err != nil {
		return err
	}
	if checkpoint.includes(ledgerCommit{l.run, l.attemptedSeq}) {
		l.markSavedLocked()
	}
	l.attempted = nil
	loaded := l.loaded.Load()
	if loaded && checkpoint.ledgerCommit == l.checkpoint.ledgerCommit {
		return nil
	}
	if !loaded || checkpoint.Run != l.run {
		if err := l.readEntriesLocked(ctx, store); err != nil {
			return err
		}
	}
	l.checkpoint = checkpoint
	l.loaded.Store(true)
	return nil
}

// markSavedLocked notes that the attempted commit has happened. sem must be held.
func (l *ledger) markSavedLocked() {
	for _, e := range l.attempted {
		e.m.mu.Lock()
		e.m.saved, e.m.savedDay = e.booked, e.day
		e.m.mu.Unlock()
	}
	l.attempted = nil
}

// readEntriesLocked takes over all entries of the store. sem must be held.
func (l *ledger) readEntriesLocked(ctx context.Context, store ObjectStore) error {
	entries, err := listEntries(ctx, store)
	if err != nil {
		return err
	}
	marked := make(map[*Meter]bool)
	for _, e := range entries {
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
	if !l.loaded.Load() {
		l.accounting.root.addEarlierToDays(marked)
	}
	return nil
}

// listEntries returns all entries of the store.
func listEntries(ctx context.Context, store ObjectStore) (entries []ledgerEntry, err error) {
	for entry, err := range store.Scan(ctx, Range{Prefix: ledgerEntryPrefix}) {
		var e ledgerEntry
		if err == nil {
			err = json.Unmarshal(entry.Value, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("edgews: ledger cannot be read: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// addEarlierToDays adds the usage of earlier runs to the starts of days that a quota took before the ledger was read. The
// marked meters have the start of their day from the ledger.
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

// flush writes what has been booked since the last commit.
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

// pendingEntry is what a meter has booked, of which the ledger does not have everything yet.
type pendingEntry struct {
	m      *Meter
	booked Usage
	day    dayStart
	entry  ledgerEntry
}

// pendingEntries appends the entries of m and its tenants that are to be written.
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

// unsavedLocked reports whether the ledger does not have everything of m. mu must be held.
func (m *Meter) unsavedLocked() bool { return m.booked != m.saved || m.day != m.savedDay }

// batchLocked returns the commit of the attempted entries and their checkpoint. sem must be held.
func (l *ledger) batchLocked(checkpoint ledgerCheckpoint) (b Batch) {
	put := func(key string, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			panic(err) // these types have nothing that JSON cannot represent
		}
		b.Puts = append(b.Puts, Entry{key, value})
	}
	put(ledgerCheckpointKey, checkpoint)
	for _, e := range l.attempted {
		put(ledgerEntryKey(e.m.tenant), e.entry)
	}
	return b
}

// ledgerEntryKey returns the key of a tenant's entry. Its length does not depend on the names.
func ledgerEntryKey(tenant []string) string {
	path, _ := json.Marshal(ledgerTenants(tenant))
	return fmt.Sprintf("%s%x", ledgerEntryPrefix, sha256.Sum256(path))
}
