package edgewsnats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/edgews/edgews/cluster"
	"github.com/nats-io/nats.go"
)

// record is a message of the stream of records. Besides Nonce it has one of the others.
type record struct {
	Nonce  string             `json:"nonce"` // of the call that has written it
	Config *configRecord      `json:"config,omitempty"`
	Member *cluster.Member    `json:"member,omitempty"`
	Gone   bool               `json:"gone,omitempty"` // Member is what it was before it was removed
	Owner  *cluster.Ownership `json:"owner,omitempty"`
}

type configRecord struct {
	Layout int `json:"layout"`
	cluster.Config
	Streams int `json:"streams"` // of objects
}

const layoutVersion = 1

// errNoSetup: a method has been called before Setup.
var errNoSetup = errors.New("edgews: NATS engine: Setup has not been called")

// change replaces the record of a subject by what decide makes of it: nil means that it stays as it is. present is empty if there is no
// record. change repeats this until the record is what decide was called with; decide may be called several times. It returns the record
// that there is then.
func (e *Engine) change(ctx context.Context, subject string, decide func(present record) (*record, error)) (record, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return record{}, err
	}
	defer leave()
	r, err := e.changeUntil(inner, subject, decide)
	return r, e.ended(ctx, err)
}

func (e *Engine) changeUntil(ctx context.Context, subject string, decide func(present record) (*record, error)) (record, error) {
	nonce := newNonce().String()
	for {
		present, seq, err := e.getRecord(ctx, subject)
		if err != nil || present.Nonce == nonce { // an attempt whose answer has been lost
			return present, err
		}
		next, err := decide(present)
		if err != nil || next == nil {
			return present, err
		}
		next.Nonce = nonce
		body, err := json.Marshal(next)
		if err != nil {
			return record{}, err
		}
		m := newMessage(subject, body, seq)
		if next.Gone {
			m.Header["Nats-TTL"] = []string{goneTTL.String()}
		}
		switch stored, err := e.request(ctx, m); {
		case err == nil:
			e.hasStored(stored)
			return *next, nil
		case isCode(err, codeWrongSeq, codeSeqInProcess, codeUnavailable):
		case isRefusal(err), errors.Is(err, nats.ErrConnectionClosed):
			return record{}, err
		}
		if err := pause(ctx); err != nil {
			return record{}, err
		}
	}
}

// getRecord returns the record of a subject and its number, or an empty one and 0.
func (e *Engine) getRecord(ctx context.Context, subject string) (r record, seq uint64, err error) {
	m, err := e.getLast(ctx, layout{e.o.Name}.recordsStream(), subject)
	if err != nil || m == nil {
		return record{}, 0, err
	}
	r, err = parseRecord(m.Data)
	return r, m.Seq, err
}

func parseRecord(body []byte) (r record, err error) {
	if err := json.Unmarshal(body, &r); err != nil {
		return record{}, fmt.Errorf("edgews: NATS: record: %w", err)
	}
	return r, nil
}

// Setup creates the streams too.
func (e *Engine) Setup(ctx context.Context, c cluster.Config) (cluster.Config, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return cluster.Config{}, err
	}
	defer leave()
	stored, err := e.setUp(inner, c)
	return stored, e.ended(ctx, err)
}

func (e *Engine) setUp(ctx context.Context, c cluster.Config) (cluster.Config, error) {
	if err := e.ensureStream(ctx, e.recordsConfig()); err != nil {
		return cluster.Config{}, err
	}
	r, err := e.changeUntil(ctx, layout{e.o.Name}.configSubject(), func(present record) (*record, error) {
		if present.Config != nil {
			return nil, nil
		}
		return &record{Config: &configRecord{layoutVersion, c, e.o.Streams}}, c.Validate()
	})
	switch {
	case err != nil:
		return cluster.Config{}, err
	case r.Config == nil || r.Config.Layout != layoutVersion:
		return cluster.Config{}, fmt.Errorf("%w: the cluster in NATS has another layout than %d", cluster.ErrConfig, layoutVersion)
	}
	for k := range r.Config.Streams {
		if err := e.ensureStream(ctx, e.objectsConfig(k)); err != nil {
			return cluster.Config{}, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.batches == nil {
		e.config = r.Config.Config
		for range r.Config.Streams {
			e.batches = append(e.batches, make(chan struct{}, e.o.BatchesAtOnce))
		}
	}
	return r.Config.Config, nil
}

// setup returns what Setup has found, or an error if it has not been called.
func (e *Engine) setup() (c cluster.Config, batches []chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.batches == nil {
		return c, nil, errNoSetup
	}
	return e.config, e.batches, nil
}

// Join stores a record of m.
func (e *Engine) Join(ctx context.Context, m cluster.Member) error {
	return e.changeMember(ctx, m, func(present *cluster.Member) (*record, error) {
		switch {
		case present != nil && present.Incarnation != m.Incarnation:
			return nil, fmt.Errorf("%w: %s", cluster.ErrMemberExists, m.ID)
		case present != nil && present.Beat >= m.Beat:
			return nil, nil
		}
		return &record{Member: &m}, nil
	})
}

// Renew replaces the record of m.
func (e *Engine) Renew(ctx context.Context, m cluster.Member) error {
	return e.changeMember(ctx, m, func(present *cluster.Member) (*record, error) {
		switch {
		case present == nil || present.Incarnation != m.Incarnation:
			return nil, fmt.Errorf("%w: %s", cluster.ErrNotMember, m.ID)
		case present.Beat >= m.Beat:
			return nil, nil
		}
		return &record{Member: &m}, nil
	})
}

// Remove replaces the record of m by one that says that it has gone.
func (e *Engine) Remove(ctx context.Context, m cluster.Member) error {
	return e.changeMember(ctx, m, func(present *cluster.Member) (*record, error) {
		switch {
		case present == nil || present.Incarnation != m.Incarnation:
			return nil, nil
		case m.Beat != 0 && m.Beat != present.Beat:
			return nil, fmt.Errorf("%w: %s has renewed its membership", cluster.ErrConflict, m.ID)
		}
		return &record{Member: present, Gone: true}, nil
	})
}

// changeMember calls decide with the present record of a member, and nil if there is none.
func (e *Engine) changeMember(ctx context.Context, m cluster.Member, decide func(present *cluster.Member) (*record, error)) error {
	_, err := e.change(ctx, layout{e.o.Name}.memberSubject(m.ID), func(present record) (*record, error) {
		if present.Gone {
			return decide(nil)
		}
		return decide(present.Member)
	})
	return err
}

// Claim makes to the owner of a shard.
func (e *Engine) Claim(ctx context.Context, prev cluster.Ownership, to cluster.Member) (cluster.Ownership, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Ownership{}, err
	}
	config, _, err := e.setup()
	if err != nil {
		return cluster.Ownership{}, err
	}
	if int(prev.Shard) >= config.Shards {
		return cluster.Ownership{}, fmt.Errorf("%w: shard %d of %d", cluster.ErrConfig, prev.Shard, config.Shards)
	}
	r, err := e.change(ctx, layout{e.o.Name}.ownerSubject(prev.Shard), func(present record) (*record, error) {
		epoch := uint64(0)
		if present.Owner != nil {
			epoch = present.Owner.Epoch
		}
		if epoch != prev.Epoch {
			return nil, fmt.Errorf("%w: shard %d", cluster.ErrConflict, prev.Shard)
		}
		return &record{Owner: &cluster.Ownership{
			Shard: prev.Shard, Owner: to.ID, Incarnation: to.Incarnation, Epoch: max(prev.Epoch+1, config.FirstEpoch()),
		}}, nil
	})
	if r.Owner == nil {
		return cluster.Ownership{Shard: prev.Shard}, err
	}
	return *r.Owner, err
}
