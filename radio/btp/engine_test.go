package btp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/radio"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// side is an engine with a clock of its own.
type side struct {
	*engine
	t   testing.TB
	now time.Time
}

func newSide(t testing.TB, start phase, mtu, window int) *side {
	s := &side{t: t, now: t0}
	cfg := Config{Peer: radio.Addr{Transport: radio.BLE}, Now: func() time.Time { return s.now }, Window: window}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	s.engine = newEngine(start, mtu, cfg)
	return s
}

// gives is the next packet in hex, or nothing.
func (s *side) gives() string { return hex.EncodeToString(s.next(s.now)) }

func (s *side) wantNext(want string) {
	s.t.Helper()
	if got := s.gives(); got != strings.ReplaceAll(want, " ", "") {
		s.t.Fatalf("it sends %q, want %q", got, want)
	}
}

func (s *side) take(packet string) error { return s.receive(s.now, unhex(s.t, packet)) }

func (s *side) mustTake(packet string) {
	s.t.Helper()
	if err := s.take(packet); err != nil {
		s.t.Fatalf("packet %s: %v", packet, err)
	}
}

// client is one after a handshake in which the server chose segments of 20
// bytes and the given window.
func client(t testing.TB, window int) *side {
	t.Helper()
	s := newSide(t, asking, 23, window)
	s.wantNext(fmt.Sprintf("656c 04000000 1700 %02x", window))
	s.mustTake(fmt.Sprintf("656c 04 1400 %02x", window))
	return s
}

// server is one after the same handshake.
func server(t testing.TB, window int) *side {
	t.Helper()
	s := newSide(t, listening, 23, window)
	s.wantNext("")
	s.mustTake(fmt.Sprintf("656c 04000000 1700 %02x", window))
	s.wantNext(fmt.Sprintf("656c 04 1400 %02x", window))
	return s
}

// TestBytes is a short conversation to the byte: the sides' first sequence
// numbers differ, since the response counts as the server's first packet.
func TestBytes(t *testing.T) {
	c, s := client(t, 6), server(t, 6)
	c.send([]byte("abcdefghijklmnopqrstuvwxyz"))
	pass := func(from, to *side, packet string) {
		t.Helper()
		from.wantNext(packet)
		to.mustTake(packet)
	}
	pass(c, s, "09 00 00 1a00 6162636465666768696a6b6c6d6e6f")
	pass(c, s, "06 01 707172737475767778797a")
	c.wantNext("")
	if m := s.inbox.pop(); string(m) != "abcdefghijklmnopqrstuvwxyz" {
		t.Fatalf("the server got %q", m)
	}
	s.send([]byte("yes"))
	pass(s, c, "0d 01 01 0300 796573")
	if m := c.inbox.pop(); string(m) != "yes" {
		t.Fatalf("the client got %q", m)
	}
	s.wantNext("")
	c.wantNext("")
	c.now = c.now.Add(sendAckAfter)
	pass(c, s, "08 01 02")
}

func TestHandshake(t *testing.T) {
	tests := []struct {
		name      string
		own       int
		request   string
		response  string
		wantError bool // a version that both know is missing
	}{
		{"MTU with GATT's header", 247, "656c 04000000 f700 06", "656c 04 f400 06", false},
		{"MTU without it", 247, "656c 04000000 f400 06", "656c 04 f400 06", false},
		{"the client has less", 247, "656c 04000000 6400 06", "656c 04 6100 06", false},
		{"the client has more", 100, "656c 04000000 0502 06", "656c 04 6100 06", false},
		{"the client does not know", 185, "656c 04000000 0000 06", "656c 04 b600 06", false},
		{"the server does not know", 0, "656c 04000000 b900 06", "656c 04 b600 06", false},
		{"nobody knows", 0, "656c 04000000 0000 06", "656c 04 1400 06", false},
		{"less than possible", 247, "656c 04000000 0500 06", "656c 04 1400 06", false},
		{"more than possible", 517, "656c 04000000 0502 06", "656c 04 f400 06", false},
		{"smaller window", 23, "656c 04000000 1700 03", "656c 04 1400 03", false},
		{"larger window", 23, "656c 04000000 1700 ff", "656c 04 1400 06", false},
		{"4 among others", 23, "656c 65040000 1700 06", "656c 04 1400 06", false},
		{"4 behind a gap", 23, "656c 00000040 1700 06", "656c 04 1400 06", false},
		{"bytes behind it", 23, "656c 04000000 1700 06 0000", "656c 04 1400 06", false},
		{"no version", 23, "656c 00000000 1700 06", "656c 00 1400 06", true},
		{"other versions", 23, "656c 53210000 1700 06", "656c 00 1400 06", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSide(t, listening, tt.own, 6)
			s.mustTake(tt.request)
			s.wantNext(tt.response)
			if err := s.written(); errors.Is(err, errVersion) != tt.wantError {
				t.Errorf("after the response: %v", err)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	tests := []struct {
		response string
		segment  int
		window   int
	}{
		{"656c 04 f400 06", 244, 6},
		{"656c 04 f400 05", 244, 5},
		{"656c 04 f400 ff", 244, 6},
		{"656c 04 ffff 06", 244, 6},
		{"656c 04 0600 06", 6, 6},
		{"656c f4 f400 06", 244, 6}, // reserved bits
		{"656c 04 f400 06 00", 244, 6},
	}
	for _, tt := range tests {
		c := newSide(t, asking, 247, 6)
		c.gives()
		c.mustTake(tt.response)
		if c.phase != established || c.segment != tt.segment || c.window != tt.window {
			t.Errorf("%s: segment %d, window %d; want %d, %d", tt.response, c.segment, c.window, tt.segment, tt.window)
		}
	}
	c := newSide(t, asking, 100, 6)
	c.gives()
	c.mustTake("656c 04 f400 06")
	if c.segment != 97 {
		t.Errorf("segment %d at an MTU of 100", c.segment)
	}
}

// TestBreaches feeds a side that has just finished its handshake, with window
// 3 and segments of 20 bytes, packets of which the last must end the link, or
// must not when err is empty.
func TestBreaches(t *testing.T) {
	awaitingClient := func(t testing.TB, window int) *side {
		s := newSide(t, asking, 23, window)
		s.gives()
		return s
	}
	listeningServer := func(t testing.TB, window int) *side { return newSide(t, listening, 23, window) }
	answeringServer := func(t testing.TB, window int) *side {
		s := newSide(t, listening, 23, window)
		s.mustTake("656c 04000000 1700 03")
		return s
	}
	talkingClient := func(t testing.TB, window int) *side { // packets 0 and 1 are on their way
		s := client(t, window)
		s.send([]byte("x"))
		s.send([]byte("y"))
		s.gives()
		s.gives()
		return s
	}
	long := strings.Repeat("41", 18)
	tests := []struct {
		name    string
		side    func(testing.TB, int) *side
		packets string
		err     string
	}{
		{"nothing", client, "-", "ends within its header"},
		{"flags alone", client, "05", "ends within its header"},
		{"no length", client, "05 01 01", "ends within its header"},
		{"no number behind an acknowledgement", talkingClient, "08 01", "ends within its header"},
		{"acknowledgement cut off", talkingClient, "08", "ends within its header"},
		{"a second request", server, "656c 04000000 1700 06", "after the handshake"},
		{"a second response", client, "656c 04 1400 03", "after the handshake"},
		{"a management packet", client, "2d 6c 01 01 0100 41", "after the handshake"},
		{"neither segment nor acknowledgement", client, "00 01", "without a segment"},
		{"begins and continues", client, "07 01 0100 41", "begins and continues"},

		{"number too high", client, "05 02 0100 41", "packet 2 in the place of packet 1"},
		{"number from the server's start", client, "05 00 0100 41", "packet 0 in the place of packet 1"},
		{"number repeated", server, "05 00 0100 41/05 00 0100 41", "packet 0 in the place of packet 1"},
		{"number left out", server, "05 00 0100 41/05 02 0100 41", "packet 2 in the place of packet 1"},

		{"acknowledges what was not sent", client, "08 00 01", "packet 0, which is not on its way"},
		{"acknowledges the future", talkingClient, "08 02 01", "packet 2, which is not on its way"},
		{"acknowledges the past", server, "08 ff 00", "packet 255, which is not on its way"},
		{"acknowledges the distant past", talkingClient, "08 01 01/08 00 02", "packet 0, which is not on its way"},
		{"acknowledges all", talkingClient, "08 01 01", ""},
		{"acknowledges in two steps", talkingClient, "08 00 01/08 01 02", ""},
		{"acknowledges twice", talkingClient, "08 00 01/08 00 02/08 01 03", ""},

		{"window overrun", server, "05 00 0100 41/05 01 0100 41/05 02 0100 41/05 03 0100 41", "more packets"},
		{"window used up", server, "05 00 0100 41/05 01 0100 41/05 02 0100 41", ""},

		{"longer than agreed", client, "01 01 ff00 " + long + "414141", "25 bytes, 20 were"},
		{"longer by GATT's header", client, "01 01 ff00 " + long + "41", ""},
		{"message too long", client, "01 01 3006", "1584 bytes"},
		{"longest message", client, "01 01 2f06 " + long, ""},
		{"begins within another", client, "01 01 2000 41/01 02 2000 41", "begins within another"},
		{"continues nothing", client, "02 01 41", "has not begun"},
		{"ends nothing", client, "04 01 41", "has not begun"},
		{"continues what ended", client, "05 01 0100 41/02 02 41", "has not begun"},
		{"empty segment", client, "01 01 0200 41/02 02", "empty segment"},
		{"ends early", client, "05 01 0200 41", "after 1 bytes of 2"},
		{"ends early after two", client, "01 01 0300 41/06 02 42", "after 2 bytes of 3"},
		{"does not end", client, "01 01 0200 41/02 02 4243", "more segments"},
		{"does not end in one", client, "01 01 0100 4142", "more segments"},
		{"padded", client, "05 01 0100 414243", ""},
		{"ends without continuing", client, "01 01 0200 41/04 02 42", ""},
		{"empty message", client, "05 01 0000", ""},
		{"reserved flags", client, "95 01 0100 41", ""},
		{"bytes behind an acknowledgement", talkingClient, "08 01 01 ffff", ""},

		{"data before the request", listeningServer, "05 00 0100 41", "no handshake"},
		{"data before the response", awaitingClient, "05 01 0100 41", "no handshake"},
		{"data within the handshake", answeringServer, "05 00 0100 41", "middle of the handshake"},
		{"request cut off", listeningServer, "656c 04000000 1700", "ends within its header"},
		{"response cut off", awaitingClient, "656c 04 1400", "ends within its header"},
		{"a byte", awaitingClient, "65", "ends within its header"},
		{"wrong flags", listeningServer, "6d6c 04000000 1700 06", "no handshake"},
		{"wrong opcode", awaitingClient, "656d 04 1400 06", "no handshake"},
		{"request for no window", listeningServer, "656c 04000000 1700 00", "a window of no segments"},
		{"response with no window", awaitingClient, "656c 04 1400 00", "a window of no segments"},
		{"response with tiny segments", awaitingClient, "656c 04 0500 06", "segments of 5 bytes"},
		{"response with no version", awaitingClient, "656c 00 1400 06", "no version"},
		{"response with another version", awaitingClient, "656c 03 1400 06", "version 3"},
		{"response before the request", func(t testing.TB, w int) *side { return newSide(t, asking, 23, w) }, "656c 04 1400 06", "middle of the handshake"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.side(t, 3)
			packets := strings.Split(strings.Trim(tt.packets, "-"), "/")
			for _, p := range packets[:len(packets)-1] {
				s.mustTake(p)
			}
			err := s.take(packets[len(packets)-1])
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("it was refused: %v", err)
			case tt.err != "" && (!errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got %v, want a breach that says %q", err, tt.err)
			}
		})
	}
}

// TestEmptyAndPaddedMessages looks at what comes out of what is tolerated.
func TestEmptyAndPaddedMessages(t *testing.T) {
	c := client(t, 6)
	c.mustTake("05 01 0000")
	c.mustTake("05 02 0100 414243")
	if m := c.inbox.pop(); string(m) != "A" || c.inbox.pop() != nil {
		t.Errorf("got %q first", m)
	}
}

func TestAckTimes(t *testing.T) {
	after := func(s *side, d time.Duration, want string) {
		t.Helper()
		s.now = s.now.Add(d - 1)
		if at := s.deadline(s.now); !at.Equal(s.now.Add(1)) {
			t.Fatalf("the deadline is %v from now", at.Sub(s.now))
		}
		s.wantNext("")
		s.now = s.now.Add(1)
		s.wantNext(want)
	}
	c := client(t, 6)
	after(c, sendAckAfter, "08 00 00")

	// The first packet sets the time, not the last.
	s := server(t, 6)
	s.mustTake("05 00 0100 41")
	s.now = s.now.Add(time.Second)
	s.mustTake("05 01 0100 41")
	after(s, sendAckAfter-time.Second, "08 01 01")

	// With two slots left it is due at once, and in a window of 3 with one.
	for window, packets := range map[int]int{6: 4, 4: 2, 3: 2, 2: 1, 1: 1} {
		s := server(t, window)
		for i := range packets {
			s.wantNext("")
			s.mustTake(fmt.Sprintf("05 %02x 0100 41", i))
		}
		if window == 1 {
			s.wantNext("") // the response is not acknowledged, so there is no slot
			continue
		}
		s.wantNext(fmt.Sprintf("08 %02x 01", packets-1))
	}
}

func TestTimeouts(t *testing.T) {
	fails := func(s *side, in time.Duration) {
		t.Helper()
		s.now = s.now.Add(in - 1)
		if err := s.expire(s.now); err != nil {
			t.Fatalf("too early: %v", err)
		}
		s.now = s.now.Add(1)
		if err := s.expire(s.now); !errors.Is(err, ErrTimeout) {
			t.Fatalf("it says %v", err)
		}
	}
	fails(newSide(t, asking, 23, 6), handshakeTimeout)
	fails(server(t, 6), ackTimeout)

	s := server(t, 6) // each acknowledgement that says something new begins it anew
	s.send([]byte("x"))
	s.gives()
	s.now = s.now.Add(ackTimeout - 1)
	s.mustTake("08 00 00")
	s.now = s.now.Add(ackTimeout / 2)
	s.mustTake("08 00 01") // and this says nothing new
	fails(s, ackTimeout-ackTimeout/2)

	s = server(t, 6) // all is acknowledged: nothing to wait for
	s.mustTake("08 00 00")
	s.now = s.now.Add(time.Hour)
	if err := s.expire(s.now); err != nil {
		t.Errorf("an idle server says %v", err)
	}

	c := client(t, 6)
	c.idle = 10 * time.Second
	c.now = c.now.Add(idleTimeout - 1)
	c.mustTake("05 01 0100 41")
	fails(c, 10*time.Second)
}

// TestLastSlot keeps the last slot of the window for an acknowledgement.
func TestLastSlot(t *testing.T) {
	c := client(t, 3)
	for range 4 {
		c.send([]byte("x"))
	}
	c.wantNext("0d 00 00 0100 78")
	c.wantNext("05 01 0100 78")
	c.wantNext("")
	c.mustTake("05 01 0100 41") // now there is something to acknowledge
	c.wantNext("0d 01 02 0100 78")
	c.wantNext("")
	c.mustTake("05 02 0100 41")
	c.wantNext("") // full: not even an acknowledgement
	c.mustTake("08 02 03")
	c.wantNext("0d 03 03 0100 78")
}

// TestEveryLength sends messages of all lengths around the first segments'
// borders and checks that no packet but the last has room left.
func TestEveryLength(t *testing.T) {
	for _, mtu := range []int{23, 24, 100, 247} {
		c, s := newSide(t, asking, mtu, 255), newSide(t, listening, mtu, 255)
		if err := errors.Join(s.receive(t0, c.next(t0)), c.receive(t0, s.next(t0))); err != nil {
			t.Fatal(err)
		}
		flip := false
		for n := 1; n <= min(4*c.segment, MTU); n++ {
			if flip = n%2 == 0; flip { // with an acknowledgement in the first segment, and without
				s.now = s.now.Add(sendAckAfter)
				if err := c.receive(c.now, s.next(s.now)); err != nil {
					t.Fatal(err)
				}
			}
			m := bytes.Repeat([]byte{byte(n)}, n)
			c.send(m)
			for p := c.next(c.now); p != nil; p = c.next(c.now) {
				if len(p) > c.segment || !c.drained() && len(p) < c.segment {
					t.Fatalf("MTU %d: a packet of %d bytes of a message of %d", mtu, len(p), n)
				}
				if err := s.receive(s.now, p); err != nil {
					t.Fatalf("MTU %d, message of %d: %v", mtu, n, err)
				}
			}
			if got := s.inbox.pop(); !bytes.Equal(got, m) {
				t.Fatalf("MTU %d: a message of %d came as %d", mtu, n, len(got))
			}
		}
	}
}

// TestHeldAcknowledgements fills the queue of a side that nobody reads from.
func TestHeldAcknowledgements(t *testing.T) {
	s := server(t, 6)
	seq := byte(0)
	m := make([]byte, 10)
	for s.inbox.size+len(m)+queueOverhead < queueLimit {
		p := packet{flags: flagBeginning | flagEnding, seq: seq, length: len(m)}
		if err := s.receive(s.now, append(p.append(nil), m...)); err != nil {
			t.Fatal(err)
		}
		s.acked = true
		s.txOldest, s.ackBy = s.txNext, time.Time{}
		s.gives()
		seq++
	}
	s.txOldest = s.txNext
	p := packet{flags: flagBeginning | flagEnding, seq: seq, length: len(m)}
	if err := s.receive(s.now, append(p.append(nil), m...)); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Minute)
	s.wantNext("")
	if at := s.deadline(s.now); at.After(s.now) {
		t.Errorf("a timer is set for %v", at)
	}
	s.inbox.pop()
	if p := s.gives(); !strings.HasPrefix(p, "08") {
		t.Errorf("after room was made it sends %q", p)
	}
}
