package bdx

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

var (
	addrA = radio.UDPAddr(netip.MustParseAddrPort("[fd00::a]:5540"))
	addrB = radio.UDPAddr(netip.MustParseAddrPort("[fd00::b]:5540"))
)

const mebibyte = 1 << 20

// content is a file's octets.
func content(size int) []byte {
	b := make([]byte, size)
	mathrand.NewChaCha8([32]byte{}).Read(b)
	return b
}

type file struct {
	*bytes.Reader
	closed *atomic.Int32
}

func (f file) Close() error { f.closed.Add(1); return nil }

// house is a node a that asks and a node b that serves, with a session.
type house struct {
	net      *radiotest.Network
	a, b     *exchange.Manager
	session  *exchange.Session // a's
	server   Server
	image    []byte       // of the file "image"
	opened   atomic.Int32 // times
	closed   atomic.Int32
	uploaded bytes.Buffer
	served   chan error
}

func newHouse(t testing.TB, image []byte) *house {
	n := radiotest.NewNetwork(1)
	return houseOn(t, n, image, n.Link(addrA), n.Link(addrB))
}

func houseOn(t testing.TB, n *radiotest.Network, image []byte, la, lb radio.Link) *house {
	h := &house{net: n, image: image, served: make(chan error, 64)}
	manager := func(l radio.Link) *exchange.Manager {
		m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		m.Serve(l)
		t.Cleanup(m.Close)
		return m
	}
	h.a, h.b = manager(la), manager(lb)
	idA, _ := h.a.ReserveID()
	idB, _ := h.b.ReserveID()
	add := func(m *exchange.Manager, cfg exchange.SessionConfig) *exchange.Session {
		cfg.Kind = exchange.CASE
		s, err := m.AddSession(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	h.session = add(h.a, exchange.SessionConfig{LocalID: idA, PeerID: idB, LocalNode: 0xA, PeerNode: 0xB, Send: message.Key{1}, Receive: message.Key{2}, Link: la, Addr: addrB})
	add(h.b, exchange.SessionConfig{LocalID: idB, PeerID: idA, LocalNode: 0xB, PeerNode: 0xA, Send: message.Key{2}, Receive: message.Key{1}, Link: lb, Addr: addrA})
	h.server = Server{Open: h.open, Create: h.create}
	h.b.Handle(message.BDX, func(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
		h.served <- h.server.Serve(ctx, x, first)
	})
	return h
}

func (h *house) open(_ context.Context, s *exchange.Session, designator []byte) (File, error) {
	switch {
	case s.PeerNode() != 0xA:
		return nil, errors.New("a session with somebody else")
	case string(designator) == "busy":
		return nil, fmt.Errorf("not now: %w", ResponderBusy)
	case string(designator) == "broken":
		return nil, errors.New("the disk is broken")
	case string(designator) != "image":
		return nil, FileDesignatorUnknown
	}
	h.opened.Add(1)
	return file{bytes.NewReader(h.image), &h.closed}, nil
}

func (h *house) create(_ context.Context, _ *exchange.Session, designator []byte, _ uint64) (io.Writer, error) {
	if string(designator) != "log" {
		return nil, FileDesignatorUnknown
	}
	return &h.uploaded, nil
}

func (h *house) fetch(t testing.TB, r Request, w io.Writer) (uint64, error) {
	if r.Designator == nil {
		r.Designator = []byte("image")
	}
	return Fetch(t.Context(), h.a, h.session, r, w)
}

var bad = radiotest.Conditions{Loss: 0.05, Duplicate: 0.05, Reorder: 0.05, Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond}

func TestTransfer(t *testing.T) {
	for _, drive := range []Drive{ReceiverDrive, SenderDrive, ReceiverDrive | SenderDrive} {
		for name, conditions := range map[string]radiotest.Conditions{"good": {}, "bad": bad} {
			t.Run(fmt.Sprintf("%#02x/%s", uint8(drive), name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHouse(t, content(mebibyte))
					h.net.SetConditions(conditions)
					var got bytes.Buffer
					var last, end uint64
					progress := func(done, e uint64) {
						if done <= last {
							t.Errorf("progress from %d to %d", last, done)
						}
						last, end = done, e
					}
					var sent, sentEnd uint64
					h.server.Progress = func(done, end uint64) { sent, sentEnd = done, end }
					n, err := h.fetch(t, Request{Drive: drive, Options: Options{Progress: progress}}, &got)
					if err != nil || n != mebibyte || !bytes.Equal(got.Bytes(), h.image) {
						t.Fatalf("%d octets, %v", n, err)
					}
					if err := <-h.served; err != nil {
						t.Error(err)
					}
					if last != mebibyte || end != mebibyte || sent != mebibyte || sentEnd != mebibyte {
						t.Errorf("progress ended at %d of %d, and at %d of %d", last, end, sent, sentEnd)
					}
					if h.closed.Load() != 1 {
						t.Error("the file was left open")
					}
				})
			})
		}
	}
}

// TestSizes transfers files that end at and around the end of a block.
func TestSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		for _, size := range []int{0, 1, 99, 100, 101, 200, 250} {
			for _, drive := range []Drive{ReceiverDrive, SenderDrive} {
				h.image = content(size)
				var got bytes.Buffer
				if _, err := h.fetch(t, Request{Drive: drive, Options: Options{MaxBlock: 100}}, &got); err != nil || !bytes.Equal(got.Bytes(), h.image) {
					t.Errorf("%d octets, drive %#02x: %d, %v", size, drive, got.Len(), err)
				}
				if err := <-h.served; err != nil {
					t.Errorf("%d octets, drive %#02x: %v", size, drive, err)
				}
			}
		}
	})
}

func TestReliableLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := radiotest.NewNetwork(1)
		h := houseOn(t, n, content(10000), n.Reliable(addrA, 244), n.Reliable(addrB, 200))
		var got bytes.Buffer
		if _, err := h.fetch(t, Request{}, &got); err != nil || !bytes.Equal(got.Bytes(), h.image) {
			t.Errorf("%d octets, %v", got.Len(), err)
		}
	})
}

// TestResume cuts the network in the middle and fetches the rest later.
func TestResume(t *testing.T) {
	for _, drive := range []Drive{ReceiverDrive, SenderDrive} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, content(mebibyte))
			h.net.SetDrop(radiotest.DropAfter(1000))
			began := time.Now()
			var got bytes.Buffer
			done, err := h.fetch(t, Request{Drive: drive}, &got)
			if !errors.Is(err, exchange.ErrNoAck) || done == 0 || done == mebibyte || done != uint64(got.Len()) {
				t.Fatalf("%d octets, %v", done, err)
			}
			served := <-h.served
			if served == nil || !strings.Contains(served.Error(), `"image"`) || !strings.Contains(served.Error(), "node 000000000000000A") {
				t.Errorf("the server says %v", served)
			}
			if took := time.Since(began); took > IdleTimeout+time.Minute {
				t.Errorf("given up after %v", took)
			}
			h.net.SetDrop(nil)
			rest, err := h.fetch(t, Request{Drive: drive, Offset: done}, &got)
			if err != nil || done+rest != mebibyte || !bytes.Equal(got.Bytes(), h.image) {
				t.Fatalf("%d and %d octets, %v", done, rest, err)
			}
			if err := <-h.served; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRequests is what a well-behaved receiver may ask of the server.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name    string
		r       Request
		from, n int // of the image
		status  Status
	}{
		{"all", Request{}, 0, 5000, 0},
		{"the middle", Request{Offset: 1000, Length: 2000}, 1000, 2000, 0},
		{"a multiple of the block", Request{Offset: 1000, Length: 2000, Options: Options{MaxBlock: 500}}, 1000, 2000, 0},
		{"more than there is", Request{Offset: 1000, Length: 1 << 40}, 1000, 4000, 0},
		{"nothing that is left", Request{Offset: 5000}, 5000, 0, 0},
		{"beyond the end", Request{Offset: 5001}, 0, 0, StartOffsetNotSupported},
		{"far beyond the end", Request{Offset: 1 << 40}, 0, 0, StartOffsetNotSupported},
		{"another file", Request{Designator: []byte("other")}, 0, 0, FileDesignatorUnknown},
		{"no file", Request{Designator: []byte{}}, 0, 0, BadMessageContents},
		{"a busy server", Request{Designator: []byte("busy")}, 0, 0, ResponderBusy},
		{"a broken server", Request{Designator: []byte("broken")}, 0, 0, TransferFailedUnknownError},
		{"asynchronous", Request{Drive: async}, 0, 0, TransferMethodNotSupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, content(5000))
				var got bytes.Buffer
				_, err := h.fetch(t, c.r, &got)
				served := <-h.served
				if c.status != 0 {
					var report *Report
					if !errors.Is(err, c.status) || !errors.As(err, &report) || served == nil || errors.As(served, &report) {
						t.Fatalf("we are told %v, the server %v", err, served)
					}
					return
				}
				if err != nil || served != nil || !bytes.Equal(got.Bytes(), h.image[c.from:c.from+c.n]) {
					t.Fatalf("%d octets, %v, %v", got.Len(), err, served)
				}
			})
		})
	}
}

func TestTooLongRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		began := time.Now()
		if _, err := h.fetch(t, Request{Designator: make([]byte, 2000)}, io.Discard); err == nil || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestGiveUp cancels a transfer from either side: the other is told at once.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, content(mebibyte))
		h.net.SetConditions(radiotest.Conditions{Latency: 10 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Fetch(ctx, h.a, h.session, Request{Designator: []byte("image")}, io.Discard)
		if !errors.Is(err, exchange.ErrTimeout) {
			t.Error(err)
		}
		began := time.Now()
		if err := <-h.served; !errors.Is(err, TransferFailedUnknownError) {
			t.Error(err)
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the server was told after %v", waited)
		}
		if _, err := h.fetch(t, Request{}, &lazy{5000}); !errors.Is(err, io.ErrShortWrite) {
			t.Error(err)
		}
		if err := <-h.served; !errors.Is(err, TransferFailedUnknownError) {
			t.Error(err)
		}
	})
}

// lazy is a disk with so many octets left.
type lazy struct{ left int }

func (l *lazy) Write(b []byte) (int, error) {
	n := min(l.left, len(b))
	if l.left -= n; n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func TestFileShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, content(5000))
		open := h.server.Open
		h.server.Open = func(ctx context.Context, s *exchange.Session, d []byte) (File, error) {
			f, err := open(ctx, s, d)
			return grown{f}, err
		}
		n, err := h.fetch(t, Request{Options: Options{MaxBlock: 1000}}, io.Discard)
		if n != 5000 || !errors.Is(err, TransferFailedUnknownError) {
			t.Errorf("%d octets, %v", n, err)
		}
		if err := <-h.served; !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "octet 5000") {
			t.Error(err)
		}
	})
}

type grown struct{ File }

func (g grown) Size() int64 { return g.File.Size() + 1 }

func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, content(10))
		s, err := h.a.Unsecured(h.session.Link(), addrB, exchange.Params{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = Fetch(t.Context(), h.a, s, Request{Designator: []byte("image"), Options: Options{Idle: time.Second}}, io.Discard)
		if !errors.Is(err, exchange.ErrTimeout) || time.Since(began) > time.Minute {
			t.Error(err)
		}
		if err := <-h.served; err == nil || h.opened.Load() != 0 {
			t.Errorf("a stranger was served: %v", err)
		}
	})
}

// TestUpload gives the server a file, as devices give their logs.
func TestUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		x, err := h.a.Open(h.session)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		accepted := recite(t, t.Context(), x, []said{{opSendInit, "10 01 0a00 03000000 0300 6c6f67"}})
		if m, err := parseAccept(opSendAccept, accepted.Body); err != nil || accepted.Opcode != opSendAccept || m.drive != SenderDrive || m.block != 10 {
			t.Fatalf("accepted as %+v, %v", m, err)
		}
		last := recite(t, t.Context(), x, []said{{opBlock, "00000000 0102"}, {opBlockEOF, "01000000 03"}})
		if err := <-h.served; err != nil || last.Opcode != opBlockAckEOF || !bytes.Equal(h.uploaded.Bytes(), []byte{1, 2, 3}) {
			t.Errorf("%x was taken, %v", h.uploaded.Bytes(), err)
		}
		h.server.Create = nil
		y, _ := h.a.Open(h.session)
		defer y.Close()
		expectReport(t, recite(t, t.Context(), y, []said{{opSendInit, logInit}}), UnexpectedMessage)
	})
}

// TestNothingIsKept has more peers stall, one after the other, than may talk
// at a time.
func TestNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, content(25))
		for range 100 {
			x, err := h.a.Open(h.session)
			if err != nil {
				t.Fatal(err)
			}
			recite(t, t.Context(), x, []said{{opReceiveInit, receiverInit}})
			x.Close()
			if err := <-h.served; err == nil {
				t.Fatal("a transfer ended well that did not")
			}
		}
		if _, err := h.fetch(t, Request{}, io.Discard); err != nil {
			t.Error(err)
		}
		if h.opened.Load() != 101 || h.closed.Load() != 101 {
			t.Errorf("%d files were opened, %d closed", h.opened.Load(), h.closed.Load())
		}
	})
}

// BenchmarkTransfer is 1 MiB over a link in memory, sealed and opened.
func BenchmarkTransfer(b *testing.B) {
	for name, drive := range map[string]Drive{"receiver drive": ReceiverDrive, "sender drive": SenderDrive} {
		b.Run(name, func(b *testing.B) {
			n := radiotest.NewNetwork(1)
			h := houseOn(b, n, content(mebibyte), n.Link(addrA), n.Link(addrB))
			b.SetBytes(mebibyte)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.fetch(b, Request{Drive: drive}, io.Discard); err != nil {
					b.Fatal(err)
				}
				<-h.served
			}
		})
	}
}
