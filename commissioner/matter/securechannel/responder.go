package securechannel

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Limits of ours.
const (
	maxHandshakes = 8               // at once, of strangers
	busyWait      = 2 * time.Second // what one too many is told
)

// Responder answers the handshakes that peers begin, and their farewells.
type Responder struct {
	Manager *exchange.Manager
	Log     *slog.Logger
	// Identities are those we have now.
	Identities  func() []*Identity
	Resumptions *Resumptions
	// Window is the open commissioning window, or nil: nobody may pair. It is
	// called once for each attempt, which it may count.
	Window func() *Window
	// Paired is told of each attempt's end; a nil session failed. Either
	// callback may be nil on a node that is never paired.
	Paired func(*exchange.Session, error)

	running atomic.Int32
}

// Register makes the manager hand handshakes to the responder.
func (r *Responder) Register() { r.Manager.Handle(message.SecureChannel, r.handle) }

func (r *Responder) handle(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
	switch first.Opcode {
	case opStatusReport:
		if s, err := ParseStatus(first.Body); err == nil && s.Code == CodeCloseSession && x.Session().Kind() != exchange.Unsecured {
			x.Session().Close()
		}
	case opPBKDFParamRequest, opSigma1:
		if x.Session().Kind() != exchange.Unsecured {
			return
		}
		if r.running.Add(1) > maxHandshakes {
			wait := binary.LittleEndian.AppendUint16(nil, uint16(busyWait.Milliseconds()))
			report(ctx, x, (&Status{General: Busy, Code: CodeBusy, Data: wait}).Encode())
		} else {
			r.handshake(ctx, x, first)
		}
		r.running.Add(-1)
		flush, cancel := context.WithTimeout(ctx, x.Session().ResponseTimeout(0))
		defer cancel()
		x.Flush(flush) // the last report, which the peer may have missed
	}
}

// errNoSharedRoot makes the responder say so to the peer.
var errNoSharedRoot = errors.New("no fabric of ours is meant")

func (r *Responder) handshake(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
	id, err := r.Manager.ReserveID()
	if err != nil {
		report(ctx, x, (&Status{General: ResourceExhausted, Code: CodeBusy, Data: []byte{0, 0}}).Encode())
		return
	}
	defer r.Manager.ReleaseID(id)
	h := handshake{r.Manager, x, id}
	if first.Opcode == opSigma1 {
		_, err = (&caseResponder{handshake: h, r: r}).run(ctx, first.Body)
	} else {
		err = r.pase(ctx, h, first.Body)
	}
	if err != nil {
		code := uint16(CodeInvalidParameter)
		if errors.Is(err, errNoSharedRoot) {
			code = CodeNoSharedRoot
		}
		h.refuse(ctx, err, code)
		r.Log.Info("handshake failed", "from", x.Session().Addr(), "err", err)
	}
}

func (r *Responder) pase(ctx context.Context, h handshake, body []byte) error {
	if r.Window == nil {
		return errors.New("this node is never paired")
	}
	w := r.Window()
	if w == nil {
		return errors.New("no commissioning window is open")
	}
	s, err := h.respondPASE(ctx, body, w)
	if err != nil {
		s = nil
		err = fmt.Errorf("PASE: %w", err)
	}
	if r.Paired != nil {
		r.Paired(s, err)
	}
	return err
}

type caseResponder struct {
	handshake
	r  *Responder
	id *Identity

	sigma1     sigma1
	sigma1Body []byte
	params     exchange.Params
}

func (c *caseResponder) run(ctx context.Context, body []byte) (*exchange.Session, error) {
	if err := tlv.Unmarshal(body, &c.sigma1); err != nil {
		return nil, err
	}
	c.sigma1Body = body
	s1 := &c.sigma1
	if s1.SessionID == 0 || (s1.ResumptionID == nil) != (s1.ResumeMIC == nil) {
		return nil, errors.New("Sigma1 has half a resumption or no session id")
	}
	c.params = s1.Params.apply(exchange.Params{})
	c.x.Session().SetParams(c.params)
	if s, err := c.resume(ctx); s != nil || err != nil {
		return s, err
	}
	for _, id := range c.r.Identities() {
		if id.destination(s1.Random, id.Node) == s1.Destination {
			c.id = id
			return c.full(ctx)
		}
	}
	return nil, errNoSharedRoot
}

// resume answers a Sigma1 that resumes a session we remember; where it does
// not, the handshake is full.
func (c *caseResponder) resume(ctx context.Context) (*exchange.Session, error) {
	s1 := &c.sigma1
	if s1.ResumptionID == nil {
		return nil, nil
	}
	record := c.r.Resumptions.findID(*s1.ResumptionID)
	if record == nil {
		return nil, nil
	}
	mic, err := resumeMIC(record.secret, s1.Random, record.id, "Sigma1_Resume", nonceResume1)
	if err != nil || !sameMIC(mic, *s1.ResumeMIC) {
		return nil, err
	}
	for _, id := range c.r.Identities() {
		if id.peer(record.peer.node) == record.peer {
			c.id = id
		}
	}
	if c.id == nil {
		return nil, nil
	}
	s2 := sigma2Resume{SessionID: c.handshake.id, Params: ourParams(c.m.Params())}
	if _, err := io.ReadFull(c.m.Random(), s2.ResumptionID[:]); err != nil {
		return nil, err
	}
	if s2.ResumeMIC, err = resumeMIC(record.secret, s1.Random, s2.ResumptionID, "Sigma2_Resume", nonceResume2); err != nil {
		return nil, err
	}
	salt := append(s1.Random[:], record.id[:]...)
	s, err := c.establish(c.config(record.peer.node, record.cats), record.secret, salt, "SessionResumptionKeys", false)
	if err != nil {
		return nil, err
	}
	if _, err = c.send(ctx, opSigma2Resume, &s2); err == nil {
		err = c.confirm(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	c.r.Resumptions.save(&resumption{record.peer, s2.ResumptionID, record.secret, record.cats})
	return s, nil
}

func (c *caseResponder) config(node cert.NodeID, cats []cert.CAT) exchange.SessionConfig {
	return exchange.SessionConfig{Kind: exchange.CASE, LocalID: c.handshake.id, PeerID: c.sigma1.SessionID, LocalNode: uint64(c.id.Node), PeerNode: uint64(node),
		Fabric: c.id.Index, CATs: catNumbers(cats), Params: c.params, Link: c.x.Session().Link(), Addr: c.x.Session().Addr()}
}

// full sends Sigma2 and takes Sigma3.
func (c *caseResponder) full(ctx context.Context) (*exchange.Session, error) {
	s1 := &c.sigma1
	key, err := ecdh.P256().GenerateKey(c.m.Random())
	if err != nil {
		return nil, err
	}
	secret, err := sharedSecret(key, s1.Key)
	if err != nil {
		return nil, err
	}
	s2 := sigma2{SessionID: c.handshake.id, Key: [publicKeySize]byte(key.PublicKey().Bytes()), Params: ourParams(c.m.Params())}
	var resumptionID [resumptionIDSize]byte
	if _, err := io.ReadFull(c.m.Random(), s2.Random[:]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c.m.Random(), resumptionID[:]); err != nil {
		return nil, err
	}
	proof, err := c.id.sign(c.m.Random(), s2.Key, s1.Key)
	if err != nil {
		return nil, err
	}
	proof.ResumptionID = &resumptionID
	ipk := c.id.IPK.Reveal()
	transcript := sha256.New()
	transcript.Write(c.sigma1Body)
	sealing, err := sigmaKey(secret, "Sigma2", ipk[:], s2.Random[:], s2.Key[:], transcript.Sum(nil))
	if err != nil {
		return nil, err
	}
	if s2.Encrypted, err = sealTBE(sealing, nonceSigma2, proof); err != nil {
		return nil, err
	}
	s2Body, err := c.send(ctx, opSigma2, &s2)
	if err != nil {
		return nil, err
	}
	transcript.Write(s2Body)
	opening, err := sigmaKey(secret, "Sigma3", ipk[:], transcript.Sum(nil))
	if err != nil {
		return nil, err
	}
	var s3 sigma3
	s3Body, err := c.receiveInto(ctx, cryptWork, opSigma3, &s3)
	if err != nil {
		return nil, err
	}
	node, err := c.checkSigma3(opening, s3.Encrypted, s2.Key)
	if err != nil {
		return nil, err
	}
	transcript.Write(s3Body)
	salt := append(ipk[:], transcript.Sum(nil)...)
	s, err := c.establish(c.config(node.NodeID, node.CATs), secret, salt, "SessionKeys", false)
	if err != nil {
		return nil, err
	}
	c.r.Resumptions.save(&resumption{c.id.peer(node.NodeID), resumptionID, secret, node.CATs})
	return s, report(ctx, c.x, established)
}

func (c *caseResponder) checkSigma3(key, encrypted []byte, own [publicKeySize]byte) (cert.Node, error) {
	plain, err := openPart(key, nonceSigma3, encrypted)
	if err != nil {
		return cert.Node{}, err
	}
	var proof tbe
	if err := tlv.Unmarshal(plain, &proof); err != nil {
		return cert.Node{}, err
	}
	return c.id.verify(&proof, c.sigma1.Key, own)
}
