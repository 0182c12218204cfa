// Package load makes work for a server and checks every byte that comes back, at little cost of its own: one thread, raw epoll,
// frames that were made beforehand, and no allocation per message.
package load
