package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ledgerSeal says who has written last, and who before.
type ledgerCheckpoint struct {
	ledgerCommit
	At     time.Time      `json:"at"`
	Others []ledgerCommit `json:"others,omitempty"` // the latest first
}

// ledgerRun is the last commit of a meter.
type ledgerCommit struct {
	Run uint64 `json:"run"`
	Seq uint64 `json:"seq"`
}

// ledgerOthers is how many runs a seal remembers: more than will ever be there at the same time.
const maxOtherCommits = 16

// next is the seal of a commit that run makes on top of s.
func (c ledgerCheckpoint) next(run uint64) ledgerCheckpoint {
	others := slices.DeleteFunc(append([]ledgerCommit{c.ledgerCommit}, c.Others...), func(o ledgerCommit) bool { return o.Run == run || o.Seq == 0 })
	return ledgerCheckpoint{ledgerCommit{run, c.Seq + 1}, time.Now().UTC(), others[:min(len(others), maxOtherCommits)]}
}

// has reports whether that commit has happened. If so many have written since that nobody can tell, then rather too little
// than twice.
func (c ledgerCheckpoint) includes(commit ledgerCommit) bool {
	for _, last := range append([]ledgerCommit{c.ledgerCommit}, c.Others...) {
		if last.Run == commit.Run {
			return last.Seq == commit.Seq
		}
	}
	return len(c.Others) == maxOtherCommits
}

// readSeal returns the zero seal of a ledger that nobody has written to.
func readCheckpointLocked(ctx context.Context, store ObjectStore) (checkpoint ledgerCheckpoint, err error) {
	value, err := store.Get(ctx, ledgerCheckpointKey)
	if errors.Is(err, ErrKeyNotFound) {
		return checkpoint, nil
	}
	if err == nil {
		err = json.Unmarshal(value, &checkpoint)
	}
	if err != nil {
		return checkpoint, fmt.Errorf("edgews: ledger cannot be read: %w", err)
	}
	return checkpoint, nil
}
