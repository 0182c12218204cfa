package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// RunFull checks a store whose disk is full: commits fail, an acknowledged commit is there afterwards, and the store accepts what
// still fits. open opens the store of a folder, with room for at least 256 KiB and at most a few MiB of values. RunFull closes a store
// before it opens another one of the same folder.
func RunFull(t *testing.T, open func(t *testing.T, dir string) edgews.Store) {
	for _, test := range fullTests {
		t.Run(test.name, func(t *testing.T) {
			f := &folder{t: t, dir: t.TempDir(), opener: open}
			defer f.close()
			test.run(f)
		})
	}
}

var fullTests = []struct {
	name string
	run  func(f *folder)
}{
	{"a full store acknowledges only what it has stored", acknowledgeWhileFull},
	{"a full store keeps its entries and accepts what fits", goOnWhileFull},
}

const (
	fullWriters = 16
	fullRounds  = 150
	fullValue   = 16 << 10
)

// acknowledgeWhileFull commits from many goroutines, some with contexts that end meanwhile, until long after the store is full.
func acknowledgeWhileFull(f *folder) {
	t, s := f.t, f.reopen()
	acknowledged := make([]map[string][]byte, fullWriters)
	var failed sync.Map
	var writers sync.WaitGroup
	for n := range fullWriters {
		acknowledged[n] = map[string][]byte{}
		o := open(t, s, "room", byte(n))
		writers.Go(func() {
			for i := range fullRounds {
				key, value := fmt.Sprint("key ", i), bytes.Repeat([]byte{byte(n), byte(i)}, fullValue/2)
				ctx, cancel := context.Background(), func() {}
				if i%2 == 1 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
				}
				err := o.Commit(ctx, edgews.Batch{Puts: []edgews.Entry{{Key: key, Value: value}}})
				cancel()
				if err == nil {
					acknowledged[n][key] = value
				} else {
					failed.Store(n, err)
				}
			}
		})
	}
	writers.Wait()
	if _, some := failed.Load(0); !some {
		t.Fatalf("%d values of %d bytes fit: the store is not full", fullWriters*fullRounds, fullValue)
	}
	for _, when := range []string{"before it was closed", "after it was opened again"} {
		for n := range fullWriters {
			o := open(t, s, "room", byte(n))
			for key, value := range acknowledged[n] {
				got, err := o.Get(context.Background(), key)
				if err != nil {
					t.Fatalf("%s, writer %d: %q was acknowledged and is not there: %v", when, n, key, err)
				}
				if !bytes.Equal(got, value) {
					t.Fatalf("%s, writer %d: %q has another value", when, n, key)
				}
			}
		}
		s = f.reopen()
	}
}

// goOnWhileFull commits until the store is full, and checks its content then.
func goOnWhileFull(f *folder) {
	t, s := f.t, f.reopen()
	o := open(t, s, "room", 1)
	o.put("small", "is there")
	var last int
	for last = 0; last < fullWriters*fullRounds; last++ {
		if o.Commit(context.Background(), edgews.Batch{Puts: []edgews.Entry{{Key: fmt.Sprint("key ", last), Value: make([]byte, fullValue)}}}) != nil {
			break
		}
	}
	if last == fullWriters*fullRounds {
		t.Fatalf("%d values of %d bytes fit: the store is not full", last, fullValue)
	}
	o.wantValue("small", "is there")
	o.wantNone(fmt.Sprint("key ", last))
	if last == 0 {
		t.Fatal("not even one value fits")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := o.Commit(ctx, edgews.Batch{Deletes: []string{"small"}}); err == nil {
		t.Fatal("a commit happened although its context had ended")
	}
	o = open(t, f.reopen(), "room", 1)
	o.wantValue("small", "is there")
}
