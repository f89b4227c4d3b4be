package enroll

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode/utf8"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/matter/securechannel/spake2p"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// Specification constants.
const (
	maxAttempts   = 20 // at one passcode
	maxDeviceName = 32 // octets of DN in an advertisement
)

// Limits of ours.
const (
	// renewPause bounds guessing to two attempts a second.
	renewPause = 10 * time.Second
	// holdTime is how long a member that fell silent keeps others out.
	holdTime = 15 * time.Second
	// lingerTime is how long a box that has joined still says so to a member
	// that did not hear it: longer than joinWork and all retransmissions.
	lingerTime = 2 * time.Minute
	lastAnswer = time.Second // that Complete's answer has to get through
)

const redacted = "[setup code]"

// SetupCode is what a box shows. It prints as "[setup code]".
type SetupCode struct {
	QR      string // "MT:…"
	Manual  string // 11 digits
	Renewed bool   // the one before was tried too often
}

func (SetupCode) String() string             { return redacted }
func (SetupCode) GoString() string           { return redacted }
func (SetupCode) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }
func (SetupCode) LogValue() slog.Value       { return slog.StringValue(redacted) }

// Candidate is a box that wants to become a member.
type Candidate struct {
	Name string       // what the home is to call it; at most fabric.MaxText octets
	Keys keyfile.Keys // on its disk already: a member that knows them counts on it
	// Accept keeps the membership, durably. It may be called again after it
	// failed. The answer to the member waits for it.
	Accept func(context.Context, found.Membership) error
	// Offer shows a code, from Run's goroutine: the first, and each new one.
	Offer func(SetupCode)
	// Advertise makes a service known until withdraw; nil: nobody is told.
	Advertise func(context.Context, dnssd.Service) (withdraw func(), err error)
	Link      radio.Link // Run closes it at its end
	Port      uint16     // where the link listens
	Now       func() time.Time
	Random    io.Reader
	Log       *slog.Logger
}

// Run offers codes and waits for a member, until the box has joined, ctx ends
// or no code can be offered. A box that has joined gets its membership, though
// ctx ended before its member was told.
func (c *Candidate) Run(ctx context.Context) (found.Membership, error) {
	b, m, err := c.start()
	if err != nil {
		c.Link.Close()
		return found.Membership{}, fmt.Errorf("wait for a member: %w", err)
	}
	err = b.wait(ctx)
	m.Close() // and with it Accept, if that runs
	if b.member != nil {
		return *b.member, nil
	}
	return found.Membership{}, fmt.Errorf("wait for a member: %w", err)
}

// start makes the box reachable, with a window that is not open yet.
func (c *Candidate) start() (*box, *exchange.Manager, error) {
	if len(c.Keys.Sealing) == 0 || len(c.Name) > fabric.MaxText {
		return nil, nil, errors.New("the gateway lacks a sealing key, or its name is too long")
	}
	m, err := exchange.New(exchange.Config{Now: c.Now, Random: c.Random, Log: c.Log})
	if err != nil {
		return nil, nil, err
	}
	b := &box{Candidate: c, spent: make(chan struct{}, 1), joined: make(chan struct{}), completed: make(chan struct{})}
	node, err := b.node()
	if err != nil {
		return nil, nil, err
	}
	interaction.New(m).Serve(node)
	(&securechannel.Responder{Manager: m, Log: c.Log, Resumptions: new(securechannel.Resumptions),
		Identities: func() []*securechannel.Identity { return nil }, Window: b.attempt, Paired: b.attempted}).Register()
	m.Serve(c.Link)
	return b, m, nil
}

// wait goes through codes until the box has joined.
func (b *box) wait(ctx context.Context) error {
	for renewed := false; ; renewed = true {
		withdraw, err := b.open(ctx, renewed)
		if err != nil {
			return err
		}
		select {
		case <-b.spent:
			b.Log.Warn("the setup code was tried too often; another follows", "attempts", maxAttempts)
		case <-b.joined:
			sleep(ctx, lingerTime, b.completed)
			sleep(ctx, lastAnswer, nil)
		case <-ctx.Done():
		}
		withdraw()
		select {
		case <-b.joined:
			return nil
		default:
		}
		if !sleep(ctx, renewPause, nil) {
			return context.Cause(ctx)
		}
	}
}

// sleep waits until the time is over or early says so, or ctx ends: false.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-early:
		return true
	case <-ctx.Done():
		return false
	}
}

// open draws a code, opens the window for it and shows it.
func (b *box) open(ctx context.Context, renewed bool) (withdraw func(), err error) {
	var draw struct {
		discriminator [2]byte
		instance      [8]byte
		salt          [spake2p.MaxSalt]byte
	}
	passcode, err := setup.RandomPasscode(b.Random)
	for _, to := range [][]byte{draw.discriminator[:], draw.instance[:], draw.salt[:]} {
		if err == nil {
			_, err = io.ReadFull(b.Random, to)
		}
	}
	if err != nil {
		return nil, err
	}
	payload := setup.Payload{VendorID: VendorID, ProductID: ProductID, Discovery: setup.DiscoverOnNetwork,
		Discriminator: setup.Long(binary.LittleEndian.Uint16(draw.discriminator[:])), Passcode: passcode}
	code := SetupCode{Renewed: renewed}
	if code.QR, err = payload.QR(); err != nil {
		return nil, err
	}
	if code.Manual, err = payload.Manual(); err != nil {
		return nil, err
	}
	secret, err := spake2p.Derive(passcode.Reveal(), draw.salt[:], spake2p.MinIterations)
	if err != nil {
		return nil, err
	}
	verifier, err := secret.Verifier()
	if err != nil {
		return nil, err
	}
	b.arm(&securechannel.Window{Verifier: verifier, Iterations: spake2p.MinIterations, Salt: draw.salt[:]})
	if withdraw, err = b.advertise(ctx, payload, fmt.Sprintf("%X", draw.instance)); err != nil {
		return nil, err
	}
	b.Offer(code)
	return withdraw, nil
}

func (b *box) advertise(ctx context.Context, p setup.Payload, instance string) (withdraw func(), err error) {
	if b.Advertise == nil {
		return func() {}, nil
	}
	name := b.Name[:min(len(b.Name), maxDeviceName)]
	for !utf8.ValidString(name) {
		name = name[:len(name)-1]
	}
	discriminator, _ := p.Discriminator.Full()
	s := dnssd.CommissionableService(radio.Advertisement{Kind: radio.Commissionable, Instance: instance, HasDiscriminator: true,
		Discriminator: discriminator, Vendor: VendorID, Product: ProductID, Mode: radio.BasicCommissioning, DeviceName: name}, b.Port)
	s.SkipProbe = true // 64 random bits
	return b.Advertise(ctx, s)
}
