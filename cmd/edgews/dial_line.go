package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

const lineHelp = `Lines are sent as messages, except these:
  /ping                    send a ping and print how long its answer took
  /binary HEX              send a binary message
  /expect REGEXP           wait for a message that matches; those before it are passed over
  /wait DURATION           wait, for example 500ms
  /info                    print the addresses, the subprotocol and what waits to be sent
  /close [CODE [REASON]]   close the socket
  //TEXT                   send /TEXT
  /help                    print this`

// line deals with one line: it sends it, or runs the command in it. closed reports that the socket has been closed.
func (d *dial) line(ctx context.Context, text string) (closed bool, err error) {
	switch {
	case d.plain || d.whole || !strings.HasPrefix(text, "/"):
		return false, d.send(ctx, text)
	case strings.HasPrefix(text, "//"):
		return false, d.send(ctx, text[1:])
	}
	name, args, _ := strings.Cut(text, " ")
	switch args = strings.TrimSpace(args); name {
	case "/ping":
		return false, d.pingOnce(ctx)
	case "/binary":
		return false, d.sendHex(ctx, args)
	case "/expect":
		return false, d.expect(ctx, args)
	case "/wait":
		return false, d.waitFor(ctx, args)
	case "/info":
		s := d.socket
		d.print.note("%s, from %s to %s%s, %d bytes wait to be sent", s.ReadyState(), s.LocalAddr(), s.RemoteAddr(), agreed(s), s.BufferedAmount())
		return false, nil
	case "/close":
		return true, d.closeWith(args)
	case "/help":
		d.print.note("%s", lineHelp)
		return false, nil
	}
	return false, &usageError{err: fmt.Errorf("there is no command %s: /help lists them, // begins a message with a slash", quote(name))}
}

// send sends a message, of text unless -binary is set, and waits for room in the queue.
func (d *dial) send(ctx context.Context, text string) error {
	kind := edgews.Text
	if d.binary {
		kind = edgews.Binary
	}
	err := d.socket.Write(ctx, kind, []byte(text))
	if errors.Is(err, edgews.ErrInvalidUTF8) {
		return &usageError{err: fmt.Errorf("the input is not UTF-8 text; -binary sends bytes")}
	}
	return err
}

func (d *dial) sendHex(ctx context.Context, digits string) error {
	data, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		return &usageError{err: fmt.Errorf("/binary %s: %w", quote(digits), err)}
	}
	return d.socket.Write(ctx, edgews.Binary, data)
}

// expect waits up to -patience for a message that matches pattern.
func (d *dial) expect(ctx context.Context, pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return &usageError{err: fmt.Errorf("/expect: %w", err)}
	}
	expired := time.NewTimer(d.patience)
	defer expired.Stop()
	for {
		found, arrived := d.recent.take(re)
		if found {
			return nil
		}
		select {
		case <-arrived:
			continue
		default:
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return cause(ctx)
		case <-d.socket.Done():
			if found, _ := d.recent.take(re); found { // it may have arrived directly before the end
				return nil
			}
			return &unmetError{fmt.Sprintf("no message matches %s, and the socket has ended: %s", quote(pattern), endText(d.socket))}
		case <-expired.C:
			return &unmetError{fmt.Sprintf("no message has matched %s for %s", quote(pattern), d.patience)}
		}
	}
}

// endText says how s has ended.
func endText(s *edgews.Socket) string {
	if err := s.Err(); err != nil {
		return errorText(err)
	}
	return "it is open"
}

func (d *dial) waitFor(ctx context.Context, text string) error {
	pause, err := time.ParseDuration(text)
	if err != nil {
		return &usageError{err: fmt.Errorf("/wait %s: a duration is written as 500ms or 2s", quote(text))}
	}
	over := time.NewTimer(pause)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	case <-d.socket.Done():
	}
	return nil
}

// closeWith closes the socket with the code and the reason in args.
func (d *dial) closeWith(args string) error {
	code := int(edgews.StatusNormalClosure)
	digits, reason, _ := strings.Cut(args, " ")
	if digits != "" {
		var err error
		if code, err = strconv.Atoi(digits); err != nil || code < 0 || code > 4999 {
			return &usageError{err: fmt.Errorf("/close %s: a code is a number from 1000 to 4999", quote(digits))}
		}
	}
	err := d.close(edgews.StatusCode(code), reason)
	if errors.Is(err, edgews.ErrInvalidClose) || errors.Is(err, edgews.ErrInvalidUTF8) {
		return &usageError{err: err}
	}
	return err
}
