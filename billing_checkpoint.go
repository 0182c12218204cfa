package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ledgerCheckpoint is part of each commit of a ledger. It says which meter has made it, and the last commit of every other
// meter.
type ledgerCheckpoint struct {
	ledgerCommit
	At     time.Time      `json:"at"`
	Others []ledgerCommit `json:"others,omitempty"` // the latest first
}

// ledgerCommit names a commit of a meter.
type ledgerCommit struct {
	Run uint64 `json:"run"` // ledger.run of the meter
	Seq uint64 `json:"seq"` // counts the commits of the ledger, by all meters
}

// maxOtherCommits is how many other meters a checkpoint remembers: more than will ever share a ledger at the same time.
const maxOtherCommits = 16

// next returns the checkpoint of a commit that run makes after c.
func (c ledgerCheckpoint) next(run uint64) ledgerCheckpoint {
	others := slices.DeleteFunc(append([]ledgerCommit{c.ledgerCommit}, c.Others...), func(o ledgerCommit) bool { return o.Run == run || o.Seq == 0 })
	return ledgerCheckpoint{ledgerCommit{run, c.Seq + 1}, time.Now().UTC(), others[:min(len(others), maxOtherCommits)]}
}

// includes reports whether commit has happened before c. When so many meters have written since that c may have forgotten it,
// the answer is true: usage is then rather lost than counted twice.
func (c ledgerCheckpoint) includes(commit ledgerCommit) bool {
	for _, last := range append([]ledgerCommit{c.ledgerCommit}, c.Others...) {
		if last.Run == commit.Run {
			return last.Seq == commit.Seq
		}
	}
	return len(c.Others) == maxOtherCommits
}

// readCheckpoint returns the checkpoint of the last commit, or the zero checkpoint if there has been none.
func readCheckpoint(ctx context.Context, store ObjectStore) (c ledgerCheckpoint, err error) {
	value, err := store.Get(ctx, ledgerCheckpointKey)
	if errors.Is(err, ErrKeyNotFound) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(value, &c)
	}
	if err != nil {
		return c, fmt.Errorf("edgews: ledger cannot be read: %w", err)
	}
	return c, nil
}
