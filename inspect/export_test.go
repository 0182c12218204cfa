package inspect

import "time"

// Sample takes a sample of all sockets, at no pace.
func (i *Inspector) Sample() { i.sampleSockets(time.Now()) }
