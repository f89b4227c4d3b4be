package securechannel

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel/spake2p"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// ErrPasscode says that the device has another passcode than we were given.
var ErrPasscode = errors.New("securechannel: the passcode is wrong")

const paseContext = "CHIP PAKE V1 Commissioning"

// Peer is where and how to reach a device.
type Peer struct {
	Link   radio.Link
	Addr   radio.Addr
	Params exchange.Params // as discovery told; zero values: the defaults
}

type pbkdfParamRequest struct {
	Random     [randomSize]byte `tlv:"1"`
	SessionID  uint16           `tlv:"2"`
	PasscodeID uint16           `tlv:"3"`
	HasParams  bool             `tlv:"4"`
	Params     *sessionParams   `tlv:"5"`
}

type pbkdfParamResponse struct {
	InitiatorRandom [randomSize]byte `tlv:"1"`
	Random          [randomSize]byte `tlv:"2"`
	SessionID       uint16           `tlv:"3"`
	PBKDF           *pbkdfParams     `tlv:"4"`
	Params          *sessionParams   `tlv:"5"`
}

type pbkdfParams struct {
	Iterations uint32 `tlv:"1"`
	Salt       []byte `tlv:"2"`
}

type pake1 struct {
	Share [spake2p.ShareSize]byte `tlv:"1"`
}

type pake2 struct {
	Share        [spake2p.ShareSize]byte        `tlv:"1"`
	Confirmation [spake2p.ConfirmationSize]byte `tlv:"2"`
}

type pake3 struct {
	Confirmation [spake2p.ConfirmationSize]byte `tlv:"1"`
}

// PASE establishes a session with a device in its commissioning window. It
// returns ErrPasscode, a *Status from the device, an error of exchange, or one
// that says what the device sent wrongly.
func PASE(ctx context.Context, m *exchange.Manager, peer Peer, passcode uint32) (*exchange.Session, error) {
	h, end, err := begin(m, peer)
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := h.pase(ctx, peer, passcode)
	if err != nil {
		h.refuse(ctx, err, CodeInvalidParameter)
		return nil, fmt.Errorf("PASE: %w", err)
	}
	return s, nil
}

func (h handshake) pase(ctx context.Context, peer Peer, passcode uint32) (*exchange.Session, error) {
	req := pbkdfParamRequest{SessionID: h.id, Params: ourParams(h.m.Params())}
	if _, err := io.ReadFull(h.m.Random(), req.Random[:]); err != nil {
		return nil, err
	}
	reqBody, err := h.send(ctx, opPBKDFParamRequest, &req)
	if err != nil {
		return nil, err
	}
	var resp pbkdfParamResponse
	respBody, err := h.receiveInto(ctx, quickWork, opPBKDFParamResponse, &resp)
	if err != nil {
		return nil, err
	}
	if resp.InitiatorRandom != req.Random || resp.PBKDF == nil || resp.SessionID == 0 {
		return nil, errors.New("the answer does not belong to the request")
	}
	params := resp.Params.apply(peer.Params)
	h.x.Session().SetParams(params)
	secret, err := spake2p.Derive(passcode, resp.PBKDF.Salt, int(resp.PBKDF.Iterations))
	if err != nil {
		return nil, err
	}
	prover, err := spake2p.NewProver(h.m.Random(), paseTranscript(reqBody, respBody), secret)
	if err != nil {
		return nil, err
	}
	if _, err := h.send(ctx, opPake1, &pake1{[spake2p.ShareSize]byte(prover.Share())}); err != nil {
		return nil, err
	}
	var p2 pake2
	if _, err := h.receiveInto(ctx, cryptWork, opPake2, &p2); err != nil {
		return nil, err
	}
	keys, err := prover.Finish(p2.Share[:])
	if err != nil {
		return nil, err
	}
	shared, err := keys.Verify(p2.Confirmation[:])
	if err != nil {
		return nil, ErrPasscode
	}
	if _, err := h.send(ctx, opPake3, &pake3{[spake2p.ConfirmationSize]byte(keys.Confirmation())}); err != nil {
		return nil, err
	}
	if err := h.confirm(ctx); err != nil {
		return nil, err
	}
	cfg := exchange.SessionConfig{Kind: exchange.PASE, LocalID: h.id, PeerID: resp.SessionID, Params: params, Link: peer.Link, Addr: peer.Addr}
	return h.establish(cfg, shared, nil, "SessionKeys", true)
}

func paseTranscript(req, resp []byte) []byte {
	h := sha256.New()
	io.WriteString(h, paseContext)
	h.Write(req)
	h.Write(resp)
	return h.Sum(nil)
}

// establish derives the keys of a session (Matter Core 4.14.2.6.1) and adds it.
func (h handshake) establish(cfg exchange.SessionConfig, secret, salt []byte, info string, initiator bool) (*exchange.Session, error) {
	keys, err := hkdf.Key(sha256.New, secret, salt, info, 3*message.KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(keys)
	cfg.Send, cfg.Receive = message.Key(keys[:16]), message.Key(keys[16:32])
	if !initiator {
		cfg.Send, cfg.Receive = cfg.Receive, cfg.Send
	}
	cfg.Challenge = [16]byte(keys[32:])
	return h.m.AddSession(cfg)
}

// Window is what a device needs to be paired: its verifier and the hash's
// parameters, which it tells to everyone.
type Window struct {
	Verifier   spake2p.Verifier
	Iterations int
	Salt       []byte
}

// respondPASE answers a PBKDFParamRequest while a window is open.
func (h handshake) respondPASE(ctx context.Context, reqBody []byte, w *Window) (*exchange.Session, error) {
	var req pbkdfParamRequest
	if err := tlv.Unmarshal(reqBody, &req); err != nil {
		return nil, err
	}
	if req.PasscodeID != 0 || req.SessionID == 0 {
		return nil, errors.New("unknown passcode id or no session id")
	}
	params := req.Params.apply(exchange.Params{})
	h.x.Session().SetParams(params)
	resp := pbkdfParamResponse{InitiatorRandom: req.Random, SessionID: h.id, Params: ourParams(h.m.Params())}
	if !req.HasParams {
		resp.PBKDF = &pbkdfParams{uint32(w.Iterations), w.Salt}
	}
	if _, err := io.ReadFull(h.m.Random(), resp.Random[:]); err != nil {
		return nil, err
	}
	respBody, err := h.send(ctx, opPBKDFParamResponse, &resp)
	if err != nil {
		return nil, err
	}
	var p1 pake1
	if _, err := h.receiveInto(ctx, cryptWork, opPake1, &p1); err != nil {
		return nil, err
	}
	share, keys, err := w.Verifier.Respond(h.m.Random(), paseTranscript(reqBody, respBody), p1.Share[:])
	if err != nil {
		return nil, err
	}
	answer := pake2{[spake2p.ShareSize]byte(share), [spake2p.ConfirmationSize]byte(keys.Confirmation())}
	if _, err := h.send(ctx, opPake2, &answer); err != nil {
		return nil, err
	}
	var p3 pake3
	if _, err := h.receiveInto(ctx, cryptWork, opPake3, &p3); err != nil {
		return nil, err
	}
	shared, err := keys.Verify(p3.Confirmation[:])
	if err != nil {
		return nil, ErrPasscode
	}
	cfg := exchange.SessionConfig{Kind: exchange.PASE, LocalID: h.id, PeerID: req.SessionID, Params: params,
		Link: h.x.Session().Link(), Addr: h.x.Session().Addr()}
	s, err := h.establish(cfg, shared, nil, "SessionKeys", false)
	if err != nil {
		return nil, err
	}
	return s, report(ctx, h.x, established)
}
