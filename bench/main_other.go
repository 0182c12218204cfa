//go:build !linux

// Bench measures edgews beside other WebSocket servers. It needs Linux: epoll, and what the kernel knows about processes.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: this comparison needs Linux")
	os.Exit(1)
}
