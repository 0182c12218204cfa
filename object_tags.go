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

	// ErrNotOwned: the socket is not one that this object has accepted with AcceptWebSocket and that has not ended.
	ErrNotOwned = errors.New("edgews: you must call AcceptWebSocket before using the socket with its object")
)

// checkTags returns tags without repetitions, in the order in which they first appear, as copies.
//
// Deviation: Workers refuse a repetition behind the tenth tag; the message says characters there and means bytes.
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

// Tags returns the tags of a socket that this object has accepted, in the order in which they were given; the slice is
// the caller's. It works until WebSocketClose has returned, and is ErrNotOwned for any other socket.
func (st *State) Tags(s *Socket) ([]string, error) {
	m, err := st.objectSocket(s)
	if err != nil {
		return nil, err
	}
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if m.removed {
		return nil, ErrNotOwned
	}
	return slices.Clone(m.tags), nil
}

// SetTags gives a socket other tags in place of all that it had; none removes them. The rules are those of
// AcceptWebSocket. With an error the old ones stay.
//
// Workers cannot change tags.
func (st *State) SetTags(s *Socket, tags ...string) error {
	tags, err := checkTags(tags)
	if err != nil {
		return err
	}
	m, err := st.objectSocket(s)
	if err != nil {
		return err
	}
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if m.removed {
		return ErrNotOwned
	}
	st.o.registry.untag(m)
	st.o.registry.tag(m, tags)
	return nil
}

// member returns the member that s is to this object.
func (st *State) objectSocket(s *Socket) (*objectSocket, error) {
	if err := st.checkNotDropped(); err != nil {
		return nil, err
	}
	if m := objectSocketOf(s); m != nil && m.o == st.o {
		return m, nil
	}
	return nil, ErrNotOwned
}
