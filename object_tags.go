package edgews

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxTags    = 10
	maxTagSize = 256 // in bytes
)

var (
	// ErrTooManyTags: a socket carries at most 10 tags.
	ErrTooManyTags = errors.New("edgews: a hibernatable WebSocket cannot have more than 10 tags")

	// ErrTagTooLong: a tag has at most 256 bytes.
	ErrTagTooLong = errors.New("edgews: tag is too long")

	// ErrNotOwned: the object has not accepted the socket with AcceptWebSocket, or the socket has ended.
	ErrNotOwned = errors.New("edgews: you must call AcceptWebSocket before using the socket with its object")
)

// checkTags returns copies of tags without repetitions, in the order in which they first appear.
//
// Deviation: Workers also refuse a repetition behind the tenth tag. Their message says characters and means bytes.
func checkTags(tags []string) ([]string, error) {
	var distinct []string
	for _, t := range tags {
		if len(t) > maxTagSize {
			return nil, fmt.Errorf("%w: %q is longer than the max tag length (%d bytes)", ErrTagTooLong, t, maxTagSize)
		}
		if slices.Contains(distinct, t) {
			continue
		}
		if len(distinct) == maxTags {
			return nil, ErrTooManyTags
		}
		distinct = append(distinct, strings.Clone(t))
	}
	return distinct, nil
}

// Tags returns the tags of a socket that this object has accepted with AcceptWebSocket, in the order in which they were given. The slice is
// the caller's. The error is ErrNotOwned for any other socket, and once WebSocketClose has returned.
func (st *State) Tags(s *Socket) ([]string, error) {
	sock, err := st.objectSocket(s)
	if err != nil {
		return nil, err
	}
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if sock.removed {
		return nil, ErrNotOwned
	}
	return slices.Clone(sock.tags), nil
}

// SetTags replaces all tags of a socket; without tags it removes them. The rules are those of AcceptWebSocket. With an error the old tags
// stay.
//
// Deviation: Workers cannot change tags.
func (st *State) SetTags(s *Socket, tags ...string) error {
	tags, err := checkTags(tags)
	if err != nil {
		return err
	}
	sock, err := st.objectSocket(s)
	if err != nil {
		return err
	}
	if !st.o.retag(sock, tags) {
		return ErrNotOwned
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := clusterSocketOf(s); c != nil {
		c.describeLocked()
	}
	return nil
}

// retag replaces the tags of a socket of the object. It returns false if the object does not list the socket any more.
func (o *object) retag(sock *objectSocket, tags []string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if sock.removed {
		return false
	}
	o.registry.untag(sock)
	o.registry.tag(sock, tags)
	return true
}

// objectSocket returns what this object knows of s, or ErrNotOwned if it has not accepted s.
func (st *State) objectSocket(s *Socket) (*objectSocket, error) {
	if err := st.checkNotDropped(); err != nil {
		return nil, err
	}
	if sock := objectSocketOf(s); sock != nil && sock.o == st.o {
		return sock, nil
	}
	return nil, ErrNotOwned
}
