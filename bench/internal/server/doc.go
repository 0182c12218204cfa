// Package server has the servers that are measured, one file each: edgews, the other Go libraries as in their READMEs and in
// tuned variants, and two servers that echo bytes without parsing them, the floors.
//
// Some are proxies: they forward connections to another server.
//
// All servers do the same work: they send each message back, or to all connections. None logs, checks origins or sets time limits beyond
// its defaults.
package server
