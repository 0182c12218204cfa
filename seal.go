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
type ledgerSeal struct {
	ledgerRun
	At     time.Time   `json:"at"`
	Others []ledgerRun `json:"others,omitempty"` // the latest first
}

// ledgerRun is the last commit of a meter.
type ledgerRun struct {
	Run uint64 `json:"run"`
	Seq uint64 `json:"seq"`
}

// ledgerOthers is how many runs a seal remembers: more than will ever be there at the same time.
const ledgerOthers = 16

// next is the seal of a commit that run makes on top of s.
func (s ledgerSeal) next(run uint64) ledgerSeal {
	others := slices.DeleteFunc(append([]ledgerRun{s.ledgerRun}, s.Others...), func(o ledgerRun) bool { return o.Run == run || o.Seq == 0 })
	return ledgerSeal{ledgerRun{run, s.Seq + 1}, time.Now().UTC(), others[:min(len(others), ledgerOthers)]}
}

// has reports whether that commit has happened. If so many have written since that nobody can tell, then rather too little
// than twice.
func (s ledgerSeal) has(commit ledgerRun) bool {
	for _, last := range append([]ledgerRun{s.ledgerRun}, s.Others...) {
		if last.Run == commit.Run {
			return last.Seq == commit.Seq
		}
	}
	return len(s.Others) == ledgerOthers
}

// readSeal returns the zero seal of a ledger that nobody has written to.
func readSeal(ctx context.Context, store ObjectStore) (seal ledgerSeal, err error) {
	value, err := store.Get(ctx, ledgerHead)
	if errors.Is(err, ErrKeyNotFound) {
		return seal, nil
	}
	if err == nil {
		err = json.Unmarshal(value, &seal)
	}
	if err != nil {
		return seal, fmt.Errorf("edgews: ledger cannot be read: %w", err)
	}
	return seal, nil
}
