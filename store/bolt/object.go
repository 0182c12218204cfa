package bolt

import (
	"bytes"
	"context"

	"github.com/edgews/edgews"
	"go.etcd.io/bbolt"
)

// object is the storage of one object, under one epoch.
type object struct {
	s     *Store
	key   edgews.ObjectKey
	id    []byte // of key; never modified
	epoch uint64
}

// Open returns the storage of an object. It writes to the disk only if the epoch is new.
func (s *Store) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := &object{s: s, key: key, id: idBytes(key.ID), epoch: max(f.Epoch, firstEpoch)}
	var h objectRecord
	if err := s.view(func(tx *bbolt.Tx) { h = getRecord(tx.Bucket(objectsName(key.Namespace)), o.id) }); err != nil {
		return nil, err
	}
	switch {
	case h.epoch > o.epoch:
		return nil, edgews.ErrFenced
	case h.epoch < o.epoch:
		if err := s.submit(&request{ctx: ctx, o: o, setEpoch: true}); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *object) entryKey(key string) []byte {
	return append(append(make([]byte, 0, idLen+len(key)), o.id...), key...)
}

func (o *object) Get(ctx context.Context, key string) (value []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := false
	err = o.s.view(func(tx *bbolt.Tx) {
		if entries := tx.Bucket(entriesName(o.key.Namespace)); entries != nil {
			v := entries.Get(o.entryKey(key))
			value, found = bytes.Clone(v), v != nil
		}
	})
	if err == nil && !found {
		err = edgews.ErrKeyNotFound
	}
	return value, err
}

// GetMany reads all keys in one transaction.
func (o *object) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(keys))
	err := o.s.view(func(tx *bbolt.Tx) {
		entries := tx.Bucket(entriesName(o.key.Namespace))
		if entries == nil {
			return
		}
		for _, key := range keys {
			if v := entries.Get(o.entryKey(key)); v != nil {
				values[key] = bytes.Clone(v)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

func (o *object) Commit(ctx context.Context, b edgews.Batch) error {
	if err := checkBatch(b); err != nil {
		return err
	}
	return o.s.submit(&request{ctx: ctx, o: o, batch: b})
}

func (o *object) Release() {}
