package inspect

import (
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// objectKey names an object among those of all namespaces. The zero key names none.
type objectKey struct {
	namespace *edgews.Namespace
	id        edgews.ID
}

// objectFacts is what was told of an object that has a value in memory or open sockets.
type objectFacts struct {
	awake                             bool // it has a value in memory
	sockets                           int
	wokenBy                           edgews.Trigger
	tenant                            string
	order                             uint64 // see orderOf
	constructed                       int64  // in Unix milliseconds; 0: not since there are facts
	handled, crashes, alarms, commits int64
	busy                              time.Duration
}

// areKept reports whether the object is remembered.
func (f *objectFacts) areKept() bool { return f.awake || f.sockets > 0 }

// orderOf returns the first 16 digits of an ID, which hardly any two IDs share and which are faster to compare than the ID, as a number.
func orderOf(id edgews.ID) uint64 {
	order, _ := strconv.ParseUint(id.String()[:16], 16, 64) // they are hexadecimal digits
	return order
}

// objectRecords are the facts of objects: see newObjectRecords.
type objectRecords struct {
	seed   maphash.Seed
	on     alwaysOn
	shards [shardCount]struct {
		mu    sync.Mutex // only that of alwaysOn is locked under it
		facts map[objectKey]*objectFacts
	}
}

func newObjectRecords() *objectRecords { return &objectRecords{seed: maphash.MakeSeed()} }

// get returns the facts of an object; the zero ones if there are none.
func (l *objectRecords) get(k objectKey) objectFacts {
	s := &l.shards[maphash.Comparable(l.seed, k)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.facts[k]; f != nil {
		return *f
	}
	return objectFacts{}
}

// update has fn change the facts of an object, and forgets them if there is neither a value nor a socket afterwards.
func (l *objectRecords) update(k objectKey, fn func(*objectFacts)) {
	s := &l.shards[maphash.Comparable(l.seed, k)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.facts[k]; f != nil {
		wasAwake := f.awake
		fn(f)
		if !f.areKept() {
			delete(s.facts, k)
		}
		l.on.change(f.tenant, f.areKept(), true, f.awake, wasAwake)
		return
	}
	var f objectFacts
	if fn(&f); !f.areKept() {
		return
	}
	f.tenant, f.order = k.namespace.Tenant(k.id), orderOf(k.id)
	if s.facts == nil {
		s.facts = make(map[objectKey]*objectFacts)
	}
	s.facts[k] = &f
	l.on.change(f.tenant, true, false, f.awake, false)
}

// alwaysOn adds up how long objects would have been active if they did not hibernate: as long as they have a value or an open socket. The zero
// value is ready for use.
type alwaysOn struct {
	mu sync.Mutex // a leaf

	// Guarded by mu.
	all     onTime
	awake   int
	tenants map[string]*onTime // at most maxTenants, and edgews.OverflowTenant
}

// maxTenants is as many as a meter remembers by default.
const maxTenants = 100_000

// onTime adds up the time of some objects.
type onTime struct {
	kept int
	sum  time.Duration // until last
	last time.Time     // of the last change; zero: there was none
}

// change notes that an object of a tenant is kept, or awake, or not any more.
func (a *alwaysOn) change(tenant string, isKept, wasKept, isAwake, wasAwake bool) {
	if isKept == wasKept && isAwake == wasAwake {
		return
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.awake += difference(isAwake, wasAwake)
	if isKept == wasKept {
		return
	}
	a.all.add(now, difference(isKept, wasKept))
	if tenant != "" {
		a.tenantLocked(tenant).add(now, difference(isKept, wasKept))
	}
}

// tenantLocked returns the time of the objects of a tenant. mu must be held.
func (a *alwaysOn) tenantLocked(name string) *onTime {
	if t := a.tenants[name]; t != nil {
		return t
	}
	if len(a.tenants) >= maxTenants && name != edgews.OverflowTenant {
		return a.tenantLocked(edgews.OverflowTenant)
	}
	if a.tenants == nil {
		a.tenants = make(map[string]*onTime)
	}
	t := new(onTime)
	a.tenants[name] = t
	return t
}

// add notes that n more objects are kept.
func (t *onTime) add(now time.Time, n int) {
	t.sum, t.last = t.until(now), now
	t.kept += n
}

// until returns the time until now.
func (t *onTime) until(now time.Time) time.Duration {
	if t.last.IsZero() {
		return 0
	}
	return t.sum + time.Duration(t.kept)*now.Sub(t.last)
}

// difference returns 1, 0 or -1.
func difference(is, was bool) int {
	switch {
	case is == was:
		return 0
	case is:
		return 1
	}
	return -1
}

// total returns the time of all objects until now.
func (a *alwaysOn) total() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.until(time.Now())
}

// ofTenant returns the time of the objects of a tenant until now.
func (a *alwaysOn) ofTenant(name string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tenants[name]; t != nil {
		return t.until(time.Now())
	}
	return 0
}

// counts returns how many objects are awake, and how many have open sockets without being awake.
func (a *alwaysOn) counts() (awake, hibernated int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.awake, a.all.kept - a.awake
}
