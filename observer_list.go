package edgews

import "slices"

// Observers returns an Observer that calls each of list, in that order. Entries that are nil are skipped; it returns nil if none is left. If one
// panics, the others are not told of that event.
func Observers(list ...Observer) Observer {
	all := slices.DeleteFunc(slices.Clone(list), func(o Observer) bool { return o == nil })
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &observerList{all}
}

// observerList is the Observer of Observers. A pointer to it can be compared, so that sockets can share their options.
type observerList struct{ all []Observer }

func (l *observerList) ObserveSocket(o SocketObservation) {
	for _, each := range l.all {
		each.ObserveSocket(o)
	}
}

func (l *observerList) ObserveMessage(o MessageObservation) {
	for _, each := range l.all {
		each.ObserveMessage(o)
	}
}

func (l *observerList) ObserveObject(o ObjectObservation) {
	for _, each := range l.all {
		each.ObserveObject(o)
	}
}

func (l *observerList) ObserveRefusal(o RefusalObservation) {
	for _, each := range l.all {
		each.ObserveRefusal(o)
	}
}
