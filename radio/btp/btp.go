// Package btp is the Bluetooth Transport Protocol: it carries Matter messages
// over the two characteristics of one GATT connection, in segments that are
// numbered, acknowledged and bounded by a window (Matter Core, "Bluetooth
// Transport Protocol (BTP)", 4.19). It plays both roles: Dial is the
// commissioner's, Accept the device's.
//
// It promises that messages arrive whole, once and in order, or that the Link
// ends and says why: a peer that breaks the protocol or falls silent is left
// within 18 seconds. It never touches Bluetooth itself, which is behind Bearer,
// and never reads what it carries.
package btp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/radio"
)

// Specification constants.
const (
	version    = 4
	gattHeader = 3   // of every write and indication, in bytes
	minSegment = 20  // what the smallest ATT MTU, 23, carries
	maxSegment = 244 // the longest segment, its header included
	maxWindow  = 255

	ackTimeout   = 15 * time.Second // until a segment is acknowledged
	sendAckAfter = 2500 * time.Millisecond
	// handshakeTimeout is 5 s in the specification. The SDK and matter.js
	// wait 15 s, because devices are known to need it.
	handshakeTimeout = 15 * time.Second
	// idleTimeout was 30 s before version 1.6 of the specification.
	idleTimeout = 60 * time.Second
)

// Limits of ours.
const (
	// MTU is the longest message we send, in bytes: that of every other link.
	MTU = 1232
	// maxMessage is the longest message we take, in bytes: the largest buffer
	// of any known implementation (rs-matter and the SDK have 1583).
	maxMessage = 1583

	defaultWindow = 6 // the SDK's own, so that more is of no use

	queueLimit    = 32 << 10 // bytes, of unread and of unsent messages each
	queueOverhead = 64       // what a queued message counts beyond its bytes

	lingerTimeout = 2 * time.Second // for what Send took before Close
)

// Why a Link ended, beside net.ErrClosed for one that was closed here.
var (
	ErrLost     = errors.New("the Bluetooth connection was lost")
	ErrTimeout  = errors.New("the other side of the Bluetooth connection fell silent")
	ErrProtocol = errors.New("the other side broke the Bluetooth transport protocol")
)

// A Bearer is one GATT connection. Read and Write may run at the same time,
// each once.
type Bearer interface {
	// Write writes p to characteristic C1 (client) or indicates it on C2
	// (server, once the client has subscribed) and returns when that was
	// confirmed. It does not keep p.
	Write(p []byte) error
	// Read returns the next value from the other side. Its bytes are the
	// caller's until the next Read. When the connection is gone it fails.
	Read() ([]byte, error)
	// MTU is the connection's ATT MTU, 23 to 517, or 0 when unknown.
	MTU() int
	// Close ends the connection and makes Read and Write return. It is called once.
	Close() error
}

// Config of a Link.
type Config struct {
	Peer   radio.Addr       // who is at the other side; of transport radio.BLE
	Now    func() time.Time // required
	Window int              // segments each side may have unacknowledged, 1 to 255; 0 means 6
	Idle   time.Duration    // how long Dial's Link lives without data; 0 means 60 s
}

func (c *Config) check() error {
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	if c.Idle == 0 {
		c.Idle = idleTimeout
	}
	switch {
	case c.Now == nil:
		return errors.New("no clock was given")
	case c.Peer.Transport != radio.BLE:
		return fmt.Errorf("%v is not a Bluetooth address", c.Peer)
	case c.Window < 1 || c.Window > maxWindow:
		return fmt.Errorf("a window of %d segments, 1 to %d are possible", c.Window, maxWindow)
	}
	return nil
}

// Dial opens a Link as the client, the commissioner. ctx bounds the handshake,
// and so do 15 s. The bearer is the Link's from the call on: it is closed on
// failure too.
func Dial(ctx context.Context, b Bearer, cfg Config) (*Link, error) {
	return open(ctx, b, cfg, asking)
}

// Accept opens a Link as the server, the device, once the client has asked for
// it; ctx says how long to wait for that. The bearer is the Link's from the
// call on: it is closed on failure too.
func Accept(ctx context.Context, b Bearer, cfg Config) (*Link, error) {
	return open(ctx, b, cfg, listening)
}
