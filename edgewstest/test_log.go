package edgewstest

import (
	"strings"
	"sync"
	"testing"
)

// testLog writes to the log of a test, as long as the test runs.
type testLog struct {
	t    testing.TB
	mu   sync.Mutex
	over bool // guarded by mu
}

// Write implements io.Writer, for log.Logger.
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Errorf(format, args...)
	}
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
