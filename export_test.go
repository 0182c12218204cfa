package edgews

import "unsafe"

// The sizes that the tests of memory pin, in bytes.
const (
	SocketSize = unsafe.Sizeof(Socket{})
	WireSize   = unsafe.Sizeof(wire{})
)
