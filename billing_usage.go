package edgews

import "time"

// Usage is what has been used, in the units that price lists count. It is plain data: the difference of two readings of
// a meter is what was used in between.
//
// Sums wrap as integers do. A Duration ends after 292 years, which ten thousand sockets reach in eleven days. The
// difference of two readings is right all the same, as long as it is shorter than that itself. To bill a month of more than
// three thousand sockets that are always open, read the meter every day and give the differences to [Plan.BillSum]: the
// month as one Usage would have run over, and be billed as what is left of it.
type Usage struct {
	HTTPRequests  int64 // requests to objects that did not become a socket
	Connections   int64 // sockets that were opened by a peer
	MessagesIn    int64 // data messages received, other than those in AutoResponses
	MessagesOut   int64 // data messages sent, other than answers in AutoResponses
	AutoResponses int64 // messages that were answered without waking an object
	Alarms        int64 // runs of an alarm handler

	BytesIn, BytesOut int64 // payload bytes of data messages, uncompressed

	// MinuteBytes is summed over the minutes of each connection: the greater of the payload bytes of that minute, in and
	// out, and [MeterOptions.MinuteFloor]. It is for price lists that charge every minute of a connection for bandwidth or
	// for time, whichever is more.
	MinuteBytes int64

	Active    time.Duration // of each object the union of the intervals in which it was active, summed over objects
	Connected time.Duration // summed over connections
	Busy      time.Duration // time spent inside handlers
}

// Add returns the sum of both.
func (u Usage) Add(v Usage) Usage { return u.combine(v, 1) }

// Sub returns what u has beyond v.
func (u Usage) Sub(v Usage) Usage { return u.combine(v, -1) }

func (u Usage) combine(v Usage, sign int64) Usage {
	u.HTTPRequests += sign * v.HTTPRequests
	u.Connections += sign * v.Connections
	u.MessagesIn += sign * v.MessagesIn
	u.MessagesOut += sign * v.MessagesOut
	u.AutoResponses += sign * v.AutoResponses
	u.Alarms += sign * v.Alarms
	u.BytesIn += sign * v.BytesIn
	u.BytesOut += sign * v.BytesOut
	u.MinuteBytes += sign * v.MinuteBytes
	u.Active += time.Duration(sign) * v.Active
	u.Connected += time.Duration(sign) * v.Connected
	u.Busy += time.Duration(sign) * v.Busy
	return u
}
