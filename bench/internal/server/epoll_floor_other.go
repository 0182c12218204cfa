//go:build !linux

package server

import (
	"errors"
	"net"
)

func serveEpollFloor(net.Listener, Config) error {
	return errors.New("epoll is a part of Linux")
}
