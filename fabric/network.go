package fabric

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Limits of what a Network is called by. An SSID has 1 to 32 octets, an
// extended PAN id 8 (Matter Core 11.9.7).
const (
	MaxNetworks   = 32
	maxSSID       = 32
	extendedPANID = 8
)

// NetworkKind says which kind of radio a Network is for.
type NetworkKind uint8

const (
	WiFi NetworkKind = iota + 1
	Thread
)

func (k NetworkKind) String() string {
	switch k {
	case WiFi:
		return "wifi"
	case Thread:
		return "thread"
	}
	return fmt.Sprintf("network kind %d", uint8(k))
}

// Network is one that devices are put on. The trust state has its credentials
// as ciphertext only.
type Network struct {
	Name      string      `cbor:"0,keyasint"`
	Kind      NetworkKind `cbor:"1,keyasint"`
	ID        []byte      `cbor:"2,keyasint"` // SSID or extended PAN id: what a device calls it by
	Sealed    []byte      `cbor:"3,keyasint"` // password or operational dataset
	DataKey   uint32      `cbor:"4,keyasint"` // number of the data key it is sealed with
	SetAt     int64       `cbor:"5,keyasint"` // Unix ms
	Preferred bool        `cbor:"6,keyasint"` // among those of its kind
	// Exposed says that a gateway was evicted which knew the credentials.
	Exposed bool `cbor:"7,keyasint,omitempty"`
}

// ThreadID is the ID of the Thread network with an extended PAN id.
func ThreadID(panID uint64) []byte { return binary.BigEndian.AppendUint64(nil, panID) }

// SetNetwork adds a network, or gives the one of that name other credentials.
// The first of a kind is preferred.
type SetNetwork struct {
	Name    string      `cbor:"0,keyasint"`
	Kind    NetworkKind `cbor:"1,keyasint"`
	ID      []byte      `cbor:"2,keyasint"`
	Sealed  []byte      `cbor:"3,keyasint"`
	DataKey uint32      `cbor:"4,keyasint"`
}

// RemoveNetwork forgets a network. Devices that are on it stay there.
type RemoveNetwork struct {
	Name string `cbor:"0,keyasint"`
}

// PreferNetwork makes a network the one that devices of its kind are put on
// when nobody says otherwise.
type PreferNetwork struct {
	Name string `cbor:"0,keyasint"`
}

// NetworksOf are the networks of a kind: the preferred one first, the others
// by name.
func (s *State) NetworksOf(kind NetworkKind) []*Network {
	var of []*Network
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		if n := s.Networks[name]; n.Kind == kind {
			of = append(of, n)
		}
	}
	slices.SortStableFunc(of, func(a, b *Network) int {
		switch {
		case a.Preferred == b.Preferred:
			return 0
		case a.Preferred:
			return -1
		}
		return 1
	})
	return of
}

func (s *State) setNetwork(c *SetNetwork) error {
	before := s.Networks[c.Name]
	switch {
	case c.Name == "" || len(c.Name) > MaxText:
		return refuse(CodeInvalid, "a network needs a name of at most 256 octets")
	case c.Kind == WiFi && (len(c.ID) == 0 || len(c.ID) > maxSSID):
		return refuse(CodeInvalid, "an SSID has 1 to 32 octets")
	case c.Kind == Thread && len(c.ID) != extendedPANID:
		return refuse(CodeInvalid, "an extended PAN id has 8 octets")
	case c.Kind != WiFi && c.Kind != Thread:
		return refuse(CodeInvalid, "a network is for Wi-Fi or for Thread")
	case len(c.Sealed) == 0 || len(c.Sealed) > MaxBlob:
		return refuse(CodeInvalid, "the network's credentials are missing or too long")
	case s.DataKey() != c.DataKey:
		return refuse(CodeSealing, "the credentials are sealed with a key that is no longer in use")
	case before != nil && before.Kind != c.Kind:
		return refuse(CodeExists, fmt.Sprintf("%q is a network of the other kind", c.Name))
	case before == nil && len(s.Networks) >= MaxNetworks:
		return refuse(CodeFull, fmt.Sprintf("the home has %d networks", len(s.Networks)))
	}
	s.putNetwork(&Network{Name: c.Name, Kind: c.Kind, ID: c.ID, Sealed: c.Sealed, DataKey: c.DataKey, SetAt: s.Time,
		Preferred: before != nil && before.Preferred || len(s.NetworksOf(c.Kind)) == 0})
	return nil
}

func (s *State) putNetwork(n *Network) {
	s.Networks = maps.Clone(s.Networks)
	if s.Networks == nil {
		s.Networks = map[string]*Network{}
	}
	s.Networks[n.Name] = n
}

func (s *State) network(name string) (*Network, error) {
	if n := s.Networks[name]; n != nil {
		return n, nil
	}
	return nil, refuse(CodeNoNetwork, fmt.Sprintf("there is no network %q", name))
}

func (s *State) removeNetwork(c *RemoveNetwork) error {
	n, err := s.network(c.Name)
	if err != nil {
		return err
	}
	s.Networks = maps.Clone(s.Networks)
	delete(s.Networks, c.Name)
	if len(s.Networks) == 0 {
		s.Networks = nil // as a snapshot brings it back
	}
	if rest := s.NetworksOf(n.Kind); n.Preferred && len(rest) > 0 {
		return s.preferNetwork(&PreferNetwork{rest[0].Name})
	}
	return nil
}

func (s *State) preferNetwork(c *PreferNetwork) error {
	chosen, err := s.network(c.Name)
	if err != nil {
		return err
	}
	for _, n := range s.NetworksOf(chosen.Kind) {
		if preferred := n == chosen; n.Preferred != preferred {
			n := *n
			n.Preferred = preferred
			s.putNetwork(&n)
		}
	}
	return nil
}
