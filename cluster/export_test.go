package cluster

// SetClockRate lets the clock of a node run faster or slower than that of the test.
func (o *Options) SetClockRate(rate float64) { o.clockRate = rate }
