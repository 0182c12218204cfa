package edgews

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// doing is the event of an object that runs, or ran last.
type doing struct {
	what  string
	since time.Duration // when it began, since processStart; 0: unknown, since the object has no meter
}

// worker is a WaitUntil function that runs.
type worker struct {
	since time.Time
	pc    [1]uintptr // where WaitUntil was called
}

// newWorker returns the worker of a WaitUntil function. WaitUntil must call it directly: it skips as many callers.
func newWorker() *worker {
	w := &worker{since: time.Now()}
	runtime.Callers(3, w.pc[:])
	return w
}

// place returns the file and line that called WaitUntil, such as "room.go:12".
func (w *worker) place() string {
	frame, _ := runtime.CallersFrames(w.pc[:]).Next()
	if frame.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", frame.File[strings.LastIndexByte(frame.File, '/')+1:], frame.Line)
}

// sockets returns all sockets of the object, whichever way it accepted them.
func (o *object) sockets() (all []*Socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.conns.all {
		all = append(all, m.s)
	}
	for s := range o.guests {
		all = append(all, s)
	}
	return all
}
