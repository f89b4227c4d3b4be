package nodes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

var (
	onOff  = Path{1, 6, 0}
	level  = Path{1, 8, 0}
	second = Path{2, 6, 0}
	parts  = Path{0, 29, 3}
)

func encoded(t testing.TB, v any) tlv.Raw {
	t.Helper()
	b, err := tlv.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// told is a Store and what its watcher was told.
type told struct {
	*Store
	t       *testing.T
	changes []Change
}

func newTold(t *testing.T) *told {
	s := &told{Store: New(func() time.Time { return time.UnixMilli(1000) }), t: t}
	_, stop := s.Watch(func(c Change) { s.changes = append(s.changes, c) })
	t.Cleanup(stop)
	return s
}

// last are the changes told since.
func (s *told) last() (all []Change) {
	all, s.changes = s.changes, nil
	return all
}

func report(t testing.TB, values map[Path]any) *interaction.Report {
	r := &interaction.Report{}
	for p, v := range values {
		r.Attributes = append(r.Attributes, interaction.AttributeReport{Path: interaction.Attribute(p.Endpoint, p.Cluster, p.Attribute), Data: encoded(t, v)})
	}
	return r
}

func TestReports(t *testing.T) {
	s := newTold(t)
	s.Report(7, report(t, map[Path]any{onOff: true, level: uint8(3)}), true)
	first := s.last()
	if len(first) != 1 || !first[0].Full || first[0].Available == nil || !*first[0].Available || len(first[0].Values) != 2 || len(first[0].came) != 1 {
		t.Fatalf("%+v", first)
	}
	s.Report(7, report(t, map[Path]any{onOff: true}), false)
	if all := s.last(); len(all) != 0 {
		t.Errorf("what is not new is told: %+v", all)
	}
	s.Report(7, report(t, map[Path]any{onOff: false}), false)
	if all := s.last(); len(all) != 1 || all[0].Full || all[0].Available != nil || len(all[0].Values) != 1 || all[0].Values[0].Path != onOff {
		t.Errorf("%+v", all)
	}
	s.Away(7)
	s.Away(7)
	if all := s.last(); len(all) != 1 || *all[0].Available {
		t.Errorf("%+v", all)
	}
	s.Report(7, report(t, map[Path]any{onOff: false, second: true}), true)
	all := s.last()
	if len(all) != 1 || !*all[0].Available || len(all[0].came) != 1 || all[0].came[0] != 2 || len(all[0].Values) != 1 {
		t.Errorf("%+v", all)
	}
	n, ok := s.Get(7)
	if _, had := n.Values[level]; !ok || had || len(n.Values) != 2 || n.Heard.UnixMilli() != 1000 {
		t.Errorf("%+v", n)
	}
	s.Report(7, report(t, map[Path]any{onOff: false}), true)
	if all := s.last(); len(all) != 1 || len(all[0].went) != 1 || all[0].went[0] != 2 {
		t.Errorf("%+v", all)
	}
	s.Retain(func(n cert.NodeID) bool { return n != 7 })
	if all := s.last(); len(all) != 1 || !all[0].Removed() {
		t.Errorf("%+v", all)
	}
	if _, ok := s.Get(7); ok {
		t.Error("it is there still")
	}
}

func TestEvents(t *testing.T) {
	s, endpoint, cluster, id := newTold(t), interaction.EndpointID(1), interaction.ClusterID(59), interaction.EventID(1)
	at := uint64(5)
	r := &interaction.Report{Events: []interaction.EventReport{
		{Event: interaction.Event{Path: interaction.EventPath{Endpoint: &endpoint, Cluster: &cluster, Event: &id}, Number: 9, Priority: 1, System: &at, Data: encoded(t, struct{}{})}},
		{Event: interaction.Event{Path: interaction.EventPath{Endpoint: &endpoint}}}, {Err: errors.New("no")}}}
	s.Report(7, r, false)
	all := s.last()
	if len(all) != 2 || all[1].Event == nil || all[1].Event.Number != 9 || !all[1].Event.System || all[1].Event.Time != 5 {
		t.Errorf("%+v", all)
	}
}

// TestKeepsNothingOfTheReport: a value does not hold on to the report's octets.
func TestKeepsNothingOfTheReport(t *testing.T) {
	s, r := newTold(t), report(t, map[Path]any{onOff: true})
	s.Report(7, r, true)
	clear(r.Attributes[0].Data)
	if n, _ := s.Get(7); !bytes.Equal(n.Values[onOff], encoded(t, true)) {
		t.Errorf("%x", n.Values[onOff])
	}
}

func TestLimits(t *testing.T) {
	s := newTold(t)
	var c Change
	c.Node, c.Full = 7, true
	for i := range MaxAttributes + 10 {
		c.Values = append(c.Values, Value{Path{1, 6, interaction.AttributeID(i)}, []byte{8}})
	}
	s.Apply(c)
	if n, _ := s.Get(7); len(n.Values) != MaxAttributes {
		t.Errorf("%d attributes", len(n.Values))
	}
	s.Apply(Change{Node: 8, Values: []Value{{onOff, make([]byte, MaxOctets)}, {level, []byte{8}}}})
	if n, _ := s.Get(8); len(n.Values) != 1 {
		t.Errorf("%d attributes of %d octets", len(n.Values), MaxOctets)
	}
}

// TestFeed has a gateway follow another's.
func TestFeed(t *testing.T) {
	a, b := newTold(t), newTold(t)
	a.Report(7, report(t, map[Path]any{onOff: true, parts: []uint16{1}}), true)
	a.Report(8, report(t, map[Path]any{onOff: true}), true)
	a.Away(7)
	r, w := io.Pipe()
	done, ended, written := make(chan struct{}), make(chan error, 2), make(chan bool, 100)
	go func() {
		err := a.Feed(w, func() { written <- true }, func(n cert.NodeID) bool { return n != 8 }, done)
		w.Close()
		ended <- err
	}()
	go func() { ended <- b.Follow(r, func(n cert.NodeID) bool { return n != 9 }) }()
	<-written
	a.Report(8, report(t, map[Path]any{onOff: false}), false) // not its own
	a.Report(9, report(t, map[Path]any{onOff: false}), true)  // looked after by who follows
	a.Report(7, report(t, map[Path]any{onOff: false}), false)
	a.Apply(Change{Node: 7, Event: &Event{Endpoint: 1, Cluster: 59, Number: 3, Data: encoded(t, struct{}{})}})
	for range 3 {
		<-written
	}
	close(done)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	want, _ := a.Get(7)
	got, ok := b.Get(7)
	if d := cmp.Diff(want, got); !ok || d != "" {
		t.Error(d)
	}
	for _, n := range []cert.NodeID{8, 9} {
		if _, ok := b.Get(n); ok {
			t.Errorf("%v is not theirs to tell of", n)
		}
	}
	if last := b.changes[len(b.changes)-1]; last.Event == nil || last.Event.Number != 3 {
		t.Errorf("%+v", last)
	}
}

func TestSlowFollower(t *testing.T) {
	s := New(time.Now)
	blocked, release := make(chan bool), make(chan bool)
	ended := make(chan error)
	s.Report(7, report(t, map[Path]any{onOff: true}), true)
	go func() {
		ended <- s.Feed(io.Discard, func() { blocked <- true; <-release }, func(cert.NodeID) bool { return true }, nil)
	}()
	<-blocked
	for i := range maxQueue + 1 {
		s.Report(7, report(t, map[Path]any{level: uint16(i)}), false)
	}
	close(release)
	for {
		select {
		case <-blocked:
		case err := <-ended:
			if !errors.Is(err, ErrSlow) {
				t.Errorf("ended with %v", err)
			}
			return
		}
	}
}

func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes")
	s := newTold(t)
	if err := s.Load(path); err != nil {
		t.Fatalf("where there is nothing: %v", err)
	}
	s.Report(7, report(t, map[Path]any{onOff: true, level: uint8(3)}), true)
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	again := newTold(t)
	if err := again.Load(path); err != nil {
		t.Fatal(err)
	}
	n, ok := again.Get(7)
	if !ok || n.Available || len(n.Values) != 2 || n.Heard.UnixMilli() != 1000 {
		t.Errorf("%+v", n)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := again.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("written although nothing is new")
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again.Load(path); err == nil {
		t.Error("nonsense is taken")
	}
}

func FuzzFollow(f *testing.F) {
	s := New(time.Now)
	s.Report(7, report(f, map[Path]any{onOff: true, level: uint8(3)}), true)
	var b bytes.Buffer
	done := make(chan struct{})
	close(done)
	if err := s.Feed(&b, func() {}, func(cert.NodeID) bool { return true }, done); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(time.Now)
		_ = s.Follow(bytes.NewReader(b), func(cert.NodeID) bool { return true })
		for _, n := range s.nodes {
			for p, v := range n.Values {
				if _, err := tlv.Check(v); err != nil {
					t.Errorf("%v holds %x", p, v)
				}
			}
		}
	})
}
