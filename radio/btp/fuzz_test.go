package btp

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// FuzzPacket reads a packet, writes it again and reads that.
func FuzzPacket(f *testing.F) {
	for _, s := range []string{"05 01 0100 41", "01 ff 2f06", "0e 03 04 4142", "08 01 02", "656c 04 1400 06", "656c 04000000 1700 06", "09 00", ""} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := testing.AllocsPerRun(1, func() {
			parsePacket(b)
			parseRequest(b)
			parseResponse(b)
		}); n > 0 {
			t.Fatalf("%v allocations", n)
		}
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		again := append(p.append(nil), p.body...)
		if p.data() && !bytes.Equal(again, b) || !bytes.HasPrefix(b, again) || p.headerLen()+len(p.body) != len(again) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// FuzzEngine feeds a side what a peer could send: packets with a byte before
// each that has its length, or 0xff and what else happens in between.
func FuzzEngine(f *testing.F) {
	frame := func(packets ...string) (out []byte) {
		for _, p := range packets {
			if p == "" { // a second passes
				out = append(out, 0xff)
				continue
			}
			b := unhex(f, p)
			out = append(append(out, byte(len(b))), b...)
		}
		return out
	}
	f.Add(true, frame("656c 04 1400 06", "01 01 0500 4142", "", "06 02 434445", "", "", "08 00 03"))
	f.Add(false, frame("656c 04000000 1700 06", "0d 00 00 0100 41", "", "05 01 0100 41", "01 02 ff00 41", "02 03 42"))
	f.Add(false, frame("656c 04000000 1700 01", "08 00 00", "", "05 01 0100 41"))
	f.Add(false, frame("656c 53000000 1700 06"))
	f.Fuzz(func(t *testing.T, asClient bool, script []byte) {
		s := newSide(t, listening, 100, 6)
		if asClient {
			s = newSide(t, asking, 100, 6)
		}
		s.send(make([]byte, 200))
		for len(script) > 0 {
			n := int(script[0])
			script = script[1:]
			if n == 0xff {
				s.now = s.now.Add(time.Second)
				if s.expire(s.now) != nil {
					return
				}
				s.deadline(s.now)
			} else {
				n = min(n, len(script))
				err := s.receive(s.now, script[:n])
				script = script[n:]
				if err != nil {
					return
				}
			}
			for range 3 {
				if p := s.next(s.now); len(p) > maxSegment || s.phase == established && len(p) > max(s.segment, responseLen) {
					t.Fatalf("a packet of %d bytes", len(p))
				}
				if s.written() != nil {
					return
				}
			}
			if cap(s.assembly) > 2*maxMessage || s.outstanding() > s.window || s.owed > s.window && s.phase == established ||
				s.inbox.size > queueLimit+maxWindow*(maxSegment+queueOverhead) {
				t.Fatalf("out of bounds: %+v", s.engine)
			}
		}
	})
}

// FuzzConversation lets two sides talk in an order that the script decides,
// and sees that every message arrives.
func FuzzConversation(f *testing.F) {
	f.Add(uint16(23), uint8(6), uint8(6), []byte{0, 1, 2, 3, 4, 5, 6, 7, 0, 50, 9, 100, 2, 2, 2, 3, 3, 3})
	f.Add(uint16(247), uint8(1), uint8(255), []byte{0, 200, 1, 200, 2, 3, 4, 5, 2, 3, 4, 5, 2, 3, 4, 5, 7})
	f.Add(uint16(0), uint8(2), uint8(2), []byte{0, 255, 1, 255, 1, 7, 0, 9, 2, 3, 2, 3, 5, 4})
	f.Fuzz(func(t *testing.T, mtu uint16, window1, window2 uint8, script []byte) {
		if len(script) > 500 {
			return
		}
		mtu %= 518
		sides := [2]*side{newSide(t, asking, int(mtu), int(window1)), newSide(t, listening, int(mtu), int(window2))}
		var air [2][][]byte // to sides[i]
		var want [2][]int   // lengths
		now := t0
		step := func(op int) (moved bool) {
			i := op % 2
			s, other := sides[i], &air[1-i]
			s.now = now
			switch op / 2 {
			case 1: // write
				if p := s.next(now); p != nil {
					*other = append(*other, slices.Clone(p))
					return true
				}
			case 2: // read
				if len(air[i]) == 0 {
					return false
				}
				if err := s.receive(now, air[i][0]); err != nil {
					t.Fatal(err)
				}
				air[i] = air[i][1:]
				for m := s.inbox.pop(); m != nil; m = s.inbox.pop() {
					if len(want[i]) == 0 || len(m) != want[i][0] {
						t.Fatalf("a message of %d bytes, want %v", len(m), want[i])
					}
					want[i] = want[i][1:]
				}
				return true
			case 3:
				now = now.Add(time.Millisecond)
			}
			return false
		}
		for i := 0; i < len(script); i++ {
			if op := int(script[i] % 8); op < 2 && i+1 < len(script) {
				i++
				n := 1 + int(script[i])*5%MTU
				sides[op].send(make([]byte, n))
				want[1-op] = append(want[1-op], n)
			} else {
				step(op)
			}
		}
		idle := 0
		for ; len(want[0])+len(want[1]) > 0 && idle < 100; idle++ {
			for op := 2; op < 6; op++ {
				if step(op) {
					idle = 0
				}
			}
			if idle > 0 { // what is owed comes due
				now = now.Add(sendAckAfter)
			}
		}
		if idle == 100 {
			t.Fatalf("stuck with %v to come", want)
		}
	})
}

func BenchmarkEngine(b *testing.B) {
	c, s := newSide(b, asking, 247, 6), newSide(b, listening, 247, 6)
	s.receive(t0, c.next(t0))
	c.receive(t0, s.next(t0))
	m := make([]byte, 1000)
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	for b.Loop() {
		c.send(m)
		for s.inbox.size == 0 {
			for p := c.next(t0); p != nil; p = c.next(t0) {
				if err := s.receive(t0, p); err != nil {
					b.Fatal(err)
				}
			}
			for p := s.next(t0); p != nil; p = s.next(t0) {
				if err := c.receive(t0, p); err != nil {
					b.Fatal(err)
				}
			}
		}
		s.inbox.pop()
	}
}
