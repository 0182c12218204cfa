package edgews

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// currentEvent is the event of an object that runs, or ran last.
type currentEvent struct {
	handler string
	since   time.Duration // when it began, since processStart; 0: unknown, since the object has no meter
}

// backgroundFunc is a WaitUntil function that runs.
type backgroundFunc struct {
	since    time.Time
	callerPC [1]uintptr // where WaitUntil was called
}

// newBackgroundFunc returns the backgroundFunc of a WaitUntil function. WaitUntil must call it directly: it skips as many callers.
func newBackgroundFunc() *backgroundFunc {
	f := &backgroundFunc{since: time.Now()}
	runtime.Callers(3, f.callerPC[:])
	return f
}

// caller returns the file and line that called WaitUntil, such as "room.go:12".
func (f *backgroundFunc) caller() string {
	frame, _ := runtime.CallersFrames(f.callerPC[:]).Next()
	if frame.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", frame.File[strings.LastIndexByte(frame.File, '/')+1:], frame.Line)
}

// allSockets returns all sockets of the object, whichever way it accepted them.
func (o *object) allSockets() (all []*Socket) {
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
