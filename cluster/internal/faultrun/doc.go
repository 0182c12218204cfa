// Package faultrun runs clusters of node processes under load, has faults happen to them, and checks what clients saw against what is
// stored. The tests of the engines use it: their binary becomes a node when Main finds that it has been started as one.
//
// The objects of a run are logs. A client's message is an entry with a name of its own. The object numbers it, stores it, and answers with the
// number. After a run must hold, whatever was killed, stopped or cut:
//
//   - an acknowledged entry is stored, with the number that was acknowledged
//   - no two entries have one number, and no entry is stored twice
//   - a socket of a node that was not killed is open, and each of its entries before the last acknowledged one is stored, in order
//   - tags and attachments of such a socket are those that the object has set
//   - each connection that has ended had one close event, with 1006 if its node was killed
package faultrun
