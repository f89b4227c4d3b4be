package wire

import (
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"

	"gatehouse/fabric/cert"
)

// maxChain is the longest chain a node can have below the root: NOC and ICAC.
const maxChain = 2

// Identity is who this gateway is on the home's fabric.
type Identity struct {
	Node   cert.NodeID
	Fabric cert.FabricID
	Root   *cert.Authority // the only one that is trusted
	NOC    []byte          // in TLV
	ICAC   []byte          // in TLV; empty if the root issued the NOC
	Key    crypto.Signer   // the NOC's
}

func (w *Wire) identity() (*Identity, error) {
	if id := w.cfg.Identity(); id != nil {
		return id, nil
	}
	return nil, errors.New("this gateway has no certificate yet")
}

// certificate is what the gateway shows.
func (id *Identity) certificate() (*tls.Certificate, error) {
	c, err := cert.Parse(id.NOC)
	if err != nil {
		return nil, fmt.Errorf("own certificate: %w", err)
	}
	if key, err := cert.PublicKeyOf(id.Key.Public()); err != nil || key != c.PublicKey {
		return nil, errors.New("own certificate: it belongs to another key")
	}
	shown := &tls.Certificate{PrivateKey: id.Key}
	for _, tlv := range [][]byte{id.NOC, id.ICAC} {
		if len(tlv) == 0 {
			continue
		}
		c, err := cert.Parse(tlv)
		if err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
		der, err := c.DER()
		if err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
		shown.Certificate = append(shown.Certificate, der)
	}
	return shown, nil
}

// tls is the configuration of one handshake. Of Go's own checks only those
// stay that need no X.509 chain: verify has the whole say on the peer.
func (id *Identity) tls(protocols []string, verify func(tls.ConnectionState) error) (*tls.Config, error) {
	own, err := id.certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		SessionTicketsDisabled: true, // a resumed session would skip what has changed
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true,
		VerifyConnection:       verify,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own, nil },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
	}, nil
}

// verify is the whole check of a peer by the chain it shows, in DER. That it
// has the key, TLS sees to. A want of 0 is any node.
func (w *Wire) verify(id *Identity, chain [][]byte, want cert.NodeID) (cert.Node, error) {
	n, err := w.read(id, chain)
	switch {
	case err != nil:
		return n, err
	case n.FabricID != id.Fabric:
		return n, fmt.Errorf("it belongs to fabric %v", n.FabricID)
	case want != 0 && n.NodeID != want:
		return n, fmt.Errorf("it is %v", n.NodeID)
	case n.NodeID == id.Node:
		// Whoever answers to our own id has our key, or is us.
		return n, errors.New("it claims to be this gateway")
	}
	if err := w.cfg.Admit(n); err != nil {
		return n, fmt.Errorf("%v is not let in: %w", n.NodeID, err)
	}
	return n, nil
}

// read is who shows a chain. A gateway that is known is whoever has its key,
// below whichever root its certificate is: roots change, and another
// certificate for its node id may be the work of a thief. For one that is not
// known, the home's root must vouch.
func (w *Wire) read(id *Identity, chain [][]byte) (cert.Node, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return cert.Node{}, fmt.Errorf("it shows %d certificates", len(chain))
	}
	var parsed [maxChain]*cert.Certificate
	for i, der := range chain {
		c, err := cert.ParseDER(der)
		if err != nil {
			return cert.Node{}, fmt.Errorf("its certificate %d: %w", i+1, err)
		}
		parsed[i] = c
	}
	leaf := parsed[0]
	if node, ok := leaf.Subject.Find(cert.AttrNodeID); ok && w.cfg.Known != nil {
		if key, known := w.cfg.Known(cert.NodeID(node)); known {
			if err := leaf.Check(cert.KindNode); err != nil {
				return cert.Node{}, err
			}
			if leaf.PublicKey != key {
				return cert.Node{}, fmt.Errorf("it claims to be gateway %v and has another key", cert.NodeID(node))
			}
			fabric, _ := leaf.Subject.Find(cert.AttrFabricID)
			return cert.Node{NodeID: cert.NodeID(node), FabricID: cert.FabricID(fabric), CATs: leaf.Subject.CATs(), PublicKey: key}, nil
		}
	}
	var icac []byte
	if parsed[1] != nil {
		icac = parsed[1].TLV()
	}
	return id.Root.Verify(leaf.TLV(), icac, cert.AnyTime)
}
