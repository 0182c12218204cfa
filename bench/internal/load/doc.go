// Package load generates load for a server and checks every byte of the answers. It uses little CPU time itself: one thread, raw
// epoll, frames that are made in advance, and no allocation per message.
package load
