package fabric

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"gatehouse/fabric/cert"
)

// Keyring holds the two data keys that the trust state's secrets are sealed
// with, each in an envelope for every gateway. With one gateway the envelope
// is closed to it alone; with more, to the gateway and then to a helper, one
// for each pair: what one disk holds opens nothing.
type Keyring struct {
	Number  uint32     `cbor:"0,keyasint"`           // grows whenever the keys are drawn anew
	Issuing []Envelope `cbor:"1,keyasint"`           // of the key for the issuing authority's private key
	Shared  []Envelope `cbor:"2,keyasint"`           // of the key for what every gateway needs: IPK, network credentials
	Suite   uint8      `cbor:"3,keyasint,omitempty"` // what the secrets are sealed with; 0 stands for 1
}

// Envelope is a data key, closed to a gateway and then to its helper.
type Envelope struct {
	Gateway cert.NodeID `cbor:"0,keyasint"` // 0: the recovery kit
	Helper  cert.NodeID `cbor:"1,keyasint"` // 0: none
	// To is what the envelope is closed to: SHA-256 over both public keys.
	To   []byte `cbor:"2,keyasint"`
	Blob []byte `cbor:"3,keyasint"`
}

// recoveryKit stands for the kit where an envelope names a gateway.
const recoveryKit cert.NodeID = 0

// Addressee is for whom an envelope has to be.
type Addressee struct {
	Gateway, Helper       cert.NodeID
	GatewayKey, HelperKey []byte // public sealing keys
}

// To is what an envelope for the addressee says it is closed to.
func (a *Addressee) To() []byte {
	gateway := sha256.Sum256(a.GatewayKey)
	helper := sha256.Sum256(a.HelperKey)
	sum := sha256.Sum256(append(gateway[:], helper[:]...))
	return sum[:]
}

// Addressees are for whom the data keys have to be in envelopes now. The
// recovery kit has the shared key only: with it comes the root, which makes a
// new issuing authority.
func (s *State) Addressees() (issuing, shared []Addressee) {
	members := s.Members()
	for _, g := range members {
		if len(members) == 1 {
			issuing = append(issuing, Addressee{g.Node, 0, g.SealKey, nil})
		}
		for _, h := range members {
			if h != g {
				issuing = append(issuing, Addressee{g.Node, h.Node, g.SealKey, h.SealKey})
			}
		}
	}
	shared = slices.Clone(issuing)
	if s.Home.Recovery != nil {
		shared = append(shared, Addressee{recoveryKit, 0, s.Home.Recovery, nil})
	}
	return issuing, shared
}

func fits(have []Envelope, want []Addressee) bool {
	return slices.EqualFunc(have, want, func(e Envelope, a Addressee) bool {
		return e.Gateway == a.Gateway && e.Helper == a.Helper && sameOctets(e.To, a.To())
	})
}

// SealedRight reports whether the keyring is for exactly the gateways, with
// the sealing keys and the algorithms they have now.
func (s *State) SealedRight() bool {
	issuing, shared := s.Addressees()
	return s.Keyring != nil && s.Keyring.Suite == s.Suite && fits(s.Keyring.Issuing, issuing) && fits(s.Keyring.Shared, shared)
}

// SealedFor reports whether a gateway, with another's help, opens the home's
// secrets. One that does not must not come to lead: whoever leads signs, and
// seals for others.
func (s *State) SealedFor(n cert.NodeID) bool {
	of := func(e Envelope) bool { return e.Gateway == n }
	return s.Keyring == nil || slices.ContainsFunc(s.Keyring.Issuing, of) && slices.ContainsFunc(s.Keyring.Shared, of)
}

// OpensAlone reports whether a gateway's present sealing key opens an envelope
// without a helper. In a home with several, that key has to go.
func (s *State) OpensAlone(n cert.NodeID) bool {
	g := s.Gateways[n]
	if g == nil || len(s.Members()) < 2 {
		return false
	}
	if s.Keyring == nil {
		return s.Generation().DataKeys[n] != nil
	}
	alone := Addressee{n, 0, g.SealKey, nil}
	return slices.ContainsFunc(s.Keyring.Shared, func(e Envelope) bool {
		return e.Gateway == n && e.Helper == 0 && sameOctets(e.To, alone.To())
	})
}

// DataKey is the number of the data keys that secrets are sealed with now.
func (s *State) DataKey() uint32 {
	if s.Keyring != nil {
		return s.Keyring.Number
	}
	return s.Generation().Number // in version 1
}

// SetSealKey gives a gateway another public sealing key.
type SetSealKey struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	SealKey []byte      `cbor:"1,keyasint"`
}

// Reseal replaces the data keys and with them all that is sealed, at once.
type Reseal struct {
	Keyring   Keyring           `cbor:"0,keyasint"`
	IssuerKey []byte            `cbor:"1,keyasint"`
	IPK       []byte            `cbor:"2,keyasint"`
	Networks  map[string][]byte `cbor:"3,keyasint"` // sealed credentials, by name
	// Recovery replaces the kit's public sealing key, if given.
	Recovery []byte `cbor:"4,keyasint,omitempty"`
	// ICAC begins another generation, whose IssuerKey it is, if given.
	ICAC []byte `cbor:"5,keyasint,omitempty"`
	// Of is State.Sealed of the State whose secrets these are.
	Of []byte `cbor:"6,keyasint"`
	// Former is the identity protection key of the fabric of before a change
	// of the root, while there is one.
	Former []byte `cbor:"7,keyasint,omitempty"`
	// People is People.Key, if there is a list of people.
	People []byte `cbor:"8,keyasint,omitempty"`
}

// RotateSealing has the home's secrets sealed with newer algorithms from now
// on. Gateways then renew their sealing keys, each when it is up.
type RotateSealing struct {
	Suite uint8 `cbor:"0,keyasint"` // a seal.Suite
}

// maxSuite is the newest that this version knows.
const maxSuite = 2

// SealSuite is the seal.Suite that secrets are to be sealed with.
func (s *State) SealSuite() uint8 { return max(s.Suite, 1) }

func (s *State) rotateSealing(c *RotateSealing) error {
	switch {
	case c.Suite > maxSuite:
		return refuse(CodeInvalid, fmt.Sprintf("there is no suite %d of algorithms", c.Suite))
	case c.Suite <= s.SealSuite():
		return refuse(CodeInvalid, fmt.Sprintf("the home seals with suite %d of algorithms already, and goes to newer ones only", s.SealSuite()))
	}
	s.Suite = c.Suite
	return nil
}

// newer reports whether the first version of a Keyring does not know all of it.
func (c *Reseal) newer() bool { return c != nil && (c.Keyring.Suite != 0 || c.Former != nil) }

// peopled reports whether earlier versions do not know all of it.
func (c *Reseal) peopled() bool { return c != nil && c.People != nil }

// Sealed names all that is sealed in the State: SHA-256 over it.
func (s *State) Sealed() []byte {
	h := sha256.New()
	put := func(b []byte) {
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	put(s.Generation().Key)
	put(s.Home.IPK)
	if s.Former != nil {
		put(s.Former.IPK)
	}
	if s.People != nil {
		put(s.People.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		put([]byte(name))
		put(s.Networks[name].Sealed)
	}
	return h.Sum(nil)
}

func (s *State) setSealKey(c *SetSealKey) error {
	g, err := s.gateway(c.Node)
	switch {
	case err != nil:
		return err
	case len(c.SealKey) == 0 || len(c.SealKey) > MaxBlob:
		return refuse(CodeInvalid, "the sealing key is missing or too long")
	}
	g.SealKey = c.SealKey
	s.putGateway(g)
	return nil
}

// reseal takes the new keyring only if it fits the gateways of this very
// State, and covers every secret in it: else some secret would be lost.
func (s *State) reseal(c *Reseal) error {
	if len(c.IssuerKey) == 0 || len(c.IssuerKey) > MaxBlob || len(c.IPK) == 0 || len(c.IPK) > MaxBlob ||
		len(c.ICAC) > cert.MaxTLV || len(c.Recovery) > MaxBlob {
		return refuse(CodeInvalid, "a sealed key is missing or too long")
	}
	if c.Keyring.Number != s.DataKey()+1 {
		return refuse(CodeSealing, fmt.Sprintf("data keys %d are in use, %d cannot follow", s.DataKey(), c.Keyring.Number))
	}
	if len(c.Former) > MaxBlob || (len(c.Former) > 0) != (s.Former != nil) || !sameOctets(c.Of, s.Sealed()) || !slices.Equal(slices.Sorted(maps.Keys(c.Networks)), slices.Sorted(maps.Keys(s.Networks))) {
		return refuse(CodeSealing, "the home's secrets have changed meanwhile")
	}
	if len(c.People) > MaxBlob || (len(c.People) > 0) != (s.People != nil) {
		return refuse(CodeSealing, "the home has got a list of people meanwhile")
	}
	next := *s
	if s.People != nil {
		people := *s.People
		people.Key = c.People
		next.People = &people
	}
	if c.Recovery != nil {
		next.Home.Recovery = c.Recovery
	}
	keyring := c.Keyring
	next.Keyring = &keyring
	if !next.SealedRight() {
		return refuse(CodeSealing, "the home's gateways have changed meanwhile")
	}
	next.Home.IPK = c.IPK
	if s.Former != nil {
		former := *s.Former
		former.IPK = c.Former
		next.Former = &former
	}
	next.Generations = slices.Clone(s.Generations)
	if c.ICAC != nil {
		next.Generations = append(next.Generations, Generation{Number: s.Generation().Number + 1, ICAC: c.ICAC})
	}
	g := next.Generation()
	g.Key, g.DataKeys = c.IssuerKey, nil
	for name, sealed := range c.Networks {
		if len(sealed) == 0 || len(sealed) > MaxBlob {
			return refuse(CodeInvalid, "a network's credentials are missing or too long")
		}
		n := *s.Networks[name]
		n.Sealed, n.DataKey = sealed, keyring.Number
		next.putNetwork(&n)
	}
	*s = next
	return nil
}
