package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"

	"gatehouse/cluster/found"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/tlv"
)

// maxText bounds what the box says of a failure, in octets.
const maxText = 256

// box is a Candidate while it runs.
type box struct {
	*Candidate
	spent     chan struct{} // the code was tried too often
	joined    chan struct{} // closed once member is set
	completed chan struct{} // closed once the member knows

	mu        sync.Mutex
	window    *securechannel.Window
	attempts  int               // since the window opened or one succeeded
	holder    *exchange.Session // the member that the box is busy with
	elements  []byte            // the description made for it
	incoming  []byte            // the membership that it is writing
	accepting bool              // Accept is running
	member    *found.Membership // nil: it has not joined
	done      bool              // completed is closed
}

// arm opens the window for a new code.
func (b *box) arm(w *securechannel.Window) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window, b.attempts = w, 0
}

// attempt hands out the window. It is counted now, not when the attempt
// fails: whoever guesses learns the outcome before the box does, and may try
// several at a time.
func (b *box) attempt() *securechannel.Window {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attempts >= maxAttempts {
		return nil
	}
	b.attempts++
	return b.window
}

// attempted is told how an attempt ended.
func (b *box) attempted(_ *exchange.Session, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.attempts = 0
	case b.attempts >= maxAttempts && b.window != nil: // of several at a time, the first
		b.window = nil
		b.spent <- struct{}{}
	}
}

// node is what the box serves.
func (b *box) node() (*datamodel.Node, error) {
	n := &datamodel.Node{Grants: func(r *interaction.Request, _ interaction.EndpointID, _ interaction.ClusterID) datamodel.Privilege {
		if r.Session.Kind() != exchange.PASE {
			return 0
		}
		return datamodel.Administer
	}}
	clusters := []*datamodel.Cluster{
		{ID: datamodel.BasicInformation, Revision: 4, Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.BasicDataModelRevision:     datamodel.Value(uint16(18)),
			datamodel.BasicVendorName:            datamodel.Value("Gatehouse"),
			datamodel.BasicVendorID:              datamodel.Value(VendorID),
			datamodel.BasicProductName:           datamodel.Value(ProductName),
			datamodel.BasicProductID:             datamodel.Value(ProductID),
			datamodel.BasicHardwareVersion:       datamodel.Value(uint16(1)),
			datamodel.BasicSoftwareVersion:       datamodel.Value(uint32(protocol)),
			datamodel.BasicSoftwareVersionString: datamodel.Value("gateway"),
		}},
		{ID: GatewayEnrollment, Revision: protocol, Commands: map[interaction.CommandID]datamodel.CommandServer{
			describeID: serve(b, describedID, b.describe),
			readID:     serve(b, partID, b.read),
			writeID:    serve(b, 0, b.write),
			joinID:     serve(b, joinedID, b.join),
			completeID: serve(b, 0, b.complete),
		}},
	}
	for _, c := range clusters {
		var version [4]byte
		if _, err := io.ReadFull(b.Random, version[:]); err != nil {
			return nil, err
		}
		n.Add(datamodel.RootEndpoint, c, binary.LittleEndian.Uint32(version[:]))
	}
	return n, nil
}

// serve is a command that one member at a time may use.
func serve[T any](b *box, response interaction.CommandID, f func(context.Context, *exchange.Session, *T) (any, interaction.Status)) datamodel.CommandServer {
	return datamodel.CommandServer{Access: datamodel.Administer, Response: response,
		Invoke: func(ctx context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
			var req T
			if tlv.Unmarshal(fields, &req) != nil {
				return nil, interaction.StatusIB{Status: interaction.InvalidCommand}
			}
			if !b.claim(r.Session) {
				return nil, interaction.StatusIB{Status: interaction.Busy}
			}
			answer, s := f(ctx, r.Session, &req)
			return answer, interaction.StatusIB{Status: s}
		}}
}

// claim makes a session the one that the box is busy with, unless another is.
func (b *box) claim(s *exchange.Session) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.accepting:
		return false
	case b.holder == s:
		return true
	case b.holder == nil:
	default:
		select {
		case <-b.holder.Done():
		default:
			if b.Now().Sub(b.holder.Heard()) < holdTime {
				return false
			}
			b.holder.Close()
		}
	}
	b.holder, b.elements, b.incoming = s, nil, nil
	return true
}

// describe makes the description for this session and this nonce.
func (b *box) describe(_ context.Context, s *exchange.Session, req *describe) (any, interaction.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := description{Protocol: protocol, Nonce: req.Nonce, Version: fabric.Version, Node: b.Keys.Node, PublicKey: b.Keys.Operational.PublicKey(),
		SealKey: b.Keys.Sealing[0].Public(), Name: b.Name, Storage: string(b.Keys.Storage)}
	if b.member != nil {
		d.Home = sha256.Sum256(b.member.Root)
	}
	elements, signature, err := d.sign(b.Random, b.Keys.Operational, s.Challenge())
	if err != nil {
		b.Log.Error("the gateway cannot describe itself", "err", err)
		return nil, interaction.Failure
	}
	b.elements = elements
	return &described{Size: uint16(len(elements)), Signature: signature}, interaction.Success
}

func (b *box) read(_ context.Context, _ *exchange.Session, req *read) (any, interaction.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int(req.Offset) >= len(b.elements) {
		return nil, interaction.ConstraintError
	}
	rest := b.elements[req.Offset:]
	return &part{Octets: rest[:min(len(rest), partSize)]}, interaction.Success
}

func (b *box) write(_ context.Context, _ *exchange.Session, req *write) (any, interaction.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if req.Offset == 0 {
		b.incoming = nil
	}
	if int(req.Offset) != len(b.incoming) || len(b.incoming)+len(req.Octets) > maxMembership {
		return nil, interaction.ConstraintError
	}
	b.incoming = append(b.incoming, req.Octets...)
	return nil, interaction.Success
}

// join takes the membership that was written. The box is a member once Accept
// has it; only then it says yes.
func (b *box) join(ctx context.Context, s *exchange.Session, _ *join) (any, interaction.Status) {
	m, answer := b.proposed(s.Addr().IP.Addr().Zone())
	if m == nil {
		return &answer, interaction.Success
	}
	err := b.Accept(ctx, *m)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepting = false
	switch {
	case errors.Is(err, found.ErrFounded):
		return &joined{joinElsewhere, cut(err.Error())}, interaction.Success
	case err != nil:
		b.Log.Error("the membership could not be kept", "err", err)
		return &joined{joinFailed, cut(err.Error())}, interaction.Success
	}
	b.member = m
	close(b.joined)
	return &joined{Status: joinOK}, interaction.Success
}

// proposed is a membership that is to be accepted, or the answer to it.
func (b *box) proposed(zone string) (*found.Membership, joined) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, err := decodeMembership(b.incoming, zone)
	if err == nil {
		err = verifyMembership(&m, &b.Keys)
	}
	switch {
	case b.accepting: // since it was claimed
		return nil, joined{joinFailed, "it is busy with another membership"}
	case b.member != nil && err == nil && sameMembership(b.member, &m):
		return nil, joined{Status: joinOK} // again, since the answer was lost
	case b.member != nil:
		return nil, joined{joinElsewhere, "it is a member already"}
	case err != nil:
		return nil, joined{joinMalformed, cut(err.Error())}
	}
	b.accepting = true
	return &m, joined{}
}

// complete is the member's word that it heard the yes.
func (b *box) complete(context.Context, *exchange.Session, *complete) (any, interaction.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.member == nil {
		return nil, interaction.InvalidInState
	}
	if !b.done {
		b.done = true
		close(b.completed)
	}
	return nil, interaction.Success
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }
