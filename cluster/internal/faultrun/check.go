package faultrun

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
)

// End ends the load, and fails the test if something was wrong.
func (r *Run) End() {
	r.t.Helper()
	assert.Empty(r.t, r.Check())
}

// Check ends the load, compares what is stored with what clients saw, and returns what was wrong.
func (r *Run) Check() []string {
	r.t.Helper()
	r.load.end()
	if !r.options.WithoutStorageFence { // then they may not be stored
		r.awaitClosed()
	}
	for room, stored := range r.stored() {
		r.checkRoom(room, stored)
	}
	found := r.load.found()
	r.t.Logf("%d entries acknowledged, %d replies lost, %d violations, %v", r.load.acked.Load(), r.load.lost.Load(), len(found), time.Since(r.began).Round(time.Millisecond))
	return found
}

// awaitClosed waits until the close events are stored that are still to come: those of nodes that were killed.
func (r *Run) awaitClosed() {
	r.t.Helper()
	at := r.running()[0]
	assert.Eventually(r.t, func() bool {
		for _, room := range rooms {
			closed, err := at.closedIn(room)
			if err != nil {
				return false
			}
			for _, c := range r.load.all() {
				if c.room == room && c.mustHaveClosed() && closed[c.name] == "" {
					return false
				}
			}
		}
		return true
	}, answerTimeout, 50*time.Millisecond, "the objects get all close events")
}

func (p *Process) closedIn(room string) (closed map[string]string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addrs.Web+"/"+room, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return closed, json.NewDecoder(resp.Body).Decode(&closed)
}

// mustHaveClosed reports whether the object must have had a close event of the connection: it was closed, or its node was killed but not the
// home of its object.
func (c *connection) mustHaveClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed && !c.broken || c.at.mustTellOf(c.room) && len(c.waits) > 0
}

// checkRoom checks what is stored of a room.
func (r *Run) checkRoom(room string, stored map[string]string) {
	numbers := make(map[string][]int) // by entry
	last := 0
	for key, value := range stored {
		if text, ok := strings.CutPrefix(key, numberPart); ok {
			n, _ := strconv.Atoi(text)
			numbers[value] = append(numbers[value], n)
			last++
		} else if entry, ok := strings.CutPrefix(key, entryPart); ok && value != "+" {
			r.load.violated("%s: %s was entered %d times", room, entry, len(value))
		}
	}
	if text := stored[lastKey]; last > 0 && text != strconv.Itoa(last) {
		r.load.violated("%s: %d entries have numbers, but the last number is %s", room, last, text)
	}
	for entry, all := range numbers {
		if len(all) != 1 || stored[entryPart+entry] == "" {
			r.load.violated("%s: %s has the numbers %d, and was entered %d times", room, entry, all, len(stored[entryPart+entry]))
		}
	}
	for _, c := range r.load.all() {
		if c.room == room {
			c.check(numbers, stored[closedPart+c.name])
		}
	}
}

// check checks the entries of a connection, and its close events.
func (c *connection) check(numbers map[string][]int, codes string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, missing := 0, -1
	for n := range c.sent {
		entry := c.entry(n)
		acked, isAcked := c.numbers[n]
		stored := numbers[entry]
		switch {
		case len(stored) == 0 && (isAcked || n < c.acked):
			c.l.violated("%s: %s is lost; it was acknowledged: %v", c.room, entry, isAcked)
		case len(stored) == 0:
			missing = n
			continue
		case isAcked && !slices.Contains(stored, acked):
			c.l.violated("%s: %s has the number %d, but was acknowledged with %d", c.room, entry, stored, acked)
		case missing >= 0:
			c.l.violated("%s: %s is stored, but %s before it is not", c.room, entry, c.entry(missing))
		case stored[0] < before:
			c.l.violated("%s: %s has the number %d, the one before has %d", c.room, entry, stored[0], before)
		}
		if len(stored) > 0 {
			before = stored[0]
		}
	}
	c.checkCloses(strings.Fields(codes))
}

// checkCloses checks the codes of the connection's close events.
func (c *connection) checkCloses(codes []string) {
	want := "1006"
	if c.closed && !c.broken {
		want = "1000"
	}
	switch {
	case len(codes) == 1 && (codes[0] == want || c.mayBreak() && !c.at.wasKilled()): // the node may have broken it, or its home have given it up
	case len(codes) == 0 && c.mayBreak(): // awaitClosed has waited for those that must have come
	default:
		c.l.violated("%s: %s had the close events %q", c.room, c.name, codes)
	}
}
