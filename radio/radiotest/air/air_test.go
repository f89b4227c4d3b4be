package air

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// host is the least that a controller can be spoken to by.
type host struct {
	t    *testing.T
	ctrl *Controller
	port *Port
}

func attach(t *testing.T, a *Air) *host {
	c := a.Controller()
	port, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return &host{t, c, port}
}

// read is the next packet, or nil if none comes within the time.
func (h *host) read(within time.Duration) []byte {
	h.t.Helper()
	got := make(chan []byte, 1)
	stop := time.AfterFunc(within, func() { h.ctrl.Inject([]byte{0}) })
	defer stop.Stop()
	go func() {
		b, _ := h.port.ReadPacket()
		got <- b
	}()
	if b := <-got; len(b) > 1 {
		return b
	}
	return nil
}

// event is the parameters of the next event that has the code.
func (h *host) event(code byte) []byte {
	h.t.Helper()
	for {
		b := h.read(time.Minute)
		if b == nil {
			h.t.Fatalf("no event %#02x comes", code)
		}
		if b[0] == packetEvent && b[1] == code {
			return b[3:]
		}
	}
}

func (h *host) meta(sub byte) []byte {
	h.t.Helper()
	for {
		if b := h.event(eventMeta); b[0] == sub {
			return b[1:]
		}
	}
}

// do gives a command and returns what it is answered with, the status first.
func (h *host) do(opcode uint16, params ...byte) []byte {
	h.t.Helper()
	h.port.WritePacket(append([]byte{packetCommand, byte(opcode), byte(opcode >> 8), byte(len(params))}, params...))
	for {
		b := h.read(time.Minute)
		switch {
		case b == nil:
			h.t.Fatalf("command %04x is not answered", opcode)
		case b[1] == eventCommandComplete && binary.LittleEndian.Uint16(b[4:]) == opcode:
			return b[6:]
		case b[1] == eventCommandStatus && binary.LittleEndian.Uint16(b[5:]) == opcode:
			return b[3:4]
		}
	}
}

func (h *host) must(opcode uint16, params ...byte) {
	h.t.Helper()
	if got := h.do(opcode, params...); got[0] != statusOK {
		h.t.Fatalf("command %04x: status %#02x", opcode, got[0])
	}
}

// advertise begins with an interval of 20 ms.
func (h *host) advertise(kind, ownType byte, data ...byte) {
	h.t.Helper()
	h.must(0x2006, append([]byte{0x20, 0, 0x20, 0, kind, ownType}, make([]byte, 9)...)...)
	h.must(0x2008, append(append([]byte{byte(len(data))}, data...), make([]byte, 31-len(data))...)...)
	h.must(0x200a, 1)
}

func (h *host) scan(on byte) { h.t.Helper(); h.must(0x200c, on, 0) }

// dial asks for a connection with an interval of 7.5 ms and a timeout of 720 ms.
func (h *host) dial(to Address) byte {
	h.t.Helper()
	b := to.appendTo([]byte{4, 0, 4, 0, 0, to.kind()})
	return h.do(0x200d, append(b, 0, 6, 0, 6, 0, 0, 0, 0x48, 0, 0, 0, 0, 0)...)[0]
}

// connect makes a link and returns its two handles.
func connect(from, to *host) (central, peripheral uint16) {
	from.t.Helper()
	to.advertise(Connectable, 0)
	if s := from.dial(to.ctrl.Address()); s != statusOK {
		from.t.Fatalf("dial: status %#02x", s)
	}
	a, b := from.meta(metaConnected), to.meta(metaConnected)
	return binary.LittleEndian.Uint16(a[1:]), binary.LittleEndian.Uint16(b[1:])
}

func (h *host) send(handle uint16, data string) {
	h.port.WritePacket(aclPacket(handle, boundaryFirstFromHost, []byte(data)))
}

// data is what the next ACL packet carries.
func (h *host) data(within time.Duration) string {
	h.t.Helper()
	for {
		b := h.read(within)
		if b == nil {
			return ""
		}
		if b[0] == packetACL {
			return string(b[5:])
		}
	}
}

// inBubble runs f in a time that passes when nobody acts.
func inBubble(t *testing.T, f func(t *testing.T, a *Air)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, New(1, time.Now)) })
}

func TestScan(t *testing.T) {
	for _, active := range []bool{false, true} {
		inBubble(t, func(t *testing.T, a *Air) {
			adv, scan := attach(t, a), attach(t, a)
			adv.ctrl.SetRSSI(-40)
			adv.must(0x2009, append([]byte{1, 0xee}, make([]byte, 30)...)...)
			adv.advertise(Connectable, 0, 2, 1, 6)
			if active {
				scan.must(0x200b, 1, 4, 0, 4, 0, 0, 0)
			}
			scan.scan(1)
			want := adv.ctrl.Address().appendTo([]byte{1, Connectable, 0})
			want = append(want, 3, 2, 1, 6, 0xd8)
			if got := scan.meta(metaReport); !bytes.Equal(got, want) {
				t.Errorf("report % x, want % x", got, want)
			}
			if got := scan.meta(metaReport); (got[1] == ScanResponse) != active {
				t.Errorf("active %v: the second report is of type %d", active, got[1])
			}
			scan.scan(0)
			if b := scan.read(time.Second); b != nil {
				t.Errorf("after the scan: % x", b)
			}
		})
	}
}

func TestDuplicatesAreFiltered(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		adv, scan := attach(t, a), attach(t, a)
		adv.advertise(NotConnectable, 0)
		scan.must(0x200c, 1, 1)
		scan.meta(metaReport)
		if b := scan.read(time.Second); b != nil {
			t.Errorf("reported again: % x", b)
		}
	})
}

// The same six bytes, public and random, are two devices.
func TestAddressTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		adv, c := attach(t, a), attach(t, a)
		random := Address{Bytes: [6]byte{0xc0, 1, 2, 3, 4, 5}, Random: true}
		adv.must(0x2005, random.appendTo(nil)...)
		adv.advertise(Connectable, 1)
		wrong := random
		wrong.Random = false
		if s := c.dial(wrong); s != statusOK {
			t.Fatalf("dial: status %#02x", s)
		}
		if b := c.read(time.Second); b != nil {
			t.Fatalf("connected to an address of the other type: % x", b)
		}
		c.must(0x200e)
		if got := c.meta(metaConnected); got[0] != statusNoConnection {
			t.Errorf("cancelled connection: status %#02x", got[0])
		}
		c.dial(random)
		got := c.meta(metaConnected)
		if got[0] != statusOK || readAddress(got[4], got[5:]) != random {
			t.Errorf("connected: % x", got)
		}
	})
}

func TestConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		hc, hp := connect(c, p)
		if p.ctrl.Advertising() {
			t.Error("the peripheral goes on advertising")
		}
		if s := c.dial(p.ctrl.Address()); s != statusConnected {
			t.Errorf("dial once more: status %#02x", s)
		}
		got := c.ctrl.Links()
		want := []Link{{Handle: hc, Central: true, Peer: p.ctrl.Address(),
			Params: Params{Interval: 7500 * time.Microsecond, Timeout: 720 * time.Millisecond}}}
		if !slices.Equal(got, want) {
			t.Errorf("links %+v, want %+v", got, want)
		}

		c.send(hc, "ping")
		start := time.Now()
		if got := p.data(time.Second); got != "ping" || time.Since(start) != Ordinary.Latency {
			t.Errorf("the peripheral got %q after %v", got, time.Since(start))
		}
		if b := c.event(eventCompletedPackets); binary.LittleEndian.Uint16(b[1:]) != hc || b[3] != 1 {
			t.Errorf("completed packets: % x", b)
		}
		p.send(hp, "pong")
		if got := c.data(time.Second); got != "pong" {
			t.Errorf("the central got %q", got)
		}

		handle := binary.LittleEndian.AppendUint16(nil, hc)
		c.must(0x2013, append(handle, 12, 0, 24, 0, 0, 0, 0x58, 2, 0, 0, 0, 0)...)
		if b := p.meta(metaConnectionUpdate); !bytes.Equal(b[3:], []byte{24, 0, 0, 0, 0x58, 2}) {
			t.Errorf("update: % x", b)
		}
		if got := p.ctrl.Links()[0].Params; got != (Params{Interval: 30 * time.Millisecond, Timeout: 6 * time.Second}) {
			t.Errorf("parameters %+v", got)
		}

		c.must(0x0406, append(handle, 0x13)...)
		if b := p.event(eventDisconnected); b[3] != 0x13 {
			t.Errorf("the peripheral is told % x", b)
		}
		if b := c.event(eventDisconnected); b[3] != statusLocalEnd {
			t.Errorf("the central is told % x", b)
		}
		if f := a.Faults(); f != nil {
			t.Error(f)
		}
	})
}

// A host that goes away takes its links with it.
func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		connect(c, p)
		if _, err := c.ctrl.Open(); err == nil {
			t.Error("a second host may attach")
		}
		c.port.Close()
		if b := p.event(eventDisconnected); b[3] != statusTimeout {
			t.Errorf("told % x", b)
		}
		if port, err := c.ctrl.Open(); err != nil {
			t.Error(err)
		} else {
			port.Close()
		}
	})
}

func TestFlowControlIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		hc, _ := connect(c, p)
		for range aclBuffers {
			c.send(hc, "fits")
		}
		if f := a.Faults(); f != nil {
			t.Fatal(f)
		}
		c.send(hc, "too many")
		if f := a.Faults(); len(f) != 1 {
			t.Errorf("faults %q, want one", f)
		}
		time.Sleep(Ordinary.Latency)
		c.send(hc, "fits again")
		if f := a.Faults(); len(f) != 1 {
			t.Errorf("faults %q, want one", f)
		}
	})
}

func TestLossIsDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		hc, _ := connect(c, p)
		a.SetConditions(Conditions{Loss: 0.5})
		start := time.Now()
		for i := range 64 {
			c.send(hc, string(rune('0'+i)))
			if got := p.data(time.Second); got != string(rune('0'+i)) {
				t.Fatalf("packet %d came as %q", i, got)
			}
		}
		if took := time.Since(start); took < 32*7500*time.Microsecond/2 || took > 128*7500*time.Microsecond {
			t.Errorf("64 packets took %v", took)
		}
	})
}

func TestSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		hc, _ := connect(c, p)
		a.SetConditions(Conditions{Loss: 1})
		c.send(hc, "held")
		if got := p.data(700 * time.Millisecond); got != "" {
			t.Fatalf("%q came through", got)
		}
		a.SetConditions(Conditions{})
		if got := p.data(time.Second); got != "held" {
			t.Fatalf("%q came when it was over", got)
		}
		a.SetConditions(Conditions{Loss: 1})
		start := time.Now()
		if b := c.event(eventDisconnected); b[3] != statusTimeout || time.Since(start) != 720*time.Millisecond {
			t.Errorf("told % x after %v", b, time.Since(start))
		}
		p.event(eventDisconnected)
	})
}

func TestCut(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		hc, hp := connect(c, p)
		a.CutAt(ToCentral, 2)
		c.send(hc, "a")
		p.send(hp, "b")
		if got := c.data(time.Second); got != "b" {
			t.Errorf("the first packet came as %q", got)
		}
		p.send(hp, "c")
		if got := c.read(time.Second); got == nil || got[1] != eventDisconnected || got[6] != statusTimeout {
			t.Errorf("at the second: % x", got)
		}
		connect(c, p)
		a.Cut()
		p.event(eventDisconnected)
	})
}

func TestInterference(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Air) {
		c, p := attach(t, a), attach(t, a)
		hc, _ := connect(c, p)
		a.SetTap(func(to Direction, frame []byte) [][]byte { return [][]byte{frame, []byte("and more")} })
		c.send(hc, "this")
		for _, want := range []string{"this", "and more"} {
			if got := p.data(time.Second); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if n := c.ctrl.InjectACL([]byte("out of nowhere")); n != 1 {
			t.Errorf("injected over %d links", n)
		}
		if got := c.data(time.Second); got != "out of nowhere" {
			t.Errorf("got %q", got)
		}
		c.scan(1)
		from := Address{Bytes: [6]byte{6, 5, 4, 3, 2, 1}, Random: true}
		a.Broadcast(Report{Kind: Connectable, From: from, Data: bytes.Repeat([]byte{0xff}, 999), RSSI: -1})
		if b := c.meta(metaReport); readAddress(b[2], b[3:]) != from || b[9] != 240 || len(b) != 251 {
			t.Errorf("reported % x", b)
		}
	})
}

func TestCommandsThatAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		opcode uint16
		params []byte
		want   byte
	}{
		{"unknown", 0xfc00, nil, statusUnknown},
		{"too short", 0x2005, []byte{1}, statusInvalid},
		{"advertising interval", 0x2006, make([]byte, 15), statusInvalid},
		{"advertising data", 0x2008, append([]byte{32}, make([]byte, 31)...), statusInvalid},
		{"timeout below the interval", 0x200d, append(make([]byte, 13), 6, 0, 200, 0, 0, 0, 10, 0, 0, 0, 0, 0), statusInvalid},
		{"nothing to cancel", 0x200e, nil, statusDisallowed},
		{"no such link", 0x0406, []byte{9, 0, 0x13}, statusNoConnection},
		{"no such link to update", 0x2013, make([]byte, 14), statusNoConnection},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *Air) {
				if got := attach(t, a).do(tt.opcode, tt.params...); got[0] != tt.want {
					t.Errorf("status %#02x, want %#02x", got[0], tt.want)
				}
			})
		})
	}
}

// Whatever a host writes, the controller stays.
func FuzzHost(f *testing.F) {
	f.Add([]byte{packetCommand, 0x0d, 0x20, 0}, []byte{packetACL, 0, 0, 0, 0})
	f.Add([]byte{packetCommand, 0x0a, 0x20, 1, 1}, []byte{packetCommand, 0x0c, 0x20, 2, 1, 0})
	for opcode, c := range commands {
		f.Add(append([]byte{packetCommand, byte(opcode), byte(opcode >> 8), byte(c.size)}, make([]byte, c.size)...), []byte{})
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		port, err := New(1, time.Now).Controller().Open()
		if err != nil {
			t.Fatal(err)
		}
		defer port.Close()
		port.WritePacket(first)
		port.WritePacket(second)
		port.WritePacket([]byte{packetCommand, 0x09, 0x10, 0})
		for {
			b, err := port.ReadPacket()
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > 5 && b[1] == eventCommandComplete && b[4] == 0x09 && b[5] == 0x10 {
				return
			}
		}
	})
}
