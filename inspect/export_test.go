package inspect

import "time"

// Sample takes a sample of all sockets, at no pace.
func (i *Inspector) Sample() { i.sampleSockets(time.Now()) }

// CountObjects and SampleObjects do the same for objects.
func (i *Inspector) CountObjects()  { i.countObjects(time.Now()) }
func (i *Inspector) SampleObjects() { i.sampleObjects(time.Now()) }
