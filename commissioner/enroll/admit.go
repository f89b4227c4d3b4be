package enroll

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// joinWork is what the box may take to put its membership on its disk.
const joinWork = 20 * time.Second

// completeLimit is how long the box is told that it was heard. It finds out by
// itself, but later.
const completeLimit = 3 * time.Second

// Steward changes the trust state for a gateway that is to join.
type Steward interface {
	// Enroll commits the reservation, signs, and commits the certificate. For
	// a node id with the same keys it gives what was committed before.
	Enroll(ctx context.Context, c fabric.ReserveGateway) (found.Membership, error)
}

// Discovery finds boxes on the network.
type Discovery interface {
	Browse(ctx context.Context, q dnssd.Query) iter.Seq[dnssd.Event]
}

// Member is a gateway of a home that admits boxes. Its methods may be called
// from several goroutines.
type Member struct {
	Steward   Steward
	Discovery Discovery
	Root      func() []byte // of the home, in TLV; it may get another
	Manager   *exchange.Manager
	Engine    *interaction.Engine
	Link      radio.Link
	Now       func() time.Time
	Random    io.Reader
	Log       *slog.Logger
}

// State of a step.
const (
	StepStarted = "started"
	StepDone    = "done"
	StepFailed  = "failed"
)

// Progress is told when a step begins and ends.
type Progress struct {
	Step   int // from 1
	Of     int
	Name   string
	State  string
	MS     int64
	Detail string
}

// admission is one box on its way in.
type admission struct {
	*Member
	code setup.Payload

	found      radio.Advertisement
	others     []string // that turned out not to be the code's box
	pase       *exchange.Session
	box        *description
	node       cert.NodeID // once the home has committed it
	membership []byte
}

type step struct {
	name  string
	limit time.Duration
	do    func(*admission, context.Context) error
}

var steps = []step{
	{"find", 60 * time.Second, (*admission).find},
	{"pase", 60 * time.Second, (*admission).meet},
	{"describe", 60 * time.Second, (*admission).describe},
	{"enroll", 60 * time.Second, (*admission).enroll},
	{"join", 2 * time.Minute, (*admission).join},
}

// Steps are the names of the steps, in order.
func Steps() []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.name
	}
	return names
}

// Admit makes the box that shows a code a member. progress is called from this
// goroutine. The error is a *Failure.
func (m *Member) Admit(ctx context.Context, code setup.Payload, progress func(Progress)) (cert.NodeID, error) {
	a := &admission{Member: m, code: code}
	defer a.part()
	for i, s := range steps {
		began := m.Now()
		tell := func(state string) {
			progress(Progress{Step: i + 1, Of: len(steps), Name: s.name, State: state, MS: m.Now().Sub(began).Milliseconds()})
		}
		tell(StepStarted)
		if err := a.run(ctx, s); err != nil {
			tell(StepFailed)
			m.Log.Info("admitting a gateway failed", "step", s.name, "code", err.Code, "err", err)
			return 0, err
		}
		tell(StepDone)
	}
	m.Log.Info("admitted a gateway", "node", a.node, "name", a.box.Name)
	return a.node, nil
}

func (a *admission) run(ctx context.Context, s step) *Failure {
	limited, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	err := s.do(a, limited)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // whatever came of it
		err = context.Cause(ctx)
	}
	f := *explain(err, CodeProtocol)
	f.Step = s.name
	if a.node != 0 {
		f.Node, f.Remedy = a.node, committedRemedy
	}
	return &f
}

// part ends the session, which leaves the box to others.
func (a *admission) part() {
	if a.pase != nil {
		securechannel.Close(a.Manager, a.pase)
		a.pase = nil
	}
}

// describe has the box say what it is, and prove it.
func (a *admission) describe(ctx context.Context) error {
	err := a.insist(ctx, a.describeOnce)
	if err != nil {
		return err
	}
	if a.box.Home != [32]byte{} && a.box.Home != sha256.Sum256(a.Root()) {
		return fail(CodeElsewhere, nil)
	}
	return nil
}

func (a *admission) describeOnce(ctx context.Context) error {
	var req describe
	if _, err := io.ReadFull(a.Random, req.Nonce[:]); err != nil {
		return err
	}
	var r described
	if err := a.invoke(ctx, describeID, 0, &req, &r); err != nil {
		return err
	}
	if r.Size > maxDescription {
		return fmt.Errorf("a description of %d octets", r.Size)
	}
	elements := make([]byte, 0, r.Size)
	for len(elements) < int(r.Size) {
		var p part
		if err := a.invoke(ctx, readID, 0, &read{uint16(len(elements))}, &p); err != nil {
			return err
		}
		if len(p.Octets) == 0 || len(elements)+len(p.Octets) > int(r.Size) {
			return errors.New("a description of another length than it says")
		}
		elements = append(elements, p.Octets...)
	}
	var err error
	a.box, err = verify(a.Random, elements, r.Signature, req.Nonce, a.pase.Challenge())
	return err
}

// enroll has the home commit the box's certificate. From here on it is a
// member, whether it knows or not.
func (a *admission) enroll(ctx context.Context) error {
	m, err := a.Steward.Enroll(ctx, a.box.reservation())
	switch {
	case errors.As(err, new(*fabric.Refusal)):
		return err
	case err != nil:
		return fail(CodeEnroll, err)
	}
	a.node = a.box.Node
	if a.membership, err = encodeMembership(&m); err != nil {
		return fail(CodeEnroll, err)
	}
	return nil
}

// join gives the box its membership, again if its answer is lost.
func (a *admission) join(ctx context.Context) error {
	err := a.insist(ctx, a.joinOnce)
	if err != nil {
		return explainJoin(err)
	}
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	if err := a.invoke(ctx, completeID, 0, &complete{}, nil); err != nil {
		a.Log.Debug("the new gateway did not hear that it was heard", "err", err)
	}
	return nil
}

func explainJoin(err error) error {
	if f := explain(err, CodeRefused); f.Code != CodeUnreachable && f.Code != CodeTime {
		return f
	}
	return fail(CodeUnconfirmed, err)
}

func (a *admission) joinOnce(ctx context.Context) error {
	for offset := 0; offset < len(a.membership); offset += partSize {
		octets := a.membership[offset:min(offset+partSize, len(a.membership))]
		if err := a.invoke(ctx, writeID, 0, &write{uint16(offset), octets}, nil); err != nil {
			return err
		}
	}
	var r joined
	if err := a.invoke(ctx, joinID, joinWork, &join{}, &r); err != nil {
		return err
	}
	switch r.Status {
	case joinOK:
		return nil
	case joinElsewhere:
		return fail(CodeElsewhere, nil)
	}
	return fail(CodeRefused, fmt.Errorf("%q", r.Text))
}

// invoke invokes a command of the box.
func (a *admission) invoke(ctx context.Context, id interaction.CommandID, work time.Duration, fields, response any) error {
	results, err := a.Engine.Invoke(ctx, a.pase, 0, interaction.Invocation{Path: command(id), Fields: fields, Work: work})
	switch {
	case err != nil:
		return err
	case response == nil:
		return results[0].Err
	}
	return results[0].Decode(response)
}
