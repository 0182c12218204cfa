package load

// Report is the result of a run.
type Report struct {
	Messages int // that were answered
	Payload  int // bytes of the answers on the wire, without frame headers
	Latency  Histogram
}
