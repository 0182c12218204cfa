// Package server holds the servers that are measured, one file each: edgews, the other Go libraries as their README shows
// them and as well as they can be tuned, and two that echo bytes without parsing them, the floors.
//
// All do the same work: send every message back, or to everybody. None logs, checks origins or sets time limits beyond
// what it does by default.
package server
