// Package edgewstest helps to test programs that use edgews: their handlers, their clients, and what they do when the network or the
// peer does something wrong. Everything runs in memory, without ports, and works inside a [testing/synctest] bubble, where hours pass
// in no time.
//
//   - [New] starts a server around any [net/http.Handler]. [Server.Dial] opens sockets to it. At the end of the test the server closes
//     what the test has opened, and reports handlers and sockets that still run.
//   - [Record] writes down what a socket does, one line for each event. [Recorder.Want] compares the lines with those that the test
//     expects, and shows a diff.
//   - [Faults] delay, hold, lose or chop the bytes of a connection, or end it, at an exact byte. [FaultConn] adds faults to a connection
//     of any kind.
//   - A [Peer] sends and receives frames, valid or not: as a client to a handler ([Server.DialPeer]), or as a server to a program that
//     dials ([NewFakeServer]). [Violations] are the ways in which a peer can break the protocol.
//
// A test of a handler:
//
//	func TestGreeting(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := edgewstest.New(t, handler())
//			s := srv.Dial("/greeting?name=Ada", nil)
//			rec := edgewstest.Record(t, s)
//			s.Accept()
//			rec.Want(`text "hello, Ada"`)
//			rec.WantNothing(4 * time.Minute)
//			rec.WantEnd(`close 1008 "idle" clean=true`)
//		})
//	}
//
// Code that takes a *edgews.Socket needs no server: give it one end of [edgews.NewPair], and record the other.
//
// The functions that take a [testing.TB] end the test when something that the test expects does not happen: they call FailNow, so
// they belong to the goroutine that runs the test. They wait for a minute, which is longer than the default time-outs of edgews, and in a
// bubble takes no time.
package edgewstest

import "time"

// patience is how long the functions of this package wait for what should happen. It is longer than the default time-outs of a socket:
// a peer that has vanished is noticed after 45 s.
const patience = time.Minute
