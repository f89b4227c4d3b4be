// Package wire is what the daemon and the radio process say to each other
// over a unix socket: frames of a length, two bytes, most significant first,
// and one Message in CBOR.
//
// The two sides are one binary, but of one machine's memory only one of them
// is trusted: whatever a hostile device has made of the radio process, the
// daemon reads frames of at most MaxFrame bytes, whose fields are bounded and
// whose Kind may come from that side. Both begin with Hello; a radio that
// speaks another Version is not used.
package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Version is of the messages; any change makes a new one.
const Version = 1

// Patience is how long a radio process does without a Ping before it ends:
// the daemon hangs, or its end of the socket was inherited by somebody.
const Patience = 15 * time.Second

// Limits.
const (
	MaxFrame = 2048 // bytes of an encoded message
	MaxData  = 512  // bytes: the longest attribute value, and more than any advertisement
	MaxText  = 512  // bytes; what is longer is cut by the sender
)

// Kind says what a Message is.
type Kind uint8

// From the daemon.
const (
	// Ping wants a Pong of its ID once the adapter has answered a command.
	// A radio that hears nothing for Patience ends.
	Ping Kind = iota + 1
	// Scan turns scanning on or off. Done answers it.
	Scan
	// Connect asks for a connection to Peer, to be known as Conn. Connected
	// answers it, or Closed.
	Connect
	// Write writes Data to C1 of Conn; the first one also subscribes to C2.
	// Done answers it.
	Write
	// Close ends Conn, or the attempt at it. Closed answers it.
	Close
)

// From the radio.
const (
	Pong Kind = iota + 32
	// Done answers the request ID; Code says how it went.
	Done
	// Connected answers Connect, with the connection's MTU.
	Connected
	// Indication is a value of C2 of Conn.
	Indication
	// Closed says that Conn is no more, and why. It is its last message.
	Closed
	// Report is an advertisement.
	Report
	// Fault says why the radio cannot work. It is its last message.
	Fault
)

// Hello is the first message of each side, with its Version.
const Hello Kind = 64

// Code is how something went.
type Code uint8

const (
	OK           Code = iota
	Failed            // Text says more
	NoAdapter         // there is none, or no Bluetooth in the kernel
	NotPermitted      // to open the adapter
	Busy              // another program has the adapter
	Unreachable       // the device was not heard, or did not answer in time
	Lost              // the connection ended from outside
)

// Message is one message. Which fields have a meaning goes with its Kind.
type Message struct {
	Kind    Kind    `cbor:"0,keyasint"`
	ID      uint32  `cbor:"1,keyasint,omitempty"` // of a request and its answer
	Conn    uint32  `cbor:"2,keyasint,omitempty"` // of a connection; the daemon numbers them and uses no number twice
	Version uint8   `cbor:"3,keyasint,omitempty"`
	On      bool    `cbor:"4,keyasint,omitempty"`
	Peer    Address `cbor:"5,keyasint,omitzero"`
	RSSI    int8    `cbor:"6,keyasint,omitempty"` // dBm
	MTU     uint16  `cbor:"7,keyasint,omitempty"` // bytes
	Data    []byte  `cbor:"8,keyasint,omitempty"`
	Code    Code    `cbor:"9,keyasint,omitempty"`
	Text    string  `cbor:"10,keyasint,omitempty"`
}

// ErrMalformed is wrapped by what Read fails with when the other side broke
// the protocol.
var ErrMalformed = errors.New("malformed message")

var (
	encoding = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode())
	decoding = must(cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxArrayElements: 16, MaxMapPairs: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField}.DecMode())
)

func must[M any](m M, err error) M {
	if err != nil {
		panic(err)
	}
	return m
}

// Decode reads the body of a frame.
func Decode(b []byte) (Message, error) {
	var m Message
	if len(b) > MaxFrame {
		return m, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	if err := decoding.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(m.Data) > MaxData || len(m.Text) > MaxText {
		return m, fmt.Errorf("%w: %d bytes of data and %d of text", ErrMalformed, len(m.Data), len(m.Text))
	}
	return m, nil
}

// Encode is the inverse of Decode. It cuts Text.
func Encode(m Message) ([]byte, error) {
	if len(m.Data) > MaxData {
		return nil, fmt.Errorf("a message of %d bytes, %d are possible", len(m.Data), MaxData)
	}
	m.Text = string(bytes.ToValidUTF8([]byte(m.Text[:min(len(m.Text), MaxText-3)]), nil))
	return encoding.Marshal(m)
}

// Conn is one side of the socket. Send may be called from several goroutines,
// Read from one.
type Conn struct {
	rwc io.ReadWriteCloser
	r   *bufio.Reader
	buf [MaxFrame]byte

	mu sync.Mutex
}

// NewConn speaks over a stream.
func NewConn(rwc io.ReadWriteCloser) *Conn { return &Conn{rwc: rwc, r: bufio.NewReader(rwc)} }

// Read returns the next message, io.EOF when the other side has closed.
func (c *Conn) Read() (Message, error) {
	var size [2]byte
	if _, err := io.ReadFull(c.r, size[:]); err != nil {
		return Message{}, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > MaxFrame {
		return Message{}, fmt.Errorf("%w: a frame of %d bytes", ErrMalformed, n)
	}
	if _, err := io.ReadFull(c.r, c.buf[:n]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	return Decode(c.buf[:n])
}

// Send writes a message.
func (c *Conn) Send(m Message) error {
	body, err := Encode(m)
	if err != nil {
		return err
	}
	frame := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(body)), uint16(len(body))), body...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.rwc.Write(frame)
	return err
}

// Close closes the stream.
func (c *Conn) Close() error { return c.rwc.Close() }
