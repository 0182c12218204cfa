package load

// Report is what came of a run.
type Report struct {
	Messages int // that came back
	Payload  int // bytes of them as they travelled, without the frames' headers
	Latency  Histogram
}
