package park

// BatchWriter is told the results of the writes that a [Batch] has taken.
type BatchWriter interface {
	// Wrote is called once for each write that Add has taken, with what TryWrite would have returned, and about the result of Now. It must
	// neither block nor call the program's code: the writes of other connections wait for it.
	Wrote(n int, err error, now uint32)
}
