package server

import (
	"sync/atomic"
	"time"
)

// blockTime is how long the handler of a binary message sleeps with Block.
const blockTime = 20 * time.Millisecond

// received counts the binary messages that a server with Count or Block has handled.
var received atomic.Int64

// mixed reports whether a server treats text and binary messages differently.
func (w Work) mixed() bool { return w == Count || w == Block }

// answers does the work of a server with Count or Block for one message, and reports whether the message is to be sent back.
func (w Work) answers(text bool) bool {
	if text {
		return true
	}
	defer received.Add(1)
	if w == Count {
		return false
	}
	time.Sleep(blockTime)
	return true
}
