package conformance

import (
	"slices"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// The Autobahn test suite, as Go tables with its case numbers. Upstream is a Python 2 program, which is the client of an
// echo server (fuzzingclient) and the server of an echo client (fuzzingserver). Here a rawPeer is both. The expected results are
// those that upstream reports as OK; its NON-STRICT and INFORMATIONAL are failures where a better result exists.
//
// As in upstream, 7.2, 7.4, 7.6, 7.8, 7.10–7.12, 8 and 11 have no cases, and 9.9 and 9.10 are never run.

// autobahnCase has the frames that the peer sends and the expected ones.
type autobahnCase struct {
	id   string
	chop int        // octets per write; 0: all at once
	send []rawFrame // by the peer
	want []rawFrame // exactly these frames, then the end
	end  caseEnd
}

// caseEnd is the end of a case.
type caseEnd struct {
	peerCloses bool   // the peer closes with 1000 after the last expected frame; otherwise the sent frames make edgews close
	code       uint16 // the code in edgews' Close; 0: none
	// The close event of the edgews socket.
	event edgews.StatusCode
	clean bool
}

// closedByPeer is a closing handshake that the peer begins after the last expected frame.
var closedByPeer = caseEnd{true, 1000, 1000, true}

// fails is the end of a connection that edgews has to fail.
func fails(code uint16) caseEnd { return caseEnd{false, code, edgews.StatusCode(code), false} }

// closed is the answer to a Close among the frames of the peer.
func closed(code uint16) caseEnd {
	if code == 0 {
		return caseEnd{false, 0, edgews.StatusNoStatusRcvd, true}
	}
	return caseEnd{false, code, edgews.StatusCode(code), true}
}

// scenario is a case of any kind.
type scenario interface {
	number() string
	run(t *testing.T, s subject)
}

func TestAutobahn(t *testing.T) {
	play(t, subjects(t, edgews.Options{}), slices.Concat(
		scenarios(framing), scenarios(pings), scenarios(reservedBits), scenarios(opcodes),
		scenarios(fragmentation), []scenario{fragmentationWithWait},
		scenarios(utf8Handling()), scenarios(utf8FailFast),
		scenarios(closeHandling), scenarios(limits()), scenarios(roundTrips()), scenarios(misc)))
}

// play runs each case with edgews in both roles.
func play(t *testing.T, subjects map[string]subject, cases []scenario) {
	for _, c := range cases {
		t.Run(c.number(), func(t *testing.T) {
			for role, s := range subjects {
				t.Run(role, func(t *testing.T) { c.run(t, s) })
			}
		})
	}
}

func scenarios[S scenario](table []S) (list []scenario) {
	for _, c := range table {
		list = append(list, c)
	}
	return list
}

func (c autobahnCase) number() string { return c.id }

func (c autobahnCase) run(t *testing.T, s subject) {
	p, socket := s.connect(t, "")
	sent := make(chan error, 1)
	go func() { sent <- p.write(c.send, c.chop) }()
	for _, f := range c.want {
		p.expect(f)
	}
	if c.end.peerCloses {
		require.NoError(t, <-sent)
	}
	c.end.play(p, socket)
}

// scripted is a case that a table cannot express, for example because it waits in between.
type scripted struct {
	id     string
	script func(p *rawPeer)
	end    caseEnd
}

func (c scripted) number() string { return c.id }

func (c scripted) run(t *testing.T, s subject) {
	p, socket := s.connect(t, "")
	c.script(p)
	c.end.play(p, socket)
}

// play ends the connection and checks both ends.
func (e caseEnd) play(p *rawPeer, s *edgews.Socket) {
	p.t.Helper()
	if e.peerCloses {
		p.send(closeWith(1000, ""))
	}
	p.expectClose(e.code)
	p.expectEnd()
	<-s.Done()
	var how *edgews.CloseError
	require.ErrorAs(p.t, s.Err(), &how)
	require.Equal(p.t, e.event, how.Code)
	require.Equal(p.t, e.clean, how.WasClean)
}
