package edgewsnats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Error codes of JetStream.
const (
	codeUnavailable = 503 // the class of an error: no leader, no resources

	codeNoResources = 10023 // of the class above: the servers have no room
	codeStoreFailed = 10077 // of the class above: a stream has no room, or something else

	codeWrongSeq        = 10071 // the last message of the subject is another one than expected
	codeSeqInProcess    = 10164 // another message to the subject is under way, or was a moment ago: nothing is known about its number
	codeIncompleteBatch = 10176 // a message of the batch has been lost, perhaps because too many batches were under way
	codeTooManyBatches  = 10210
	codeNoMessage       = 10037
)

// apiError is an error that JetStream has answered with: what was asked for has not happened.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return fmt.Sprintf("edgews: NATS: %s (%d)", e.Description, e.ErrCode)
}

func isCode(err error, codes ...int) bool {
	var e *apiError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.ErrCode == code || e.Code == code {
			return true
		}
	}
	return false
}

// isRefusal reports whether err says for certain that nothing has happened.
func isRefusal(err error) bool {
	var e *apiError
	return errors.As(err, &e)
}

// isFull reports whether err says that there is no room: nothing has happened, and a repetition helps only after an operator has made room.
func isFull(err error) bool {
	var e *apiError
	if !errors.As(err, &e) {
		return false
	}
	return e.ErrCode == codeNoResources || e.ErrCode == codeStoreFailed && strings.HasPrefix(e.Description, "maximum ")
}

// retryPause is between two attempts.
const retryPause = 5 * time.Millisecond

// pause waits for a moment, or returns the error of ctx.
func pause(ctx context.Context) error {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lateEvery is after how long a request that is made again and again is logged, and how often.
const lateEvery = 10 * time.Second

// late logs that a request is made again and again.
type late struct {
	e        *Engine
	text, of string
	next     time.Time // when it is logged; zero: it has not failed yet
}

func (e *Engine) newLate(text, of string) late { return late{e: e, text: text, of: of} }

// failed notes that an attempt has failed.
func (l *late) failed(err error) {
	switch now := time.Now(); {
	case l.next.IsZero():
		l.next = now.Add(lateEvery)
	case now.After(l.next):
		l.next = now.Add(lateEvery)
		l.e.o.Logger.Warn(l.text, "of", l.of, "error", err)
	}
}

// message is a message of a stream.
type message struct {
	Subject string `json:"subject"`
	Seq     uint64 `json:"seq"`
	Data    []byte `json:"data"`
}

// get returns a message of a stream from its leader, and nil if there is none. It tries until ctx ends.
func (e *Engine) get(ctx context.Context, stream string, which any) (*message, error) {
	var answer struct {
		Message *message `json:"message"`
	}
	body, err := json.Marshal(which)
	if err != nil {
		return nil, err
	}
	err = e.ask(ctx, "$JS.API.STREAM.MSG.GET."+stream, body, &answer)
	if isCode(err, codeNoMessage) {
		return nil, nil
	}
	return answer.Message, err
}

func (e *Engine) getLast(ctx context.Context, stream, subject string) (*message, error) {
	return e.get(ctx, stream, map[string]any{"last_by_subj": subject})
}

func (e *Engine) getSeq(ctx context.Context, stream string, seq uint64) (*message, error) {
	return e.get(ctx, stream, map[string]any{"seq": seq})
}

// getNext returns the first message with that subject after a number.
func (e *Engine) getNext(ctx context.Context, stream, subject string, after uint64) (*message, error) {
	return e.get(ctx, stream, map[string]any{"seq": after + 1, "next_by_subj": subject})
}

// subjects returns the subjects of a stream that match a filter and have a message. It tries until ctx ends.
func (e *Engine) subjects(ctx context.Context, stream, filter string) (subjects []string, err error) {
	for {
		var answer struct {
			Total int `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		body, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": len(subjects)})
		if err != nil {
			return nil, err
		}
		if err := e.ask(ctx, "$JS.API.STREAM.INFO."+stream, body, &answer); err != nil {
			return nil, err
		}
		for subject := range answer.State.Subjects {
			subjects = append(subjects, subject)
		}
		if len(answer.State.Subjects) == 0 || len(subjects) >= answer.Total {
			return subjects, nil
		}
	}
}

// ask makes a request that does no harm when it is repeated, until there is an answer other than that there is no leader.
func (e *Engine) ask(ctx context.Context, subject string, body []byte, answer any) error {
	late := e.newLate("edgews: NATS: a request takes long; trying again", subject)
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		m, err := e.nc.RequestWithContext(attempt, subject, body)
		cancel()
		if err == nil {
			err = readAnswer(m.Data, answer)
			if !isCode(err, codeUnavailable) {
				return err
			}
		}
		if errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		late.failed(err)
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// readAnswer decodes an answer, or returns the error in it. It decodes each into a variable of its own, since an answer without an error has no
// field for it, which would leave the error of an earlier answer there.
func readAnswer(data []byte, answer any) error {
	var refused struct {
		Error *apiError `json:"error"`
	}
	err := json.Unmarshal(data, &refused)
	if err == nil && refused.Error != nil {
		return refused.Error
	}
	if err == nil {
		err = json.Unmarshal(data, answer)
	}
	if err != nil {
		return fmt.Errorf("edgews: NATS: answer that cannot be read: %w", err)
	}
	return nil
}

// ack is the answer to a message that has been stored.
type ack struct {
	Error *apiError `json:"error"`
	Seq   uint64    `json:"seq"`
}

// request sends a message to a stream once. If the error is no refusal, the outcome is unknown.
func (e *Engine) request(ctx context.Context, m *nats.Msg) (seq uint64, err error) {
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	answer, err := e.nc.RequestMsgWithContext(attempt, m)
	if err != nil {
		return 0, err
	}
	var a ack
	if err := json.Unmarshal(answer.Data, &a); err != nil {
		return 0, fmt.Errorf("edgews: NATS: answer to a message: %w", err)
	}
	if a.Error != nil {
		return 0, a.Error
	}
	return a.Seq, nil
}

// newMessage returns a message that is stored only if the last one of its subject has the number expected; 0: there is none.
func newMessage(subject string, body []byte, expected uint64) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header["Nats-Expected-Last-Subject-Sequence"] = []string{strconv.FormatUint(expected, 10)}
	return m
}
