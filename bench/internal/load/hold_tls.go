//go:build linux

package load

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"sync"
)

// tlsAtOnce is the number of concurrent TLS handshakes.
const tlsAtOnce = 8

// tlsConns has the TLS connections, so that they are not garbage.
var tlsConns []*tls.Conn

func (h Hold) openTLS(last bool) error {
	tlsConns = make([]*tls.Conn, h.Conns)
	var (
		group sync.WaitGroup
		once  sync.Once
		first error
		slots = make(chan struct{}, tlsAtOnce)
	)
	for i := range tlsConns {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			c, err := h.dialTLS()
			if err != nil {
				once.Do(func() { first = fmt.Errorf("TLS connection %d: %w", i+1, err) })
			}
			tlsConns[i] = c
		})
	}
	group.Wait()
	if !last {
		for _, c := range tlsConns {
			if c != nil {
				_ = c.Close()
			}
		}
	}
	return first
}

// dialTLS opens one connection and waits for its first echo.
func (h Hold) dialTLS() (*tls.Conn, error) {
	c, err := tls.Dial("tcp", h.Target.Addr, &tls.Config{
		InsecureSkipVerify: true,                      // the certificate is made on the spot
		CurvePreferences:   []tls.CurveID{tls.X25519}, // others take more time and no more memory
	})
	if err != nil {
		return nil, err
	}
	if !h.Target.Raw {
		if err := handshake(c, h.Target); err != nil {
			return nil, err
		}
	}
	b := &Echo(h.Target.Raw, 128, 1).Batches[0]
	check := checker{raw: h.Target.Raw}
	check.begin()
	if _, err := c.Write(b.send); err != nil {
		return nil, err
	}
	buf := make([]byte, 512)
	for check.messages < len(b.want) {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if _, err := check.feed(b, buf[:n], nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func handshake(c io.ReadWriter, t Target) error {
	if _, err := c.Write(t.request()); err != nil {
		return err
	}
	head := make([]byte, 0, 1<<10)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		n, err := c.Read(head[len(head):cap(head)])
		if err != nil {
			return err
		}
		head = head[:len(head)+n]
	}
	return checkAnswer(head)
}
