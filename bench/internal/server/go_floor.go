package server

import (
	"net"

	"github.com/gobwas/ws"
)

func serveGoFloor(l net.Listener, c Config) error {
	if c.Work == Broadcast {
		return accept(l, goFloorBroadcast(new(broadcastGroup[net.Conn])))
	}
	return accept(l, func(conn net.Conn) {
		buf := make([]byte, c.buffer())
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	})
}

// goFloorBroadcast parses the lengths of frames, since a broadcast is one write for each message to each connection.
func goFloorBroadcast(all *broadcastGroup[net.Conn]) func(net.Conn) {
	return func(conn net.Conn) {
		all.add(conn)
		var in splitter
		buf := make([]byte, 4<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			in.split(buf[:n], func(frame []byte) {
				all.send(func(conn net.Conn) { _, _ = conn.Write(frame) })
			})
		}
	}
}

// splitter cuts a stream into frames of less than 64 KiB.
type splitter struct{ rest []byte }

func (s *splitter) split(p []byte, each func(frame []byte)) {
	p = append(s.rest, p...)
	for {
		n := frameSize(p)
		if n == 0 || n > len(p) {
			break
		}
		each(p[:n])
		p = p[n:]
	}
	s.rest = append(s.rest[:0], p...)
}

// frameSize returns the size of the masked frame at the beginning of p, or 0 if p is too short for its header.
func frameSize(p []byte) int {
	if len(p) < ws.MinHeaderSize+2 {
		return 0
	}
	const header, mask = 2, 4
	if n := int(p[1] & 0x7f); n < 126 {
		return header + mask + n
	}
	return header + 2 + mask + int(p[2])<<8 + int(p[3])
}
