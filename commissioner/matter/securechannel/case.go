package securechannel

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// CASE establishes a session with a node of our fabric, resumed where rs knows
// a secret and the node still does too. It returns a *Status from the node, an
// error of exchange, or one that says what is wrong with the node's proof.
func CASE(ctx context.Context, m *exchange.Manager, peer Peer, id *Identity, node cert.NodeID, rs *Resumptions) (*exchange.Session, error) {
	h, end, err := begin(m, peer)
	if err != nil {
		return nil, err
	}
	defer end()
	c := &caseInitiator{handshake: h, peer: peer, id: id, node: node, rs: rs}
	s, err := c.run(ctx)
	if err != nil {
		rs.Forget(id.Index, node) // in case it was the resumption that failed
		h.refuse(ctx, err, CodeInvalidParameter)
		return nil, fmt.Errorf("CASE with node %v: %w", node, err)
	}
	return s, nil
}

type caseInitiator struct {
	handshake
	peer Peer
	id   *Identity
	node cert.NodeID
	rs   *Resumptions

	sigma1     sigma1
	sigma1Body []byte
	key        *ecdh.PrivateKey
	params     exchange.Params
}

func (c *caseInitiator) run(ctx context.Context) (*exchange.Session, error) {
	record := c.rs.find(c.id.peer(c.node))
	if err := c.start(ctx, record); err != nil {
		return nil, err
	}
	opcode, body, err := c.receive(ctx, cryptWork, opSigma2, opSigma2Resume)
	if err != nil {
		return nil, err
	}
	if opcode == opSigma2Resume {
		return c.resume(ctx, record, body)
	}
	return c.full(ctx, body)
}

// start sends Sigma1.
func (c *caseInitiator) start(ctx context.Context, record *resumption) (err error) {
	s := &c.sigma1
	s.SessionID, s.Params = c.handshake.id, ourParams(c.m.Params())
	if _, err := io.ReadFull(c.m.Random(), s.Random[:]); err != nil {
		return err
	}
	if c.key, err = ecdh.P256().GenerateKey(c.m.Random()); err != nil {
		return err
	}
	s.Key = [publicKeySize]byte(c.key.PublicKey().Bytes())
	s.Destination = c.id.destination(s.Random, c.node)
	if record != nil {
		mic, err := resumeMIC(record.secret, s.Random, record.id, "Sigma1_Resume", nonceResume1)
		if err != nil {
			return err
		}
		s.ResumptionID, s.ResumeMIC = &record.id, &mic
	}
	c.sigma1Body, err = c.send(ctx, opSigma1, s)
	return err
}

func (c *caseInitiator) config(peerID uint16, cats []cert.CAT) exchange.SessionConfig {
	return exchange.SessionConfig{Kind: exchange.CASE, LocalID: c.handshake.id, PeerID: peerID, LocalNode: uint64(c.id.Node), PeerNode: uint64(c.node),
		Fabric: c.id.Index, CATs: catNumbers(cats), Params: c.params, Link: c.peer.Link, Addr: c.peer.Addr}
}

func catNumbers(cats []cert.CAT) []uint32 {
	var numbers []uint32
	for _, c := range cats {
		numbers = append(numbers, uint32(c))
	}
	return numbers
}

// resume takes Sigma2Resume.
func (c *caseInitiator) resume(ctx context.Context, record *resumption, body []byte) (*exchange.Session, error) {
	var s2 sigma2Resume
	if err := tlv.Unmarshal(body, &s2); err != nil {
		return nil, err
	}
	if record == nil || s2.SessionID == 0 {
		return nil, errors.New("it resumes a session that we did not ask for")
	}
	mic, err := resumeMIC(record.secret, c.sigma1.Random, s2.ResumptionID, "Sigma2_Resume", nonceResume2)
	if err != nil {
		return nil, err
	}
	if !sameMIC(mic, s2.ResumeMIC) {
		return nil, errors.New("its proof of resumption is wrong")
	}
	c.params = s2.Params.apply(c.peer.Params)
	salt := append(c.sigma1.Random[:], record.id[:]...)
	s, err := c.establish(c.config(s2.SessionID, record.cats), record.secret, salt, "SessionResumptionKeys", true)
	if err != nil {
		return nil, err
	}
	c.rs.save(&resumption{record.peer, s2.ResumptionID, record.secret, record.cats})
	return s, report(ctx, c.x, established)
}

// full takes Sigma2 and sends Sigma3.
func (c *caseInitiator) full(ctx context.Context, s2Body []byte) (*exchange.Session, error) {
	var s2 sigma2
	if err := tlv.Unmarshal(s2Body, &s2); err != nil {
		return nil, err
	}
	if s2.SessionID == 0 {
		return nil, errors.New("it gave no session id")
	}
	c.params = s2.Params.apply(c.peer.Params)
	c.x.Session().SetParams(c.params)
	secret, err := sharedSecret(c.key, s2.Key)
	if err != nil {
		return nil, err
	}
	ipk := c.id.IPK.Reveal()
	transcript := sha256.New()
	transcript.Write(c.sigma1Body)
	key, err := sigmaKey(secret, "Sigma2", ipk[:], s2.Random[:], s2.Key[:], transcript.Sum(nil))
	if err != nil {
		return nil, err
	}
	plain, err := openPart(key, nonceSigma2, s2.Encrypted)
	if err != nil {
		return nil, err
	}
	var proof tbe
	if err := tlv.Unmarshal(plain, &proof); err != nil {
		return nil, err
	}
	node, err := c.id.verify(&proof, s2.Key, c.sigma1.Key)
	if err != nil {
		return nil, err
	}
	if node.NodeID != c.node || proof.ResumptionID == nil {
		return nil, fmt.Errorf("node %v answers in its place", node.NodeID)
	}
	transcript.Write(s2Body)
	s3Body, err := c.sendSigma3(ctx, secret, s2.Key, ipk[:], transcript.Sum(nil))
	if err != nil {
		return nil, err
	}
	if err := c.confirm(ctx); err != nil {
		return nil, err
	}
	transcript.Write(s3Body)
	salt := append(ipk[:], transcript.Sum(nil)...)
	s, err := c.establish(c.config(s2.SessionID, node.CATs), secret, salt, "SessionKeys", true)
	if err != nil {
		return nil, err
	}
	c.rs.save(&resumption{c.id.peer(c.node), *proof.ResumptionID, secret, node.CATs})
	return s, nil
}

func (c *caseInitiator) sendSigma3(ctx context.Context, secret []byte, other [publicKeySize]byte, ipk, transcript []byte) ([]byte, error) {
	proof, err := c.id.sign(c.m.Random(), c.sigma1.Key, other)
	if err != nil {
		return nil, err
	}
	key, err := sigmaKey(secret, "Sigma3", ipk, transcript)
	if err != nil {
		return nil, err
	}
	encrypted, err := sealTBE(key, nonceSigma3, proof)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, opSigma3, &sigma3{encrypted})
}

func sealTBE(key []byte, nonce string, proof *tbe) ([]byte, error) {
	plain, err := tlv.Marshal(proof)
	if err != nil {
		return nil, err
	}
	return sealPart(key, nonce, plain)
}

func sharedSecret(own *ecdh.PrivateKey, other [publicKeySize]byte) ([]byte, error) {
	key, err := ecdh.P256().NewPublicKey(other[:])
	if err != nil {
		return nil, errors.New("its ephemeral key is no point of the curve")
	}
	return own.ECDH(key)
}
