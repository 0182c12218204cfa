package inspect

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// objectKey names an object among those of all namespaces.
type objectKey struct {
	namespace *edgews.Namespace
	id        edgews.ID
}

// objectRecord is what the inspector keeps of an object that has a value in memory or open sockets.
type objectRecord struct {
	key objectKey // immutable

	mu sync.Mutex // only that of alwaysOn is locked under it

	// Guarded by mu.
	objectFacts
}

// objectFacts is what was told of an object.
type objectFacts struct {
	awake                            bool // it has a value in memory
	sockets                          int
	wokenBy                          edgews.Trigger
	constructed                      int64 // in Unix milliseconds; 0: not since the record exists
	handled, crashes, alarms, commits int64
	busy                             time.Duration
}

// facts returns what is known of the object. r may be nil: nothing is.
func (r *objectRecord) facts() objectFacts {
	if r == nil {
		return objectFacts{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objectFacts
}

// objectRecords are the records of objects. The zero value is not ready: see newObjectRecords.
type objectRecords struct {
	seed   maphash.Seed
	on     alwaysOn
	shards [shardCount]objectShard
}

// objectShard is the part of the records that have one hash.
type objectShard struct {
	mu      sync.RWMutex // the mutex of a record may be locked under it
	records map[objectKey]*objectRecord
}

func newObjectRecords() *objectRecords { return &objectRecords{seed: maphash.MakeSeed()} }

// shard returns the part of the records that k belongs to.
func (l *objectRecords) shard(k objectKey) *objectShard {
	return &l.shards[maphash.Comparable(l.seed, k)%shardCount]
}

// get returns the record of an object, or nil.
func (l *objectRecords) get(k objectKey) *objectRecord {
	s := l.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.records[k]
}

// update calls fn for an object that is told of, with its mutex held, and keeps or forgets its record by what fn leaves. It returns the record.
func (l *objectRecords) update(k objectKey, fn func(*objectFacts)) *objectRecord {
	if r := l.get(k); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if was := r.isKeptLocked(); was {
			fn(&r.objectFacts)
			if r.isKeptLocked() {
				return r
			}
			l.forget(r)
			return r
		}
	}
	return l.insert(k, fn)
}

// insert is update for an object without a record.
func (l *objectRecords) insert(k objectKey, fn func(*objectFacts)) *objectRecord {
	r := &objectRecord{key: k}
	fn(&r.objectFacts)
	if !r.isKeptLocked() {
		return r
	}
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = make(map[objectKey]*objectRecord)
	}
	s.records[k] = r
	return r
}
