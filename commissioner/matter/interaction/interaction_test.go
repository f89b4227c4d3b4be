package interaction

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

var (
	addrA = radio.UDPAddr(netip.MustParseAddrPort("[fd00::a]:5540"))
	addrB = radio.UDPAddr(netip.MustParseAddrPort("[fd00::b]:5540"))
)

// shelf is a Provider of one cluster on two endpoints: attribute 0 a number,
// 1 a list of texts, 2 unreadable; command 0 echoes thrice, 1 wants to be
// timed, 2 has only a status.
type shelf struct {
	mu      sync.Mutex
	number  uint64
	list    []string
	version uint32
	events  []Event
}

const shelfCluster = ClusterID(0xFFF1_FC00)

func (s *shelf) Attributes(_ *Request, p AttributePath) ([]AttributePath, Status) {
	var found []AttributePath
	for e := EndpointID(0); e < 2; e++ {
		for a := AttributeID(0); a < 3; a++ {
			if c := Attribute(e, shelfCluster, a); p.covers(c) && (a != 2 || p.Concrete()) {
				found = append(found, c)
			}
		}
	}
	switch {
	case len(found) > 0 || !p.Concrete():
		return found, Success
	case *p.Endpoint > 1:
		return nil, UnsupportedEndpoint
	case *p.Cluster != shelfCluster:
		return nil, UnsupportedCluster
	}
	return nil, UnsupportedAttribute
}

func (s *shelf) Read(_ *Request, p AttributePath) (any, uint32, Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch *p.Attribute {
	case 0:
		return s.number, s.version, Success
	case 1:
		return append([]string{}, s.list...), s.version, Success
	}
	return nil, 0, UnsupportedRead
}

func (s *shelf) Write(_ context.Context, r *Request, p AttributePath, v tlv.Raw, version *uint32) StatusIB {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case version != nil && *version != s.version:
		return StatusIB{Status: DataVersionMismatch}
	case *p.Attribute == 0 && tlv.Unmarshal(v, &s.number) == nil:
	case *p.Attribute == 1 && p.appends():
		var item string
		if tlv.Unmarshal(v, &item) != nil {
			return StatusIB{Status: InvalidDataType}
		}
		s.list = append(s.list, item)
	case *p.Attribute == 1 && tlv.Unmarshal(v, &s.list) == nil:
	case *p.Attribute == 2 && !r.Timed:
		return StatusIB{Status: NeedsTimedInteraction}
	default:
		return StatusIB{Status: UnsupportedWrite}
	}
	s.version++
	return StatusIB{}
}

func (s *shelf) Commands(_ *Request, p CommandPath) ([]CommandPath, Status) {
	if p.Command > 2 {
		return nil, UnsupportedCommand
	}
	if p.Endpoint == nil {
		return []CommandPath{Command(0, p.Cluster, p.Command), Command(1, p.Cluster, p.Command)}, Success
	}
	return []CommandPath{p}, Success
}

type text struct {
	Text string `tlv:"0,omitempty"`
}

func (s *shelf) Invoke(_ context.Context, r *Request, p CommandPath, fields tlv.Raw) (CommandID, any, StatusIB) {
	switch {
	case p.Command == 1 && !r.Timed:
		return 0, nil, StatusIB{Status: NeedsTimedInteraction}
	case p.Command == 2:
		code := uint8(7)
		return 0, nil, StatusIB{Status: Failure, Cluster: &code}
	}
	var t text
	if tlv.Unmarshal(fields, &t) != nil {
		return 0, nil, StatusIB{Status: InvalidCommand}
	}
	return 10, &text{strings.Repeat(t.Text, 3)}, StatusIB{}
}

func (s *shelf) Events(_ *Request, _ []EventPath, min uint64) (found []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Number >= min {
			found = append(found, e)
		}
	}
	return found
}

// desk is an asker a and a device b with the shelf, in a bubble.
type desk struct {
	t       *testing.T
	net     *radiotest.Network
	a, b    *Engine
	session *exchange.Session
	shelf   *shelf
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, net: radiotest.NewNetwork(1), shelf: &shelf{number: 42, version: 5}}
	manager := func(l radio.Link) *exchange.Manager {
		m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		return m
	}
	la, lb := d.net.Link(addrA), d.net.Link(addrB)
	ma, mb := manager(la), manager(lb)
	d.a, d.b = New(ma), New(mb)
	d.b.Serve(d.shelf)
	ma.Serve(la)
	mb.Serve(lb)
	ida, _ := ma.ReserveID()
	idb, _ := mb.ReserveID()
	session := func(m *exchange.Manager, local, peer uint16, send, receive message.Key, l radio.Link, to radio.Addr) *exchange.Session {
		s, err := m.AddSession(exchange.SessionConfig{Kind: exchange.CASE, LocalID: local, PeerID: peer, Fabric: 1, Send: send, Receive: receive, Link: l, Addr: to})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	d.session = session(ma, ida, idb, message.Key{1}, message.Key{2}, la, addrB)
	session(mb, idb, ida, message.Key{2}, message.Key{1}, lb, addrA)
	return d
}

func bubble(t *testing.T, f func(*desk)) {
	synctest.Test(t, func(t *testing.T) { f(newDesk(t)) })
}

func statusOf(err error) Status {
	s, ok := StatusOf(err)
	if err != nil && !ok {
		return 0xFF
	}
	return s
}

var number, list = Attribute(1, shelfCluster, 0), Attribute(1, shelfCluster, 1)

func TestRead(t *testing.T) {
	bubble(t, func(d *desk) {
		unknown := Attribute(1, shelfCluster, 9)
		r, err := d.a.Read(d.t.Context(), d.session, ReadRequest{Attributes: []AttributePath{number, unknown, Attribute(7, shelfCluster, 0), Attribute(1, 6, 0), Attribute(1, shelfCluster, 2)}})
		if err != nil {
			t.Fatal(err)
		}
		var n uint64
		if err := r.Decode(number, &n); err != nil || n != 42 || r.Attributes[0].DataVersion != 5 {
			t.Errorf("%d, %v, %+v", n, err, r.Attributes[0])
		}
		for i, want := range []Status{Success, UnsupportedAttribute, UnsupportedEndpoint, UnsupportedCluster, UnsupportedRead} {
			if got := statusOf(r.Attributes[i].Err); got != want {
				t.Errorf("%v: %v, want %v", r.Attributes[i].Path, got, want)
			}
		}
		r, err = d.a.Read(d.t.Context(), d.session, ReadRequest{Attributes: []AttributePath{{}}})
		if err != nil || len(r.Attributes) != 4 {
			t.Errorf("wildcard: %+v, %v", r, err)
		}
		endpoint, cluster := EndpointID(1), shelfCluster
		r, err = d.a.Read(d.t.Context(), d.session, ReadRequest{Attributes: []AttributePath{{}},
			DataVersions: []DataVersionFilter{{ClusterPath{Endpoint: &endpoint, Cluster: &cluster}, 5}}})
		if err != nil || len(r.Attributes) != 2 {
			t.Errorf("with a version known: %+v, %v", r, err)
		}
	})
}

func TestChunks(t *testing.T) {
	for _, items := range []int{0, 1, 30, 3000} {
		bubble(t, func(d *desk) {
			for i := range items {
				d.shelf.list = append(d.shelf.list, fmt.Sprintf("item %d %s", i, strings.Repeat("x", i%90)))
			}
			want := strings.Join(d.shelf.list, "|")
			r, err := d.a.Read(d.t.Context(), d.session, ReadRequest{Attributes: []AttributePath{number, list, number}})
			if err != nil || len(r.Attributes) != 3 {
				t.Fatalf("%d items: %v", items, err)
			}
			var got []string
			if err := r.Decode(list, &got); err != nil || strings.Join(got, "|") != want {
				t.Errorf("%d items: got %d, %v", items, len(got), err)
			}
			d.shelf.list = nil
			errs, err := d.a.Write(d.t.Context(), d.session, 0, Write{Path: number, Value: uint64(1)}, Write{Path: list, Value: got})
			if err != nil || errors.Join(errs...) != nil || strings.Join(d.shelf.list, "|") != want || d.shelf.number != 1 {
				t.Errorf("%d items written: %d arrived, %v, %v", items, len(d.shelf.list), errs, err)
			}
		})
	}
}

func TestReportIsBounded(t *testing.T) {
	bubble(t, func(d *desk) {
		d.shelf.list = make([]string, MaxReport/1000+100)
		for i := range d.shelf.list {
			d.shelf.list[i] = strings.Repeat("x", 1000)
		}
		if _, err := d.a.Read(d.t.Context(), d.session, ReadRequest{Attributes: []AttributePath{list}}); !errors.Is(err, errChunks) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWrite(t *testing.T) {
	bubble(t, func(d *desk) {
		old := uint32(4)
		errs, err := d.a.Write(d.t.Context(), d.session, 0, Write{Path: number, Value: uint64(7)},
			Write{Path: list, DataVersion: &old, Value: []string{}}, Write{Path: Attribute(1, shelfCluster, 2), Value: true})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []Status{Success, DataVersionMismatch, NeedsTimedInteraction} {
			if got := statusOf(errs[i]); got != want {
				t.Errorf("%d: %v, want %v", i, got, want)
			}
		}
		errs, err = d.a.Write(d.t.Context(), d.session, time.Second, Write{Path: Attribute(1, shelfCluster, 2), Value: true})
		if err != nil || statusOf(errs[0]) != UnsupportedWrite {
			t.Errorf("timed: %v, %v", errs, err)
		}
	})
}

func TestInvoke(t *testing.T) {
	bubble(t, func(d *desk) {
		var echoed text
		if err := d.a.InvokeCommand(d.t.Context(), d.session, 0, Command(1, shelfCluster, 0), &text{"hello"}, &echoed); err != nil || echoed.Text != "hellohellohello" {
			t.Errorf("%q, %v", echoed.Text, err)
		}
		for _, c := range []struct {
			command CommandID
			timed   time.Duration
			want    Status
		}{{1, 0, NeedsTimedInteraction}, {1, time.Second, Success}, {2, 0, Failure}, {3, 0, UnsupportedCommand}} {
			if err := d.a.InvokeCommand(d.t.Context(), d.session, c.timed, Command(1, shelfCluster, c.command), nil, nil); statusOf(err) != c.want {
				t.Errorf("%+v: %v", c, err)
			}
		}
		var batch []Invocation
		for i := range maxCommands {
			batch = append(batch, Invocation{Path: Command(EndpointID(i%2), shelfCluster, 0), Fields: &text{strings.Repeat("x", 20*i)}})
		}
		batch[4].Path.Command = 3
		results, err := d.a.Invoke(d.t.Context(), d.session, 0, batch...)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			var echoed text
			if i == 4 {
				if statusOf(r.Err) != UnsupportedCommand {
					t.Errorf("4: %v", r.Err)
				}
			} else if err := r.Decode(&echoed); err != nil || len(echoed.Text) != 60*i || r.Path.Command != 10 {
				t.Errorf("%d: %d octets, %v", i, len(echoed.Text), err)
			}
		}
		if _, err := d.a.Invoke(d.t.Context(), d.session, 0, append(batch, batch[0])...); statusOf(err) != PathsExhausted {
			t.Errorf("one too many: %v", err)
		}
		if err := d.a.InvokeCommand(d.t.Context(), d.session, 0, Command(1, shelfCluster, 0), &text{strings.Repeat("x", message.MaxSize)}, nil); !errors.Is(err, ErrTooLong) {
			t.Errorf("longer than a message: %v", err)
		}
	})
}

func TestSubscribe(t *testing.T) {
	bubble(t, func(d *desk) {
		var got []uint64
		var reports int
		sub, err := d.a.Subscribe(d.t.Context(), d.session, SubscribeRequest{MaxInterval: 10, Attributes: []AttributePath{number}}, func(r *Report) {
			var n uint64
			reports++
			if r.Decode(number, &n) == nil {
				got = append(got, n)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(3) {
			d.shelf.mu.Lock()
			d.shelf.number = n
			d.shelf.mu.Unlock()
			d.b.Changed(number)
			time.Sleep(time.Second)
		}
		d.b.Changed(list) // not subscribed to
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(got) != "[42 0 1 2]" || reports != 4 {
			t.Errorf("got %v in %d reports", got, reports)
		}
		select {
		case <-sub.Done():
			t.Errorf("ended though the device was only idle: %v", sub.Err())
		default:
		}
		sub.Close()
		d.b.Changed(number)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(d.b.pubs) != 0 || len(got) != 4 {
			t.Errorf("%d subscriptions are left, %d values", len(d.b.pubs), len(got))
		}
	})
}

func TestSubscriptionFallsSilent(t *testing.T) {
	bubble(t, func(d *desk) {
		sub, err := d.a.Subscribe(d.t.Context(), d.session, SubscribeRequest{MaxInterval: 10, Attributes: []AttributePath{number}}, func(*Report) {})
		if err != nil {
			t.Fatal(err)
		}
		d.net.SetDrop(radiotest.DropAfter(0))
		<-sub.Done()
		if !errors.Is(sub.Err(), ErrSilent) {
			t.Errorf("got %v", sub.Err())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(d.b.pubs) != 0 {
			t.Error("the device still has the subscription")
		}
	})
}

func TestEvents(t *testing.T) {
	bubble(t, func(d *desk) {
		e, c, id := EndpointID(0), shelfCluster, EventID(1)
		path := EventPath{Endpoint: &e, Cluster: &c, Event: &id}
		for n := range uint64(40) {
			data, _ := tlv.Marshal(&text{strings.Repeat("x", 100)})
			d.shelf.events = append(d.shelf.events, Event{Path: path, Number: n, Priority: 1, Data: data})
		}
		r, err := d.a.Read(d.t.Context(), d.session, ReadRequest{Events: []EventPath{path}, EventFilters: []EventFilter{{Min: 5}}})
		if err != nil || len(r.Events) != 35 || r.Events[0].Number != 5 {
			t.Fatalf("%d events, %v", len(r.Events), err)
		}
		seen := 0
		if _, err := d.a.Subscribe(d.t.Context(), d.session, SubscribeRequest{MaxInterval: 60, Events: []EventPath{path}}, func(r *Report) { seen += len(r.Events) }); err != nil {
			t.Fatal(err)
		}
		d.shelf.mu.Lock()
		d.shelf.events = append(d.shelf.events, Event{Path: path, Number: 40})
		d.shelf.mu.Unlock()
		d.b.Changed()
		time.Sleep(time.Second)
		synctest.Wait()
		if seen != 41 {
			t.Errorf("saw %d events", seen)
		}
	})
}

func TestBadNetwork(t *testing.T) {
	bubble(t, func(d *desk) {
		d.net.SetConditions(radiotest.Conditions{Loss: 0.15, Duplicate: 0.2, Latency: 10 * time.Millisecond, Jitter: 80 * time.Millisecond})
		for range 100 {
			d.shelf.list = append(d.shelf.list, strings.Repeat("x", 90))
		}
		for range 10 {
			r, err := d.a.Read(d.t.Context(), d.session, ReadRequest{Attributes: []AttributePath{list}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := r.Decode(list, &got); err != nil || len(got) != 100 {
				t.Fatalf("%d items, %v", len(got), err)
			}
		}
	})
}
