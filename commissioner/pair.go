package commissioner

import (
	"context"
	"errors"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/attest"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
)

// PairRequest says what to pair.
type PairRequest struct {
	Code    setup.Payload
	Name    string // what the home calls the device; empty: its product's name
	Zone    string // empty: the default
	Network string // which of the home's networks it is put on; empty: whichever fits
	// Ask asks a person, who may take minutes; nil: nobody can be asked.
	Ask func(context.Context, Question) (Answer, error)
}

// State of a step.
const (
	StepStarted  = "started"
	StepDone     = "done"
	StepFailed   = "failed"
	StepRetrying = "retrying" // the pairing begins anew, for the reason in Detail
)

// Progress is told when a step begins and ends.
type Progress struct {
	Step   int    `json:"step"` // from 1
	Of     int    `json:"of"`
	Name   string `json:"name"`
	State  string `json:"state"`
	MS     int64  `json:"ms"`
	Detail string `json:"detail,omitempty"`
}

// pairing is one device on its way in.
type pairing struct {
	*Commissioner
	req      PairRequest
	tell     func(Progress)
	patience time.Duration // how much longer than usual to look for the device

	found    radio.Advertisement
	others   []string   // that turned out not to be the code's device
	link     radio.Link // over Bluetooth; nil: it was found on the network
	peer     securechannel.Peer
	pase     *exchange.Session
	about    about
	armed    time.Time // the end of the longest fail-safe it was told
	evidence attest.Evidence
	verdict  attest.Verdict
	standing *fabric.Standing // for its software; nil: the home cannot record one yet
	node     cert.NodeID
	id       *securechannel.Identity // who this gateway is on the fabric it comes to
	root     []byte                  // of that, TLV
	former   *exchange.Session       // with it on the former fabric, where it is moved; nil: it is paired
	renewal  bool                    // it belongs, and gets another certificate
	serial   []byte                  // of its certificate, where it is moved or renewed
	key      cert.PublicKey
	noc      []byte
	icac     []byte
	oper     *exchange.Session
	access   uint16   // version of the gateways' CAT in its access control list
	offered  bool     // AddNOC was sent: the device may have its certificate
	ended    bool     // CommissioningComplete was sent: the device may keep it
	rolled   bool     // the device confirmed that it rolled back
	joining  *joining // the network it is put on; nil: it is on one
	admitted *fabric.Device
}

// step is one step of a pairing. undo takes back what do did, or began to; it
// is called in reverse order, with a context of its own, when a later step
// fails.
type step struct {
	name  string
	limit time.Duration
	do    func(*pairing, context.Context) error
	undo  func(*pairing, context.Context)
}

// steps is the path of a pairing.
var steps = []step{
	{"find", 60 * time.Second, (*pairing).find, nil},
	{"pase", 60 * time.Second, (*pairing).establish, (*pairing).part},
	{"read-information", 30 * time.Second, (*pairing).readAbout, nil},
	{"arm-failsafe", 30 * time.Second, (*pairing).armFailSafe, (*pairing).disarm},
	{"regulatory", 30 * time.Second, (*pairing).regulatory, nil},
	{"time", 30 * time.Second, (*pairing).setTime, nil},
	{"certificates", 30 * time.Second, (*pairing).readCertificates, nil},
	{"attestation", 30 * time.Second, (*pairing).attest, nil},
	{"firmware", answerLimit, (*pairing).judge, nil},
	{"choose-network", answerLimit, (*pairing).chooseNetwork, nil},
	{"reserve", 30 * time.Second, (*pairing).reserve, (*pairing).abandon},
	{"csr", 30 * time.Second, (*pairing).requestCSR, nil},
	{"issue", 30 * time.Second, (*pairing).issue, nil},
	{"add-root", 30 * time.Second, (*pairing).addRoot, nil},
	{"add-noc", 30 * time.Second, (*pairing).addNOC, (*pairing).disarm},
	{"add-network", 30 * time.Second, (*pairing).addNetwork, nil},
	{"connect-network", answerLimit, (*pairing).connectNetwork, nil},
	{"case", 2 * time.Minute, (*pairing).meetAgain, nil},
	{"write-access", 30 * time.Second, (*pairing).writeAccess, nil},
	{"verify-access", 30 * time.Second, (*pairing).verifyAccess, nil},
	{"complete", 30 * time.Second, (*pairing).complete, nil},
	{"commit", 30 * time.Second, (*pairing).commit, nil},
}

// undoLimit bounds the taking back of all steps together.
const undoLimit = 30 * time.Second

// Steps are the names of the steps of a pairing, in order.
func Steps() []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.name
	}
	return names
}

// Pair takes a device from its code to admitted. progress is called from this
// goroutine. The error is a *Failure.
func (c *Commissioner) Pair(ctx context.Context, req PairRequest, progress func(Progress)) (*fabric.Device, *exchange.Session, error) {
	if len(req.Name) > fabric.MaxText {
		return nil, nil, Fail(CodeInvalidArgument, errors.New("the name is too long"))
	}
	ctx, leave, err := c.Mode.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	d, s, err := c.pair(ctx, req, progress)
	leave(err)
	return d, s, err
}

// whole takes all steps, or takes back those it took.
func (p *pairing) whole(ctx context.Context) error {
	defer p.forget()
	defer func() { p.joining.erase() }()
	if err := p.walk(ctx, steps); err != nil {
		return err
	}
	securechannel.Close(p.Manager, p.pase)
	p.hangUp()
	return nil
}

// walk takes steps, or takes back those it took.
func (p *pairing) walk(ctx context.Context, steps []step) error {
	for i := range steps {
		if err := p.run(ctx, steps, i); err != nil {
			p.undo(ctx, steps, i)
			return err
		}
	}
	return nil
}

func (p *pairing) run(ctx context.Context, steps []step, i int) error {
	s, began := &steps[i], p.Now()
	tell := func(state string) {
		p.tell(Progress{Step: i + 1, Of: len(steps), Name: s.name, State: state, MS: p.Now().Sub(began).Milliseconds()})
	}
	tell(StepStarted)
	limit := s.limit
	if i <= 1 { // found, it may still turn out to be another
		limit += p.patience
	}
	stepCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.do(p, stepCtx)
	if err == nil {
		tell(StepDone)
		return nil
	}
	tell(StepFailed)
	f := *Explain(err, CodeInternal)
	f.Step = s.name
	p.Log.Info("a step with a device failed", "step", s.name, "code", f.Code, "err", err)
	return &f
}

// undo takes back the steps up to the one that failed. It goes on when the
// caller has gone away.
func (p *pairing) undo(ctx context.Context, steps []step, failed int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	for i := failed; i >= 0; i-- {
		if steps[i].undo != nil {
			steps[i].undo(p, ctx)
		}
	}
}

// claim keeps Settle away from a node id that is being paired here.
func (p *pairing) claim(n cert.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.node = n
	p.active[n] = true
}

func (p *pairing) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, p.node)
}

// reserve commits a node id and a serial number to this device.
func (p *pairing) reserve(ctx context.Context) error {
	state, err := p.Ledger.Current(ctx)
	if err != nil {
		return Explain(err, CodeCommit)
	}
	if err := p.aim(ctx, state); err != nil {
		return err
	}
	n, err := state.DrawNode(p.Random)
	if err != nil {
		return err
	}
	p.claim(n)
	name := p.req.Name
	if name == "" {
		name = p.about.facts.ProductName
	}
	_, err = p.propose(ctx, fabric.Command{Reserve: &fabric.Reserve{
		Node: n, Gateway: p.Identity().Node, Zone: p.req.Zone, Name: name, Facts: p.about.facts,
		FailSafe: p.about.failSafe().Milliseconds(),
		Attested: fabric.Attested{PAA: p.verdict.PAA.SubjectKeyID.String(), Exception: p.verdict.Exception()},
		Standing: p.standing,
	}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	return nil
}

// aim settles which of the home's fabrics the device comes to: the one of this
// State, also if the home gets another root meanwhile.
func (p *pairing) aim(ctx context.Context, state *fabric.State) (err error) {
	p.root = state.Home.Root
	var d *fabric.Device
	if p.renewal { // it stays on the terms it is on
		d = state.Devices[p.node]
	}
	p.id, err = p.IdentityFor(ctx, d)
	return err
}

// abandon gives the reservation up, unless the device may have its certificate
// and did not confirm that it rolled back: then Settle finds out.
func (p *pairing) abandon(ctx context.Context) {
	if p.node == 0 || p.offered && !p.rolled {
		return
	}
	if _, err := p.propose(ctx, fabric.Command{Abandon: &fabric.Abandon{Node: p.node, Reason: "the pairing failed", Gateway: p.Identity().Node}}); err != nil {
		p.Log.Warn("abandoning failed; it will be settled", "device", p.node, "err", err)
	}
}

// issue signs the device's certificate and commits its hash, before the device
// can have it.
func (p *pairing) issue(ctx context.Context) error {
	var err error
	if p.noc, p.icac, err = p.Authority.Issue(ctx, p.node, p.key); err != nil {
		return Explain(err, CodeIssue)
	}
	_, err = p.propose(ctx, fabric.Command{Issue: &fabric.Issue{Node: p.node, NOCHash: hash(p.noc), PublicKey: p.key[:], Gateway: p.Identity().Node}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	return nil
}

// commit admits the device. Until a quorum has this, nobody is told.
func (p *pairing) commit(ctx context.Context) error {
	state, err := p.propose(ctx, fabric.Command{Admit: &fabric.Admit{Node: p.node, Gateway: p.Identity().Node, Access: p.access}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	p.admitted = state.Devices[p.node]
	p.Addresses.Set(p.node, p.oper.Addr())
	p.Log.Info("admitted", "device", p.node, "name", p.admitted.Name, "at", p.oper.Addr())
	return nil
}
