package edgewsnats

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/nats-io/nats.go/jetstream"
)

// The layout, version 1. NAME is Options.Name, K the number of a stream of objects: the shard modulo their number. NS and KEY are in base64.
//
//	stream NAME-records: the last message of each subject counts
//	    NAME.records.config       the configuration
//	    NAME.records.member.ID    the record of a member, or that it has gone
//	    NAME.records.owner.SHARD  the record of a shard's owner
//	    NAME.records.sync         what a Watch waits for
//	stream NAME-objects-K
//	    NAME.objects.K.object.SHARD.NS.ID.head   the head of an object: see head.go
//	    NAME.objects.K.object.SHARD.NS.ID.part   parts of commits that are too large for one message
//	    NAME.objects.K.alarm.SHARD.NS.TIME.ID    an index of alarms, in which there may be some that are not set any more
type layout struct{ name string }

func (l layout) recordsStream() string   { return l.name + "-records" }
func (l layout) recordsSubjects() string { return l.name + ".records.>" }
func (l layout) configSubject() string   { return l.name + ".records.config" }
func (l layout) syncSubject() string     { return l.name + ".records.sync" }
func (l layout) memberSubject(id string) string {
	return l.name + ".records.member." + token(id)
}
func (l layout) ownerSubject(s cluster.Shard) string {
	return fmt.Sprintf("%s.records.owner.%d", l.name, s)
}

func (l layout) objectsStream(k int) string   { return fmt.Sprintf("%s-objects-%d", l.name, k) }
func (l layout) objectsSubjects(k int) string { return fmt.Sprintf("%s.objects.%d.>", l.name, k) }

// objectSubject is the beginning of the subjects of an object.
func (l layout) objectSubject(k int, s cluster.Shard, o edgews.ObjectKey) string {
	return fmt.Sprintf("%s.objects.%d.object.%d.%s.%s", l.name, k, s, token(o.Namespace), o.ID)
}

func (l layout) alarmSubject(k int, s cluster.Shard, o edgews.ObjectKey, at time.Time) string {
	return fmt.Sprintf("%s.objects.%d.alarm.%d.%s.%s.%s", l.name, k, s, token(o.Namespace), hex.EncodeToString(appendTime(nil, at)), o.ID)
}

// alarmSubjects selects the alarms of a namespace in one shard, or in all of a stream if shard is "*".
func (l layout) alarmSubjects(k int, shard, namespace string) string {
	return fmt.Sprintf("%s.objects.%d.alarm.%s.%s.>", l.name, k, shard, token(namespace))
}

// token returns a token of a subject for any text, the empty one too.
func token(s string) string { return "_" + base64.RawURLEncoding.EncodeToString([]byte(s)) }

// goneTTL is how long it can be read that a member has gone. A Watch that has not been able to read for so long may miss it.
const goneTTL = 24 * time.Hour

func (e *Engine) recordsConfig() jetstream.StreamConfig {
	l := layout{e.o.Name}
	c := e.streamConfig(l.recordsStream(), l.recordsSubjects())
	c.MaxMsgsPerSubject, c.AllowMsgTTL = 1, true
	return c
}

func (e *Engine) objectsConfig(k int) jetstream.StreamConfig {
	l := layout{e.o.Name}
	c := e.streamConfig(l.objectsStream(k), l.objectsSubjects(k))
	c.AllowAtomicPublish = true
	return c
}

func (e *Engine) streamConfig(name, subjects string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{subjects}, Description: "edgews",
		Storage: jetstream.FileStorage, Replicas: e.o.UnsafeReplicas,
		Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1,
		AllowDirect: false, // a follower may answer with what is out of date
	}
}

// ensureStream creates a stream if there is none, and checks the one that there is.
func (e *Engine) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, streamTimeout)
		s, err := e.js.Stream(attempt, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = e.js.CreateStream(attempt, want)
		}
		cancel()
		var refused *jetstream.APIError
		switch {
		case err == nil:
			return checkStream(s.CachedInfo().Config, want)
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // another process has created it meanwhile
		case errors.As(err, &refused) && refused.Code != codeUnavailable:
			return fmt.Errorf("%w: stream %s cannot be created: %w", ErrServer, want.Name, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// streamTimeout is how long the creation of a stream may take: it needs an election among its servers.
const streamTimeout = 10 * time.Second

func checkStream(got, want jetstream.StreamConfig) error {
	for _, c := range []struct {
		what      string
		got, want any
		ok        bool
	}{
		{"replicas", got.Replicas, want.Replicas, got.Replicas >= want.Replicas},
		{"storage", got.Storage, want.Storage, got.Storage == want.Storage},
		{"discard", got.Discard, want.Discard, got.Discard == want.Discard},
		{"allow_direct", got.AllowDirect, want.AllowDirect, got.AllowDirect == want.AllowDirect},
		{"allow_atomic", got.AllowAtomicPublish, want.AllowAtomicPublish, got.AllowAtomicPublish == want.AllowAtomicPublish},
		{"allow_msg_ttl", got.AllowMsgTTL, want.AllowMsgTTL, got.AllowMsgTTL == want.AllowMsgTTL},
		{"max_msgs_per_subject", got.MaxMsgsPerSubject, want.MaxMsgsPerSubject, got.MaxMsgsPerSubject == want.MaxMsgsPerSubject},
		{"max_age", got.MaxAge, want.MaxAge, got.MaxAge == want.MaxAge},
	} {
		if !c.ok {
			return fmt.Errorf("%w: stream %s has %s %v, and %v is needed", ErrServer, want.Name, c.what, c.got, c.want)
		}
	}
	return nil
}
