package edgews

// signal wakes all goroutines that wait for a change of state. The zero value is ready to use. The mutex that guards the state must be
// held when its methods are called.
type signal struct{ ch chan struct{} }

// wait returns a channel that the next broadcast closes.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// broadcast closes the channel that wait has returned since the last broadcast, if any.
func (s *signal) broadcast() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
