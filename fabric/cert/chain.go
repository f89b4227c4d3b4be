package cert

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"sync/atomic"
)

// Node is what a verified NOC says.
type Node struct {
	NodeID    NodeID
	FabricID  FabricID
	CATs      []CAT
	PublicKey PublicKey
	Key       *ecdsa.PublicKey // the same, checked to be on the curve
}

// Authority is a CA that has been found worthy of belief: the trusted root of
// a fabric, or an intermediate below it. Its methods may be called from
// several goroutines.
type Authority struct {
	cert *Certificate
	key  *ecdsa.PublicKey
	root *Authority // nil for a root

	// The intermediate verified last. A fabric has one at a time, and to find
	// its signature verified already halves the work of a handshake. Only
	// intermediates signed by the root get here, so nobody can crowd it out.
	last atomic.Pointer[verified]
}

type verified struct {
	tlv string
	ca  *Authority
}

// NewRoot checks a root certificate, its own signature too. That the root is
// trusted at all is the caller's word.
func NewRoot(rcac *Certificate) (*Authority, error) {
	if err := rcac.Check(KindRoot); err != nil {
		return nil, err
	}
	key, err := rcac.PublicKey.Key()
	if err == nil {
		err = rcac.VerifySignature(key)
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", KindRoot, err)
	}
	return &Authority{cert: rcac, key: key}, nil
}

// Certificate is the authority's own; it must not be changed.
func (a *Authority) Certificate() *Certificate { return a.cert }

// Intermediate checks an intermediate certificate below a root. The caller may
// keep the result as long as it likes: Node looks at the time.
func (a *Authority) Intermediate(icac *Certificate) (*Authority, error) {
	ca, err := a.intermediate(icac)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", KindIntermediate, err)
	}
	return ca, nil
}

func (a *Authority) intermediate(icac *Certificate) (*Authority, error) {
	if a.root != nil {
		return nil, errors.New("issued by another one")
	}
	if a.cert.HasPathLen && a.cert.PathLen == 0 {
		return nil, errors.New("the root allows none")
	}
	if err := icac.check(KindIntermediate); err != nil {
		return nil, err
	}
	key, err := icac.PublicKey.Key()
	if err != nil {
		return nil, err
	}
	if err := a.issued(icac); err != nil {
		return nil, err
	}
	return &Authority{cert: icac, key: key, root: a}, nil
}

// issued checks that the authority signed c.
func (a *Authority) issued(c *Certificate) error {
	if !c.Issuer.Equal(a.cert.Subject) || c.AuthorityKeyID != a.cert.SubjectKeyID {
		return fmt.Errorf("issued by %v (key %v), not by %v (key %v)",
			c.Issuer, c.AuthorityKeyID, a.cert.Subject, a.cert.SubjectKeyID)
	}
	return c.VerifySignature(a.key)
}

// Node checks a node certificate that the authority issued, and the time of
// every certificate up to the root.
func (a *Authority) Node(noc *Certificate, when Policy) (Node, error) {
	n, err := a.node(noc, when)
	if err != nil {
		return Node{}, fmt.Errorf("%v: %w", KindNode, err)
	}
	return n, nil
}

func (a *Authority) node(noc *Certificate, when Policy) (n Node, err error) {
	if err := noc.check(KindNode); err != nil {
		return n, err
	}
	node, _ := noc.Subject.Find(AttrNodeID)
	fabric, _ := noc.Subject.Find(AttrFabricID)
	n = Node{NodeID(node), FabricID(fabric), noc.Subject.CATs(), noc.PublicKey, nil}
	if err := when(noc.NotBefore, noc.NotAfter); err != nil {
		return n, err
	}
	for ca := a; ca != nil; ca = ca.root {
		if err := when(ca.cert.NotBefore, ca.cert.NotAfter); err != nil {
			return n, fmt.Errorf("its issuer: %w", err)
		}
		if id, ok := ca.cert.Subject.Find(AttrFabricID); ok && id != fabric {
			return n, fmt.Errorf("fabric %v issued by fabric %v", n.FabricID, FabricID(id))
		}
	}
	if n.Key, err = noc.PublicKey.Key(); err != nil {
		return n, err
	}
	return n, a.issued(noc)
}

// Verify checks the chain a peer showed, in TLV: its NOC and, unless the root
// issued that, its ICAC. An empty icac is none.
func (a *Authority) Verify(noc, icac []byte, when Policy) (Node, error) {
	issuer := a
	if len(icac) != 0 {
		var err error
		if issuer, err = a.known(icac); err != nil {
			return Node{}, err
		}
	}
	c, err := Parse(noc)
	if err != nil {
		return Node{}, fmt.Errorf("%v: %w", KindNode, err)
	}
	return issuer.Node(c, when)
}

// known is the intermediate icac, verified now or the last time.
func (a *Authority) known(icac []byte) (*Authority, error) {
	if v := a.last.Load(); v != nil && v.tlv == string(icac) {
		return v.ca, nil
	}
	c, err := Parse(icac)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", KindIntermediate, err)
	}
	ca, err := a.Intermediate(c)
	if err != nil {
		return nil, err
	}
	a.last.Store(&verified{string(icac), ca})
	return ca, nil
}
