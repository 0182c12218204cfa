package edgews

// messageUnits computes Usage.MessageUnitsIn and MessageUnitsOut of one connection.
type messageUnits struct{ in, out unitSum }

// sent returns how much MessageUnitsOut grows by a message that is sent, or a piece of one. Whole messages may come between the pieces of
// another one, because they count before they wait for its end.
func (u *messageUnits) sent(m *outgoing, unit int64) int64 {
	if m.first {
		if m.last {
			return unitsOf(int64(len(m.data)), unit)
		}
		u.out.bytes = 0
	}
	return u.out.add(m.last, len(m.data), unit)
}

// unitSum adds up the bytes of a message that comes in pieces.
type unitSum struct{ bytes int64 }

// add returns the units of the message if n bytes complete it, and otherwise 0.
func (s *unitSum) add(complete bool, n int, unit int64) (units int64) {
	s.bytes += int64(n)
	if complete {
		units, s.bytes = unitsOf(s.bytes, unit), 0
	}
	return units
}
