package securechannel

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/message/ccm"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

const (
	publicKeySize    = 65
	signatureSize    = 64
	resumptionIDSize = 16
)

// Nonces of the encrypted parts: each key is used once.
const (
	nonceSigma2  = "NCASE_Sigma2N"
	nonceSigma3  = "NCASE_Sigma3N"
	nonceResume1 = "NCASE_SigmaS1"
	nonceResume2 = "NCASE_SigmaS2"
)

type sigma1 struct {
	Random       [randomSize]byte        `tlv:"1"`
	SessionID    uint16                  `tlv:"2"`
	Destination  [sha256.Size]byte       `tlv:"3"`
	Key          [publicKeySize]byte     `tlv:"4"`
	Params       *sessionParams          `tlv:"5"`
	ResumptionID *[resumptionIDSize]byte `tlv:"6"`
	ResumeMIC    *[message.TagSize]byte  `tlv:"7"`
}

type sigma2 struct {
	Random    [randomSize]byte    `tlv:"1"`
	SessionID uint16              `tlv:"2"`
	Key       [publicKeySize]byte `tlv:"3"`
	Encrypted []byte              `tlv:"4"`
	Params    *sessionParams      `tlv:"5"`
}

type sigma2Resume struct {
	ResumptionID [resumptionIDSize]byte `tlv:"1"`
	ResumeMIC    [message.TagSize]byte  `tlv:"2"`
	SessionID    uint16                 `tlv:"3"`
	Params       *sessionParams         `tlv:"4"`
}

type sigma3 struct {
	Encrypted []byte `tlv:"1"`
}

// tbs is what a side signs: its own certificates and key, then the other's key.
type tbs struct {
	NOC      []byte              `tlv:"1"`
	ICAC     []byte              `tlv:"2,omitempty"`
	Key      [publicKeySize]byte `tlv:"3"`
	OtherKey [publicKeySize]byte `tlv:"4"`
}

// tbe is what a side encrypts; the initiator's has no resumption id.
type tbe struct {
	NOC          []byte                  `tlv:"1"`
	ICAC         []byte                  `tlv:"2,omitempty"`
	Signature    [signatureSize]byte     `tlv:"3"`
	ResumptionID *[resumptionIDSize]byte `tlv:"4"`
}

// Identity is who we are on a fabric.
type Identity struct {
	Index  uint8 // our number for the fabric, from 1
	Fabric cert.FabricID
	Node   cert.NodeID
	Root   *cert.Authority
	NOC    []byte // TLV
	ICAC   []byte // TLV; empty where the root issued the NOC
	Key    crypto.Signer
	IPK    cert.GroupKey // operational
	Valid  cert.Policy   // how strictly a peer's validity is taken
	// Knows reports whether a node may have a public key: a certificate alone may
	// be the work of who has taken the authority's key. nil takes any.
	Knows func(cert.NodeID, cert.PublicKey) bool
}

// destination hides which node of which fabric a Sigma1 is for.
func (id *Identity) destination(random [randomSize]byte, node cert.NodeID) [sha256.Size]byte {
	ipk := id.IPK.Reveal()
	root := id.Root.Certificate().PublicKey
	m := hmac.New(sha256.New, ipk[:])
	m.Write(random[:])
	m.Write(root[:])
	var ids [16]byte
	binary.LittleEndian.PutUint64(ids[:], uint64(id.Fabric))
	binary.LittleEndian.PutUint64(ids[8:], uint64(node))
	m.Write(ids[:])
	return [sha256.Size]byte(m.Sum(nil))
}

// sign proves that we hold the key of our NOC, and bound to this handshake.
func (id *Identity) sign(random io.Reader, own, other [publicKeySize]byte) (*tbe, error) {
	data, err := tlv.Marshal(&tbs{id.NOC, id.ICAC, own, other})
	if err != nil {
		return nil, err
	}
	sig, err := cert.SignMessage(random, id.Key, data)
	if err != nil {
		return nil, err
	}
	return &tbe{NOC: id.NOC, ICAC: id.ICAC, Signature: sig}, nil
}

// verify is the inverse of the peer's sign: who it is, if its chain and
// signature are good.
func (id *Identity) verify(t *tbe, own, other [publicKeySize]byte) (cert.Node, error) {
	node, err := id.Root.Verify(t.NOC, t.ICAC, id.Valid)
	if err != nil {
		return cert.Node{}, err
	}
	if node.FabricID != id.Fabric {
		return cert.Node{}, errors.New("its certificate is of another fabric")
	}
	data, err := tlv.Marshal(&tbs{t.NOC, t.ICAC, own, other})
	if err != nil {
		return cert.Node{}, err
	}
	if !cert.Signature(t.Signature).Verify(node.Key, data) {
		return cert.Node{}, errors.New("its signature is wrong")
	}
	if id.Knows != nil && !id.Knows(node.NodeID, node.PublicKey) {
		return cert.Node{}, fmt.Errorf("it claims to be node %v and has another key", node.NodeID)
	}
	return node, nil
}

// sigmaKey derives the key of one encrypted part from the shared secret.
func sigmaKey(secret []byte, info string, salt ...[]byte) ([]byte, error) {
	var s []byte
	for _, part := range salt {
		s = append(s, part...)
	}
	return hkdf.Key(sha256.New, secret, s, info, message.KeySize)
}

func sealPart(key []byte, nonce string, plain []byte) ([]byte, error) {
	aead, err := newCCM(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, []byte(nonce), plain, nil), nil
}

func openPart(key []byte, nonce string, sealed []byte) ([]byte, error) {
	aead, err := newCCM(key)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, []byte(nonce), sealed, nil)
}

func newCCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return ccm.New(block, len(nonceSigma2), message.TagSize)
}
