// Package hci lets a program that opens a Bluetooth adapter speak to a
// controller of ours instead: no kernel Bluetooth, no root, the program
// unchanged.
//
// Emulate makes an exec.Cmd run under a seccomp filter that hands its
// AF_BLUETOOTH system calls to us: socket, bind, setsockopt and the HCI
// ioctls. What the program then has is a socket that carries HCI packets to
// a Controller. It serves the user channel and swallows the control channel;
// L2CAP and management sockets of the kernel there are none.
//
// A program or test that emulates calls Child first thing in main or
// TestMain. Linux on amd64 and arm64; Available says whether the kernel can.
// Packets on a byte stream are framed as H4 (volume 4, part A).
//
// Production code never imports it.
package hci

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Controller is spoken to in whole HCI packets, type byte first.
type Controller interface {
	ReadPacket() ([]byte, error)
	WritePacket([]byte) error
	Close() error
}

// A Device opens the controller behind an adapter when a program binds to it.
type Device func() (Controller, error)

// Join carries packets between the two until either ends, and closes both.
func Join(a, b Controller) error {
	results := make(chan error, 2)
	carry := func(to, from Controller) {
		for {
			packet, err := from.ReadPacket()
			if err == nil {
				err = to.WritePacket(packet)
			}
			if err != nil {
				results <- err
				return
			}
		}
	}
	go carry(a, b)
	go carry(b, a)
	err := <-results
	a.Close()
	b.Close()
	<-results
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Packet types and the sizes of their headers behind the type byte.
var headers = map[byte]int{
	0x01: 3, // command
	0x02: 4, // ACL data
	0x03: 3, // synchronous data
	0x04: 2, // event
	0x05: 4, // isochronous data
}

// bodyLength is how many bytes follow a header, the type byte included in it.
func bodyLength(h []byte) int {
	switch h[0] {
	case 0x04:
		return int(h[2])
	case 0x02:
		return int(h[3]) | int(h[4])<<8
	case 0x05:
		return (int(h[3]) | int(h[4])<<8) & 0x3fff
	}
	return int(h[3])
}

// readPacket reads one packet from a byte stream.
func readPacket(r *bufio.Reader) ([]byte, error) {
	kind, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	size, known := headers[kind]
	if !known {
		return nil, fmt.Errorf("h4: packet of unknown type %#02x", kind)
	}
	header := make([]byte, 1+size)
	header[0] = kind
	if _, err := io.ReadFull(r, header[1:]); err != nil {
		return nil, unexpected(err)
	}
	packet := append(header, make([]byte, bodyLength(header))...)
	if _, err := io.ReadFull(r, packet[1+size:]); err != nil {
		return nil, unexpected(err)
	}
	return packet, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

type stream struct {
	rw io.ReadWriteCloser
	r  *bufio.Reader
	mu sync.Mutex
}

// Stream is a Controller at the other end of a byte stream, framed as H4.
func Stream(rw io.ReadWriteCloser) Controller { return &stream{rw: rw, r: bufio.NewReader(rw)} }

func (s *stream) ReadPacket() ([]byte, error) { return readPacket(s.r) }

func (s *stream) WritePacket(packet []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.rw.Write(packet)
	return err
}

func (s *stream) Close() error { return s.rw.Close() }
