// Package securechannel establishes sessions: PASE from a passcode, CASE from
// certificates, with resumption, and the status reports that go with them
// (Matter Core 4.11, 4.14, 4.15).
//
// It promises that a session it returns was confirmed by the peer: with PASE,
// that it knows the passcode; with CASE, that it holds the key of a NOC which
// chains to our fabric's root and names the node asked for, and that this is
// the key which the node is known by, if it is. It stores nothing
// but resumption records, in memory, and no passcode.
package securechannel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/tlv"
)

// Opcodes of the protocol.
const (
	opPBKDFParamRequest  = 0x20
	opPBKDFParamResponse = 0x21
	opPake1              = 0x22
	opPake2              = 0x23
	opPake3              = 0x24
	opSigma1             = 0x30
	opSigma2             = 0x31
	opSigma3             = 0x32
	opSigma2Resume       = 0x33
	opStatusReport       = 0x40
)

// Versions that we speak, told in the session parameters.
const (
	dataModelRevision        = 18
	interactionModelRevision = 12
	specificationVersion     = 0x01040200
	maxPathsPerInvoke        = 9
)

// Work that a peer may need to answer, beyond the network's time.
const (
	quickWork = 2 * time.Second
	cryptWork = 30 * time.Second // a small device with its elliptic curves
)

const randomSize = 32

// Version of the interaction model, which its messages carry too.
const InteractionModelRevision = interactionModelRevision

// sessionParams are told in every handshake's first messages.
type sessionParams struct {
	Idle      *uint32 `tlv:"1"` // ms
	Active    *uint32 `tlv:"2"` // ms
	Threshold *uint16 `tlv:"3"` // ms
	DataModel *uint16 `tlv:"4"`
	Interact  *uint16 `tlv:"5"`
	Spec      *uint32 `tlv:"6"`
	MaxPaths  *uint16 `tlv:"7"`
}

func ptr[T any](v T) *T { return &v }

func ourParams(p exchange.Params) *sessionParams {
	return &sessionParams{
		Idle:      ptr(uint32(p.Idle.Milliseconds())),
		Active:    ptr(uint32(p.Active.Milliseconds())),
		Threshold: ptr(uint16(p.Threshold.Milliseconds())),
		DataModel: ptr(uint16(dataModelRevision)),
		Interact:  ptr(uint16(interactionModelRevision)),
		Spec:      ptr(uint32(specificationVersion)),
		MaxPaths:  ptr(uint16(maxPathsPerInvoke)),
	}
}

// apply puts what the peer said, if anything, over what discovery said.
func (p *sessionParams) apply(known exchange.Params) exchange.Params {
	if p == nil {
		return known
	}
	if p.Idle != nil {
		known.Idle = time.Duration(*p.Idle) * time.Millisecond
	}
	if p.Active != nil {
		known.Active = time.Duration(*p.Active) * time.Millisecond
	}
	if p.Threshold != nil {
		known.Threshold = time.Duration(*p.Threshold) * time.Millisecond
	}
	return known
}

// General codes of a status report (Matter Core, appendix D).
type GeneralCode uint16

const (
	Success           GeneralCode = 0
	Failure           GeneralCode = 1
	ResourceExhausted GeneralCode = 7
	Busy              GeneralCode = 8
)

// Codes of the secure channel protocol.
const (
	CodeEstablished      = 0
	CodeNoSharedRoot     = 1
	CodeInvalidParameter = 2
	CodeCloseSession     = 3
	CodeBusy             = 4
)

// Status is a status report. As an error it says why the peer gave up.
type Status struct {
	General  GeneralCode
	Protocol uint32 // vendor in the upper half
	Code     uint16
	Data     []byte
}

var codeNames = map[uint16]string{
	CodeEstablished:      "session established",
	CodeNoSharedRoot:     "no shared trust root",
	CodeInvalidParameter: "invalid parameter",
	CodeCloseSession:     "session closed",
	CodeBusy:             "busy",
}

func (s *Status) Error() string {
	name := codeNames[s.Code]
	if name == "" || s.Protocol != 0 {
		name = fmt.Sprintf("protocol %#x code %d", s.Protocol, s.Code)
	}
	return "securechannel: the peer reports: " + name
}

// Wait is how long a busy peer wants us to wait.
func (s *Status) Wait() (time.Duration, bool) {
	if s.Code != CodeBusy || s.Protocol != 0 || len(s.Data) < 2 {
		return 0, false
	}
	return time.Duration(binary.LittleEndian.Uint16(s.Data)) * time.Millisecond, true
}

// Encode is the body of the report's message.
func (s *Status) Encode() []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(s.General))
	b = binary.LittleEndian.AppendUint32(b, s.Protocol)
	b = binary.LittleEndian.AppendUint16(b, s.Code)
	return append(b, s.Data...)
}

// ParseStatus parses the body of a status report.
func ParseStatus(b []byte) (*Status, error) {
	if len(b) < 8 {
		return nil, errors.New("securechannel: status report is too short")
	}
	return &Status{GeneralCode(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint32(b[2:]),
		binary.LittleEndian.Uint16(b[6:]), append([]byte(nil), b[8:]...)}, nil
}

// IsStatus reports whether err is the peer's status report with this code of
// the secure channel.
func IsStatus(err error, code uint16) bool {
	var s *Status
	return errors.As(err, &s) && s.Protocol == 0 && s.Code == code
}

var established = (&Status{}).Encode()

func failed(code uint16) []byte { return (&Status{General: Failure, Code: code}).Encode() }

// report sends a status report that ends a handshake.
func report(ctx context.Context, x *exchange.Exchange, body []byte) error {
	return x.Send(ctx, message.SecureChannel, opStatusReport, body)
}

// Close ends a session on both sides. The peer is told without waiting for
// it: one that does not hear it finds out by itself.
func Close(m *exchange.Manager, s *exchange.Session) {
	if x, err := m.Open(s); err == nil {
		x.SendOnce(message.SecureChannel, opStatusReport, (&Status{Code: CodeCloseSession}).Encode())
		x.Close()
	}
	s.Close()
}

// handshake is one side of a session establishment in progress.
type handshake struct {
	m  *exchange.Manager
	x  *exchange.Exchange
	id uint16 // of the session to be
}

// begin opens an unsecured session for a handshake that we initiate.
func begin(m *exchange.Manager, peer Peer) (h handshake, end func(), err error) {
	s, err := m.Unsecured(peer.Link, peer.Addr, peer.Params)
	if err != nil {
		return h, nil, err
	}
	h = handshake{m: m}
	if h.x, err = m.Open(s); err != nil {
		return h, nil, err
	}
	if h.id, err = m.ReserveID(); err != nil {
		s.Close()
		return h, nil, err
	}
	return h, func() { m.ReleaseID(h.id); h.finish(s) }, nil
}

// finish closes the exchange, and the unsecured session once the last message
// needs no more sending.
func (h handshake) finish(s *exchange.Session) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.ResponseTimeout(0))
		defer cancel()
		h.x.Flush(ctx)
		h.x.Close()
		s.Close()
	}()
}

// send marshals and sends one message of the handshake.
func (h handshake) send(ctx context.Context, opcode uint8, v any) ([]byte, error) {
	body, err := tlv.Marshal(v)
	if err != nil {
		return nil, err
	}
	return body, h.x.Send(ctx, message.SecureChannel, opcode, body)
}

// receive waits for one of the opcodes, and takes a status report as the error
// that it is.
func (h handshake) receive(ctx context.Context, work time.Duration, opcodes ...uint8) (uint8, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.x.Session().ResponseTimeout(work))
	defer cancel()
	msg, err := h.x.Receive(ctx)
	if err != nil {
		return 0, nil, err
	}
	if msg.Protocol != message.SecureChannel {
		return 0, nil, fmt.Errorf("securechannel: message of protocol %d in a handshake", msg.Protocol)
	}
	for _, op := range opcodes {
		if msg.Opcode == op {
			return op, msg.Body, nil
		}
	}
	if msg.Opcode != opStatusReport {
		return 0, nil, fmt.Errorf("securechannel: message %#x where %#x belongs", msg.Opcode, opcodes)
	}
	s, err := ParseStatus(msg.Body)
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, s
}

// receiveInto is receive and decode.
func (h handshake) receiveInto(ctx context.Context, work time.Duration, opcode uint8, v any) ([]byte, error) {
	_, body, err := h.receive(ctx, work, opcode)
	if err != nil {
		return nil, err
	}
	return body, tlv.Unmarshal(body, v)
}

// confirm waits for the report that the session is established.
func (h handshake) confirm(ctx context.Context) error {
	_, body, err := h.receive(ctx, cryptWork, opStatusReport)
	if err != nil {
		return err
	}
	s, err := ParseStatus(body)
	if err == nil && (s.General != Success || s.Protocol != 0 || s.Code != CodeEstablished) {
		return s
	}
	return err
}

// refuse tells the peer that the handshake is over, unless the peer was the
// one to say so or is gone.
func (h handshake) refuse(ctx context.Context, err error, code uint16) {
	var s *Status
	if errors.As(err, &s) || errors.Is(err, exchange.ErrNoAck) || errors.Is(err, exchange.ErrClosed) {
		return
	}
	report(ctx, h.x, failed(code))
}
