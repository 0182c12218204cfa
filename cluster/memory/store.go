package memory

import (
	"context"
	"iter"
	"time"

	"github.com/edgews/edgews"
)

func (e *Engine) Open(ctx context.Context, o edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	if err := e.enterStore(ctx, "Open"); err != nil {
		return nil, err
	}
	if e.m.unfenced.Load() {
		f = edgews.Fence{} // all owners have the same epoch, so that none is fenced
	}
	s, err := e.m.store.Open(ctx, o, f)
	if err != nil {
		return nil, err
	}
	return &objectStore{e, s}, nil
}

// enterStore returns when a call of a Store may be applied, or why it is not.
func (e *Engine) enterStore(ctx context.Context, method string) error {
	_, err := e.enterStoreCall(ctx, method)
	return err
}

// enterStoreCall also returns how long the answer takes.
func (e *Engine) enterStoreCall(ctx context.Context, method string) (after time.Duration, err error) {
	if err := e.enter(ctx); err != nil {
		return 0, err
	}
	f := e.fault(method)
	if f.LoseRequest {
		if f.Err == nil {
			f.Err = e.awaitEnd(ctx)
		}
		return 0, f.Err
	}
	if err := e.sleep(ctx, f.Before); err != nil {
		return 0, err
	}
	return f.After, nil
}

// awaitEnd waits for a call that is cut off.
func (e *Engine) awaitEnd(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closed:
		return ErrClosed
	case <-e.m.closed:
		return ErrClosed
	}
}

// objectStore is an object's storage behind the faults of a connection.
type objectStore struct {
	e *Engine
	edgews.ObjectStore
}

func (s *objectStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.e.enterStore(ctx, "Get"); err != nil {
		return nil, err
	}
	return s.ObjectStore.Get(ctx, key)
}

func (s *objectStore) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	if err := s.e.enterStore(ctx, "GetMany"); err != nil {
		return nil, err
	}
	return s.ObjectStore.(edgews.ManyGetter).GetMany(ctx, keys)
}

func (s *objectStore) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		if err := s.e.enterStore(ctx, "Scan"); err != nil {
			yield(edgews.Entry{}, err)
			return
		}
		s.ObjectStore.Scan(ctx, r)(yield)
	}
}

func (s *objectStore) Commit(ctx context.Context, b edgews.Batch) error {
	after, err := s.e.enterStoreCall(ctx, "Commit")
	if err != nil {
		return err
	}
	err = s.ObjectStore.Commit(ctx, b)
	s.e.sleep(context.Background(), after) // even if ctx ends: it is known whether b has been committed
	return err
}
