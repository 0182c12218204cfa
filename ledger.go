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
	b    *accounting
	turn chan struct{} // holds a token while somebody reads or writes: one at a time
	run  uint64        // tells this meter from others

	known atomic.Bool // what others have written is known: read, for those who do not have the turn

	// Guarded by turn.
	seal   ledgerSeal // of the last commit that is known
	read   bool       // what others have written is known
	tried  []draft    // what a commit has tried to write, of which nobody knows whether it has happened
	trying uint64     // the number of that commit
}

// ledgerNamespace is where ledgers are, among the objects of a Store.
const ledgerNamespace = "edgews.meter"

const (
	ledgerHead    = "head"   // the key of a ledgerSeal
	ledgerEntries = "entry/" // the beginning of the keys of ledgerEntry
)

// ledgerEntry is what one meter has used, without its tenants.
type ledgerEntry struct {
	Tenant []ledgerName `json:"tenant,omitempty"`
	Usage  Usage        `json:"usage"`
	Day    *dayStart    `json:"day,omitempty"` // if it has a quota
}

// ledgerName is the name of a tenant. JSON would put the same character for all bytes that are not UTF-8, and so make one
// tenant of two: escaped, they stay apart.
type ledgerName string

func (n ledgerName) MarshalText() ([]byte, error) { return []byte(url.PathEscape(string(n))), nil }

func (n *ledgerName) UnmarshalText(text []byte) error {
	name, err := url.PathUnescape(string(text))
	*n = ledgerName(name)
	return err
}

func ledgerNames(tenant []string) (names []ledgerName) {
	for _, name := range tenant {
		names = append(names, ledgerName(name))
	}
	return names
}

func newLedger(a *accounting) *ledger {
	return &ledger{b: a, turn: make(chan struct{}, 1), run: rand.Uint64()}
}

func (l *ledger) lock(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *ledger) unlock() { <-l.turn }

// open opens the ledger in its store. The turn must be held.
func (l *ledger) open(ctx context.Context) (ObjectStore, error) {
	key := ObjectKey{Namespace: ledgerNamespace, ID: ID{sha256.Sum256([]byte(l.b.opts.Ledger))}}
	store, err := l.b.opts.Store.Open(ctx, key, Fence{Epoch: firstEpoch})
	if err != nil {
		return nil, fmt.Errorf("edgews: ledger cannot be opened: %w", err)
	}
	if err := l.catchUp(ctx, store); err != nil {
		store.Release()
		return nil, err
	}
	return store, nil
}

// catchUp finds out what has been written since this meter was here last: by itself, if it did not hear of it, or by another.
func (l *ledger) catchUp(ctx context.Context, store ObjectStore) error {
	seal, err := readSeal(ctx, store)
	if err != nil {
		return err
	}
	if seal.has(ledgerRun{l.run, l.trying}) {
		l.wrote()
	}
	l.tried = nil
	if l.read && seal.ledgerRun == l.seal.ledgerRun {
		return nil
	}
	if !l.read || seal.Run != l.run {
		if err := l.readAll(ctx, store); err != nil {
			return err
		}
	}
	l.seal, l.read = seal, true
	l.known.Store(true)
	return nil
}

// wrote notes that what was tried has happened.
func (l *ledger) wrote() {
	for _, d := range l.tried {
		d.m.mu.Lock()
		d.m.saved, d.m.savedDay = d.booked, d.day
		d.m.mu.Unlock()
	}
	l.tried = nil
}

// readAll takes over what there is.
func (l *ledger) readAll(ctx context.Context, store ObjectStore) error {
	var found []ledgerEntry
	for entry, err := range store.List(ctx, ledgerEntries) {
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
		m := l.b.root
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
		l.b.root.moveDays(marked)
	}
	return nil
}

// moveDays has days begin with what the ledger has, if a quota could not wait for it. Those that are marked do.
func (m *Meter) moveDays(marked map[*Meter]bool) {
	earlier := m.earlierUsage()
	m.mu.Lock()
	if !marked[m] && !m.day.Day.IsZero() {
		m.day.Used = m.day.Used.Add(earlier)
	}
	m.mu.Unlock()
	for _, t := range m.tenantList() {
		t.moveDays(marked)
	}
}

// flush writes what has been used since the last time.
func (l *ledger) flush(ctx context.Context) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	store, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer store.Release()
	if l.tried = l.b.root.drafts(nil); len(l.tried) == 0 {
		return nil
	}
	next := l.seal.next(l.run)
	l.trying = next.Seq
	if err := store.Commit(ctx, l.batch(next)); err != nil {
		return fmt.Errorf("edgews: ledger cannot be written: %w", err)
	}
	l.wrote()
	l.seal = next
	return nil
}

// draft is what a meter has counted, of which the ledger does not have everything.
type draft struct {
	m      *Meter
	booked Usage
	day    dayStart
	entry  ledgerEntry
}

// drafts appends what is to be written of m and its tenants.
func (m *Meter) drafts(to []draft) []draft {
	m.mu.Lock()
	if m.unsavedLocked() {
		entry := ledgerEntry{Tenant: ledgerNames(m.tenant), Usage: m.earlier.Add(m.booked)}
		if day := m.day; !day.Day.IsZero() {
			entry.Day = &day
		}
		to = append(to, draft{m, m.booked, m.day, entry})
	}
	m.mu.Unlock()
	for _, t := range m.tenantList() {
		to = t.drafts(to)
	}
	return to
}

// unsavedLocked reports whether the ledger does not have everything. mu must be held.
func (m *Meter) unsavedLocked() bool { return m.booked != m.saved || m.day != m.savedDay }

// batch is what was tried, under its seal.
func (l *ledger) batch(seal ledgerSeal) (b Batch) {
	put := func(key string, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			panic(err) // there is nothing in these that could not be
		}
		b.Puts = append(b.Puts, Entry{key, value})
	}
	put(ledgerHead, seal)
	for _, d := range l.tried {
		put(ledgerKey(d.m.tenant), d.entry)
	}
	return b
}

// ledgerKey has the same length whatever a tenant is called.
func ledgerKey(tenant []string) string {
	path, _ := json.Marshal(ledgerNames(tenant))
	return fmt.Sprintf("%s%x", ledgerEntries, sha256.Sum256(path))
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
	if l == nil || l.known.Load() {
		return nil
	}
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	if l.read {
		return nil
	}
	store, err := l.open(ctx)
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
