package faultrun

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Table has the longest time that a client has waited for a reply, by fault.
type Table struct {
	mu   sync.Mutex
	rows []string
}

// Add adds a row.
func (t *Table) Add(fault string, pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, fmt.Sprintf("%8v  %s", pause.Round(time.Millisecond), fault))
}

// Log prints the rows.
func (t *Table) Log(to *testing.T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to.Logf("the longest that a socket has waited for a reply:\n%s", strings.Join(t.rows, "\n"))
}
