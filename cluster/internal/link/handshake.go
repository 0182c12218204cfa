package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
)

// hello is what the dialling end says of itself, as JSON, so that versions to come can add to it.
type hello struct {
	Cluster     string    `json:"cluster"`
	ID          string    `json:"id"`
	Incarnation uint64    `json:"incarnation"`
	Addr        string    `json:"addr"`
	Versions    [2]uint16 `json:"versions"`
	Session     string    `json:"session"`
	Resume      bool      `json:"resume"` // the session has had a connection
	Nonce       []byte    `json:"nonce"`
	Limits      limits    `json:"limits"`
}

// welcome is the answer to a hello.
type welcome struct {
	Cluster     string `json:"cluster"`
	ID          string `json:"id"`
	Incarnation uint64 `json:"incarnation"`
	Version     uint16 `json:"version"` // of all frames after the handshake
	Nonce       []byte `json:"nonce"`
	Limits      limits `json:"limits"`
}

// Codes of refusals.
const (
	refuseCluster     uint16 = 1 // another cluster
	refuseVersion     uint16 = 2 // no common version
	refuseAuth        uint16 = 3 // the proof is wrong, or there is none
	refuseSession     uint16 = 4 // the session that the dialling end wants to go on with is not known
	refuseNotAdmitted uint16 = 5 // Options.Admit returned false
	refuseClosed      uint16 = 6 // the manager has been closed
)

const (
	// maxHandshakeFrame is the largest payload of a frame of the handshake, in bytes.
	maxHandshakeFrame = 4 << 10
	// handshakeVersion is the version byte of the handshake's frames, in every version.
	handshakeVersion = 1
)

// handshake exchanges frames on a connection whose peer is not known yet.
type handshake struct {
	net.Conn
	decoder  decoder
	secret   []byte
	exporter []byte // bytes that only the two ends of the TLS connection know; nil without TLS
	hello    []byte // as it was sent
	welcome  []byte
}

func (h *handshake) send(kind frameType, code uint16, payload []byte) error {
	_, err := h.Write(appendFrame(nil, &frame{version: handshakeVersion, kind: kind, code: code, payload: payload}))
	return err
}

// receive returns the payload of the next frame, which must be of the kind.
func (h *handshake) receive(kind frameType) ([]byte, error) {
	h.decoder.limit = maxHandshakeFrame
	var f frame
	for {
		complete, err := h.decoder.next(&f)
		if err != nil {
			return nil, err
		}
		if complete {
			break
		}
		n, err := h.Read(h.decoder.space())
		if err != nil {
			return nil, err
		}
		h.decoder.advance(n)
	}
	switch f.kind {
	case kind:
		return append([]byte(nil), f.payload...), nil
	case typeRefuse:
		return nil, refusal(f.code, f.payload)
	}
	return nil, fmt.Errorf("%w: a frame of type %d in the handshake, want %d", ErrProtocol, f.kind, kind)
}

func refusal(code uint16, reason []byte) error {
	switch code {
	case refuseAuth:
		return fmt.Errorf("%w: the peer says so", ErrAuth)
	case refuseSession:
		return ErrSessionLost
	}
	return fmt.Errorf("%w: code %d, %q", ErrRefused, code, reason)
}

// refuse tells the peer why there is no connection and returns the error.
func (h *handshake) refuse(code uint16, err error) error {
	return errors.Join(err, h.send(typeRefuse, code, []byte(err.Error())))
}

// prove returns the proof that an end knows the secret. It covers who speaks, the TLS connection, and everything that both ends have said.
func (h *handshake) prove(role string) []byte {
	if len(h.secret) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, h.secret)
	for _, part := range [][]byte{[]byte("edgews link"), []byte(role), h.exporter, h.hello, h.welcome} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// check receives the peer's proof.
func (h *handshake) check(role string) error {
	proof, err := h.receive(typeProof)
	if err != nil {
		return err
	}
	if !hmac.Equal(proof, h.prove(role)) {
		return h.refuse(refuseAuth, ErrAuth)
	}
	return nil
}

const (
	roleDialer   = "dialer"
	roleAcceptor = "acceptor"
)

// dial is the first part of the dialling end's handshake. It returns what the peer says of itself, which it has proved.
func (h *handshake) dial(own hello) (welcome, error) {
	var w welcome
	var err error
	if h.hello, err = json.Marshal(own); err != nil {
		return w, err
	}
	if err := h.send(typeHello, 0, h.hello); err != nil {
		return w, err
	}
	if h.welcome, err = h.receive(typeWelcome); err != nil {
		return w, err
	}
	if err := h.check(roleAcceptor); err != nil {
		return w, err
	}
	if err := json.Unmarshal(h.welcome, &w); err != nil {
		return w, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	switch {
	case w.Cluster != own.Cluster:
		return w, h.refuse(refuseCluster, fmt.Errorf("%w: the peer is of the cluster %q", ErrRefused, w.Cluster))
	case w.Version < own.Versions[0] || w.Version > own.Versions[1]:
		return w, h.refuse(refuseVersion, fmt.Errorf("%w: version %d", ErrProtocol, w.Version))
	}
	return w, w.Limits.check()
}

// confirm is the last part of the dialling end's handshake, after the peer has turned out to be the one that was meant.
func (h *handshake) confirm() error {
	if err := h.send(typeProof, 0, h.prove(roleDialer)); err != nil {
		return err
	}
	_, err := h.receive(typeReady)
	return err
}

// accept is the accepting end's handshake, but for its end: the caller sends a ready or a refusal. The peer has proved what it says.
func (h *handshake) accept(own welcome, versions [2]uint16) (hello, welcome, error) {
	var said hello
	var err error
	if h.hello, err = h.receive(typeHello); err != nil {
		return said, own, err
	}
	if err := json.Unmarshal(h.hello, &said); err != nil {
		return said, own, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if said.Cluster != own.Cluster {
		return said, own, h.refuse(refuseCluster, fmt.Errorf("%w: the peer is of the cluster %q", ErrRefused, said.Cluster))
	}
	own.Version = min(said.Versions[1], versions[1])
	if own.Version < max(said.Versions[0], versions[0]) {
		return said, own, h.refuse(refuseVersion, fmt.Errorf("%w: the peer speaks the versions %d to %d, this end %d to %d",
			ErrRefused, said.Versions[0], said.Versions[1], versions[0], versions[1]))
	}
	if h.welcome, err = json.Marshal(own); err != nil {
		return said, own, err
	}
	if err := h.send(typeWelcome, 0, h.welcome); err != nil {
		return said, own, err
	}
	if err := h.send(typeProof, 0, h.prove(roleAcceptor)); err != nil {
		return said, own, err
	}
	if err := h.check(roleDialer); err != nil {
		return said, own, err
	}
	if said.ID == "" || said.Incarnation == 0 || said.Session == "" {
		return said, own, fmt.Errorf("%w: a hello without an ID, an incarnation or a session", ErrProtocol)
	}
	return said, own, said.Limits.check()
}

// newSession returns the name of a session.
func newSession() string { return rand.Text() }

func newNonce() []byte {
	nonce := make([]byte, 32)
	rand.Read(nonce) // never fails
	return nonce
}
