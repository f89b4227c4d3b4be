package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatehouse/cluster/steward"
	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/udp"
)

// rigCommand makes the binary the rig: it pairs a light in-process, with a
// trust state in memory, and measures sessions, reads and invokes.
//
//	bench rig TRUST-DIR CODE
const rigCommand = "rig"

// figures are what the rig finds out.
type figures struct {
	Full, Resumed       sample
	FullCPU, ResumedCPU time.Duration // each, mean
	Storms              map[string]storm
}

// storm is how long many reads or invokes took, and what they cost us and, as
// far as it was looked at, the light.
type storm struct{ Time, CPU, Light time.Duration }

// memory is a trust state in memory.
type memory struct {
	mu    sync.Mutex
	state *fabric.State
}

func (m *memory) Propose(_ context.Context, c fabric.Command) (*fabric.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.Version, c.Time = c.Needs(), time.Now().UnixMilli()
	next, err := fabric.Apply(m.state, m.state.Index+1, &c)
	m.state = next
	return next, err
}

func (m *memory) State() *fabric.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

func (m *memory) Leads() bool         { return true }
func (m *memory) Leader() cert.NodeID { return 0 }

func (m *memory) Current(context.Context) (*fabric.State, error) { return m.State(), nil }

// vault has the keys of a fabric that nobody needs to keep secret.
type vault struct{ fabric *issuer.Fabric }

func (v vault) IssuerKey(context.Context, *fabric.State) (issuer.PrivateKey, error) {
	return issuer.ParsePrivateKey(bytes.Clone(v.fabric.IssuerKey.Reveal())) // it is erased after use
}

func (v vault) IPK(context.Context, *fabric.State) (cert.EpochKey, error) { return v.fabric.IPK, nil }

func (vault) OpenNetwork(context.Context, *fabric.State, *fabric.Network) (seal.Secret, error) {
	return seal.Secret{}, errNoNetworks
}

func (vault) OpenPeople(context.Context, *fabric.State) (seal.Secret, error) {
	return seal.Secret{}, errors.New("nobody")
}

func (vault) SealNetwork(context.Context, *fabric.State, *fabric.Network, seal.Secret) error {
	return errNoNetworks
}

var errNoNetworks = errors.New("the rig pairs devices that are on a network")

func rig(ctx context.Context, s size, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: bench rig TRUST-DIR CODE")
	}
	codes, err := setup.Parse(args[1])
	if err != nil {
		return err
	}
	c, err := rigCommissioner(ctx, args[0])
	if err != nil {
		return err
	}
	device, session, err := c.Pair(ctx, commissioner.PairRequest{Code: codes[0]}, func(commissioner.Progress) {})
	if err != nil {
		return err
	}
	stop, err := profile(s.profile)
	if err != nil {
		return err
	}
	defer stop()
	r, session, err := sessions(ctx, s, c, device.Node, session)
	if err != nil {
		return err
	}
	k := keeper.New(c)
	k.Adopt(session)
	state := interaction.ReadRequest{Attributes: []interaction.AttributePath{interaction.Attribute(1, datamodel.OnOff, datamodel.OnOffState)}}
	toggle := interaction.Invocation{Path: interaction.Command(1, datamodel.OnOff, datamodel.OnOffToggle)}
	r.Storms = make(map[string]storm)
	for _, kind := range []string{"reads", "invokes"} {
		once := func() error { _, err := k.Read(ctx, device.Node, state); return err }
		if kind == "invokes" {
			once = func() error { _, err := k.Invoke(ctx, device.Node, 0, toggle); return err }
		}
		for _, n := range flights {
			before := cpuTime()
			took, err := inflight(s.ops, n, once)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			r.Storms[fmt.Sprintf("%s %d", kind, n)] = storm{Time: took, CPU: cpuTime() - before}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// profile writes a CPU profile until it is stopped.
func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, pprof.StartCPUProfile(f)
}

// sessions opens sessions with a device again and again, in full and resumed.
func sessions(ctx context.Context, s size, c *commissioner.Commissioner, n cert.NodeID, session *exchange.Session) (r figures, _ *exchange.Session, err error) {
	for i := range warmRounds + s.rounds {
		for _, full := range []bool{true, false} {
			securechannel.Close(c.Manager, session)
			if full {
				c.Resumptions().Forget(c.Identity().Index, n)
			}
			time.Sleep(10 * time.Millisecond) // the device's farewell
			began, before := time.Now(), cpuTime()
			if session, err = c.Connect(ctx, n); err != nil {
				return r, nil, err
			}
			took, cpu := time.Since(began), cpuTime()-before
			switch {
			case i < warmRounds:
			case full:
				r.Full, r.FullCPU = append(r.Full, took), r.FullCPU+cpu
			default:
				r.Resumed, r.ResumedCPU = append(r.Resumed, took), r.ResumedCPU+cpu
			}
		}
	}
	r.FullCPU, r.ResumedCPU = r.FullCPU/time.Duration(s.rounds), r.ResumedCPU/time.Duration(s.rounds)
	return r, session, nil
}

// cpuTime is what this process took so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rigCommissioner founds a home in memory.
func rigCommissioner(ctx context.Context, trust string) (*commissioner.Commissioner, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	birth := time.Now().Add(-time.Hour).Truncate(time.Second)
	f, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: birth})
	if err != nil {
		return nil, err
	}
	key, err := issuer.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	self, cat := cert.NodeID(0xBE7C4), cert.NewCAT(1, 1)
	noc, err := issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{Node: self, Fabric: f.FabricID, Serial: []byte("GATEWAY01"),
		CATs: []cert.CAT{cat}, PublicKey: key.PublicKey(), NotBefore: birth})
	if err != nil {
		return nil, err
	}
	rcac, err := cert.Parse(f.RCAC)
	if err != nil {
		return nil, err
	}
	root, err := cert.NewRoot(rcac)
	if err != nil {
		return nil, err
	}
	ledger := &memory{state: &fabric.State{}}
	founding := fabric.Command{Found: &fabric.Found{
		Home:       fabric.Home{Name: "bench", FabricID: f.FabricID, Root: f.RCAC, Birth: birth.UnixMilli(), VendorID: 0xFFF1, GatewayCAT: cat},
		Generation: fabric.Generation{Number: 1, ICAC: f.ICAC}, Gateway: fabric.Gateway{Node: self, NOC: noc, Version: fabric.Version}}}
	if err := rigTrust(ctx, ledger, founding, trust); err != nil {
		return nil, err
	}
	id := &securechannel.Identity{Index: 1, Fabric: f.FabricID, Node: self, Root: root, NOC: noc, ICAC: f.ICAC, Key: key,
		IPK: f.IPK.Operational(f.Compressed), Valid: cert.AnyTime}
	link, err := udp.Listen(udp.Config{})
	if err != nil {
		return nil, err
	}
	m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: log})
	if err != nil {
		return nil, err
	}
	discovery, err := dnssd.Open(dnssd.Config{Now: time.Now, Rand: rand.Reader, Log: log})
	if err != nil {
		return nil, err
	}
	c := commissioner.New(commissioner.Config{Ledger: ledger, Discovery: discovery, Authority: &steward.Authority{Ledger: ledger, Vault: vault{f}},
		Identity: func() *securechannel.Identity { return id }, Manager: m, Engine: interaction.New(m), Link: link, Addresses: commissioner.OpenAddressBook(filepath.Join(trust, "addresses"), log),
		Now: time.Now, Random: rand.Reader, Log: log})
	m.Serve(link)
	return c, nil
}

// rigTrust founds the home and makes it trust what lab.MatterjsTrust wrote.
func rigTrust(ctx context.Context, l *memory, founding fabric.Command, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var anchors fabric.AddAnchors
	for _, file := range files {
		der, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return err
		}
		kind := fabric.PAA
		if strings.Contains(file.Name(), "cd-signer") {
			kind = fabric.CDSigner
		}
		anchors.Anchors = append(anchors.Anchors, fabric.Anchor{Kind: kind, DER: der, Test: true, Source: file.Name()})
	}
	exception := &fabric.Exception{Name: "bench", Expires: time.Now().Add(time.Hour).UnixMilli()}
	for _, cmd := range []fabric.Command{founding, {AddAnchors: &anchors}, {AddException: exception}} {
		if _, err := l.Propose(ctx, cmd); err != nil {
			return err
		}
	}
	return nil
}
