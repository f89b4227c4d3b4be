package nodes

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/fabric/cert"
)

// Limits of ours on what another gateway may send.
const (
	maxQueue  = 4096 // changes that wait for a slow gateway, which then is cut off
	maxArrays = 20_000
)

var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxArrayElements: maxArrays, MaxMapPairs: 64, MaxNestedLevels: 8}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// ErrSlow ends a feed to somebody who does not keep up.
var ErrSlow = errors.New("nodes: the other gateway does not keep up")

// Feed writes what devices have said, and then every change, as a sequence of
// CBOR, until done is closed or writing fails. mine says whose this gateway's
// word counts: of others it is silent. each is called after a change is
// written.
func (s *Store) Feed(w io.Writer, each func(), mine func(cert.NodeID) bool, done <-chan struct{}) error {
	queue, slow := make(chan Change, maxQueue), make(chan struct{})
	now, stop := s.Watch(func(c Change) {
		if c.removed || !mine(c.Node) {
			return
		}
		select {
		case queue <- c:
		default:
			select {
			case <-slow:
			default:
				close(slow)
			}
		}
	})
	defer stop()
	enc := cbor.NewEncoder(w)
	write := func(c Change) error {
		err := enc.Encode(c)
		if err == nil {
			each()
		}
		return err
	}
	for _, n := range now {
		if mine(n.ID) {
			if err := write(n.whole()); err != nil {
				return err
			}
		}
	}
	for {
		select {
		case c := <-queue:
			if err := write(c); err != nil {
				return err
			}
		case <-slow:
			return ErrSlow
		case <-done:
			return nil
		}
	}
}

// whole is a Node as the Change that makes it.
func (n *Node) whole() Change {
	available := n.Available
	c := Change{Node: n.ID, Full: !n.Heard.IsZero(), Available: &available}
	if c.Full {
		c.Heard = n.Heard.UnixMilli()
	}
	if !n.Awake.IsZero() {
		c.Awake = n.Awake.UnixMilli()
	}
	for p, v := range n.Values {
		c.Values = append(c.Values, Value{p, v})
	}
	slices.SortFunc(c.Values, func(a, b Value) int { return ComparePaths(a.Path, b.Path) })
	return c
}

// ComparePaths orders paths: by endpoint, then cluster, then attribute.
func ComparePaths(a, b Path) int {
	for _, d := range []int{int(a.Endpoint) - int(b.Endpoint), int(int64(a.Cluster) - int64(b.Cluster)), int(int64(a.Attribute) - int64(b.Attribute))} {
		if d != 0 {
			return d
		}
	}
	return 0
}

// Follow takes in what another gateway's Feed writes, of devices of the home
// that this gateway does not look after itself.
func (s *Store) Follow(r io.Reader, theirs func(cert.NodeID) bool) error {
	d := decoding.NewDecoder(r)
	for {
		var c Change
		if err := d.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("what another gateway tells of devices: %w", err)
		}
		if theirs(c.Node) {
			s.Apply(c.sound())
		}
	}
}
