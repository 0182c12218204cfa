package edgewstest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeTB is the test of a user that may fail. What it says is kept in reports.
type fakeTB struct {
	testing.TB // only for the methods that are not here, which are not called

	ctx      context.Context
	mu       sync.Mutex
	reports  []string
	logs     []string
	cleanups []func()
}

// runTest runs f as a test with its cleanups, and returns what it has reported as errors, each in a text of its own.
func runTest(f func(t testing.TB)) (reports []string) {
	ctx, cancel := context.WithCancel(context.Background())
	fake := &fakeTB{ctx: ctx}
	inGoroutine(func() { f(fake) })
	cancel()
	for _, cleanup := range slices.Backward(fake.cleanups) {
		inGoroutine(cleanup)
	}
	return fake.reports
}

// inGoroutine runs f in a goroutine, which Fatal may end, and waits for it.
func inGoroutine(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (t *fakeTB) Helper()                  {}
func (t *fakeTB) Context() context.Context { return t.ctx }
func (t *fakeTB) Name() string             { return "TestFake" }
func (t *fakeTB) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }

func (t *fakeTB) report(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reports = append(t.reports, text)
}

func (t *fakeTB) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logs = append(t.logs, fmt.Sprintf(format, args...))
}

func (t *fakeTB) Error(args ...any)                 { t.report(strings.TrimSuffix(fmt.Sprintln(args...), "\n")) }
func (t *fakeTB) Errorf(format string, args ...any) { t.report(fmt.Sprintf(format, args...)) }

func (t *fakeTB) Fatal(args ...any) {
	t.Error(args...)
	runtime.Goexit()
}

func (t *fakeTB) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
