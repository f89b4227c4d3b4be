//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/firmware/otaimage"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// TestBDX transfers an image between our BDX and matter.js's: either side asks,
// either gives, either drives.
func TestBDX(t *testing.T) {
	t.Parallel()
	ctx := within(t, updateLimit)
	h := host(t, network(t), "bdx")
	name := filepath.Join(h.Dir, "image")
	writeImage(t, name, otaimage.Header{Version: 2, VersionString: "2.0"})
	image, err := os.ReadFile(name)
	check(t, err)
	dir, err := lab.Dir()
	check(t, err)
	p, err := h.Start([]string{"MATTER_LOG_LEVEL=fatal"}, "node", filepath.Join(dir, "peers", "bdx.mjs"), name)
	check(t, err)
	for _, drive := range []string{"receiverDrive", "senderDrive"} {
		for _, c := range []struct {
			role string // of matter.js
			from uint64
		}{{"fetch", 0}, {"give", 0}, {"serve", 0}, {"serve", 5000}} {
			var got bytes.Buffer
			server := &bdx.Server{
				Open: func(context.Context, *exchange.Session, []byte) (bdx.File, error) {
					return file{bytes.NewReader(image)}, nil
				},
				Create: func(context.Context, *exchange.Session, []byte, uint64) (io.Writer, error) { return &got, nil },
			}
			served := make(chan error, 1)
			m, s := nodes(t, func(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
				if c.role == "serve" {
					served <- carry(ctx, x, p, first)
				} else {
					served <- server.Serve(ctx, x, first)
				}
			})
			check(t, p.Say(fmt.Sprintf(`{"begin": %q, "drive": %q}`, c.role, drive)))
			if c.role == "serve" {
				_, err = bdx.Fetch(ctx, m, s, bdx.Request{Designator: []byte("image"), Offset: c.from, Drive: bdx.ReceiverDrive | bdx.SenderDrive}, &got)
			} else {
				x, e := m.Open(s)
				check(t, e)
				err = carry(ctx, x, p)
			}
			check(t, err)
			check(t, <-served)
			if c.role != "fetch" && !bytes.Equal(got.Bytes(), image[c.from:]) {
				t.Errorf("%s from %d, %s: %d octets of another file", c.role, c.from, drive, got.Len())
			}
		}
	}
}

// nodes are two of ours with a session: the first's is returned, the second
// answers.
func nodes(t *testing.T, handle exchange.Handler) (m *exchange.Manager, s *exchange.Session) {
	air := radiotest.NewNetwork(1)
	addr := func(n uint16) radio.Addr {
		return radio.UDPAddr(netip.MustParseAddrPort(fmt.Sprintf("[fd00::%d]:5540", n)))
	}
	for _, n := range []uint16{2, 1} {
		var err error
		m, err = exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
		check(t, err)
		t.Cleanup(m.Close)
		m.Handle(message.BDX, handle)
		link := air.Link(addr(n))
		m.Serve(link)
		s, err = m.AddSession(exchange.SessionConfig{Kind: exchange.CASE, LocalID: n, PeerID: 3 - n, Send: message.Key{byte(n)}, Receive: message.Key{byte(3 - n)}, Link: link, Addr: addr(3 - n)})
		check(t, err)
	}
	return m, s
}

// carry carries messages between matter.js and an exchange to the transfer's
// end.
func carry(ctx context.Context, x *exchange.Exchange, p *lab.Proc, first ...exchange.Message) error {
	type line struct {
		Opcode uint8   `json:"opcode"`
		Body   []byte  `json:"body"`
		End    *string `json:"end,omitempty"`
	}
	say := func(m exchange.Message) {
		b, _ := json.Marshal(line{m.Opcode, m.Body, nil})
		p.Say(string(b))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, m := range first {
		say(m)
	}
	go func() {
		for m, err := x.Receive(ctx); err == nil; m, err = x.Receive(ctx) {
			say(m)
		}
	}()
	var l line
	err := p.Event(ctx, func(b json.RawMessage) bool {
		l = line{}
		if json.Unmarshal(b, &l) == nil && l.End == nil {
			x.Send(ctx, message.BDX, l.Opcode, l.Body)
		}
		return l.End != nil
	})
	x.Flush(ctx)
	if err == nil && *l.End != "" {
		err = fmt.Errorf("matter.js: %s", *l.End)
	}
	return err
}
