package member

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/steward"
	"gatehouse/cluster/vault"
	"gatehouse/cluster/wire/wiretest"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// house is a home of several gateways, on a network in memory.
type house struct {
	t        *testing.T
	net      *wiretest.Net
	gateways []*box
	addrs    sync.Map // netip.AddrPort by node id
}

// box is one gateway's hardware: its disk and its cable.
type box struct {
	*Member // nil: it is off
	dir     string
	addr    netip.AddrPort
	node    cert.NodeID
}

const passphrase = "rowboat ferns at dusk"

var quiet = slog.New(slog.DiscardHandler)

func empty(t *testing.T) *house { return &house{t: t, net: wiretest.New()} }

func newHouse(t *testing.T, gateways int) *house {
	h := empty(t)
	b := h.box()
	_, err := found.Found(t.Context(), found.Config{Dir: b.dir, Kit: filepath.Join(t.TempDir(), "kit"), Passphrase: passphrase,
		Home: "home", Gateway: "first", Now: time.Now().AddDate(26, 0, 0), TPM: keyfile.NoTPM, KitWork: 2, Cluster: h.cluster()})
	h.check(err)
	h.on(b)
	h.until("the first gateway leads", func() bool { return b.Leads() })
	for len(h.gateways) < gateways {
		h.join()
	}
	return h
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) cluster() cluster.Config {
	return cluster.Config{Log: quiet, Fatal: func(err error) { h.t.Errorf("fatal: %v", err) }}
}

func (h *house) box() *box {
	n := len(h.gateways) + 1
	b := &box{dir: filepath.Join(h.t.TempDir(), "state"), addr: netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:5541", n))}
	h.check(os.Mkdir(b.dir, 0o700))
	h.gateways = append(h.gateways, b)
	return b
}

// on switches a gateway on.
func (h *house) on(b *box) {
	h.t.Helper()
	keys, err := keyfile.Load(b.dir, keyfile.Options{TPM: keyfile.NoTPM})
	h.check(err)
	host := h.net.Host(b.addr.Addr())
	listener, err := host.Listen(b.addr.Port())
	h.check(err)
	b.node = keys.Node
	h.addrs.Store(b.node, b.addr)
	b.Member, err = Open(Config{Dir: b.dir, Keys: keys, Listener: listener, Locate: h.locate, Dial: host.Dial, Cluster: h.cluster(), Now: time.Now, Log: quiet,
		Peers: func(*fabric.State) []found.Peer { return nil }})
	h.check(err)
}

// off pulls the plug.
func (h *house) off(b *box) {
	h.t.Helper()
	h.check(b.Close())
	b.Member = nil
}

func (h *house) end() {
	for _, b := range h.gateways {
		if b.Member != nil {
			h.off(b)
		}
	}
}

func (h *house) locate(_ context.Context, n cert.NodeID) ([]netip.AddrPort, error) {
	if addr, ok := h.addrs.Load(n); ok {
		return []netip.AddrPort{addr.(netip.AddrPort)}, nil
	}
	return nil, errors.New("unknown")
}

// join has a new gateway enrolled, as package enroll does.
func (h *house) join() *box {
	h.t.Helper()
	b := h.box()
	b.node = cert.NodeID(1000 + len(h.gateways))
	keys, err := keyfile.New(b.node, keyfile.Options{TPM: keyfile.NoTPM}, rand.Reader)
	h.check(err)
	h.check(keyfile.Create(b.dir, keys, rand.Reader, nil))
	public := keys.Operational.PublicKey()
	// By whoever is asked: one that does not lead asks the leader.
	m, err := h.gateways[len(h.gateways)-2].Steward.Enroll(h.t.Context(), fabric.ReserveGateway{Node: b.node, Name: "box", PublicKey: public[:],
		SealKey: keys.Sealing[0].Public(), Version: fabric.Version, Storage: string(keys.Storage)})
	h.check(err)
	h.check(found.Join(found.Config{Dir: b.dir, TPM: keyfile.NoTPM, Cluster: h.cluster()}, m))
	h.on(b)
	h.until("the new gateway has the trust state, sealed for it", func() bool {
		s := b.State()
		return s.Founded() && s.SealedRight() && len(s.Members()) == len(h.gateways)
	})
	return b
}

func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			h.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// leader is the gateway that leads the ones that are on.
func (h *house) leader() (leads *box) {
	h.t.Helper()
	h.until("somebody leads", func() bool {
		for _, b := range h.gateways {
			if b.Member != nil && b.Leads() {
				if _, err := b.Current(h.t.Context()); err == nil {
					leads = b
					return true
				}
			}
		}
		return false
	})
	return leads
}

func (h *house) voters() (n int) {
	for _, m := range h.leader().Members() {
		if m.Voter {
			n++
		}
	}
	return n
}

// admit takes a device through the trust state, by one gateway.
func (h *house) admit(b *box, n cert.NodeID) error {
	ctx := h.t.Context()
	if _, err := b.Propose(ctx, fabric.Command{Reserve: &fabric.Reserve{Node: n, Gateway: b.node, FailSafe: 60_000}}); err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	key, err := issuer.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	noc, _, err := b.Authority.Issue(ctx, n, key.PublicKey())
	if err != nil {
		return fmt.Errorf("issue: %w", err)
	}
	public := key.PublicKey()
	hash := [32]byte(bytes.Repeat(noc[:1], 32))
	if _, err := b.Propose(ctx, fabric.Command{Issue: &fabric.Issue{Node: n, NOCHash: hash[:], PublicKey: public[:], Gateway: b.node}}); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	_, err = b.Propose(ctx, fabric.Command{Admit: &fabric.Admit{Node: n, Gateway: b.node, Access: b.State().Home.GatewayCAT.Version()}})
	return err
}

// TestThreeGateways joins two, pairs by each, loses each in turn.
func TestThreeGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		for i, b := range h.gateways {
			h.check(h.admit(b, cert.NodeID(10+i)))
			if len(b.Keys.Sealing()) != 1 && i == 0 {
				h.until("the key of before is gone", func() bool { return len(b.Keys.Sealing()) == 1 })
			}
		}
		for i, lost := range h.gateways {
			h.off(lost)
			for j, b := range h.gateways {
				if b != lost {
					h.check(h.admit(b, cert.NodeID(100+10*i+j)))
				}
			}
			h.until("its devices are taken over", func() bool {
				for _, d := range h.leader().State().Devices {
					if d.Gateway == lost.node {
						return false
					}
				}
				return true
			})
			h.on(lost)
			h.until("it has caught up", func() bool { return lost.State().Index >= h.leader().State().Index })
		}
		if n := len(h.leader().State().Devices); n != 9 {
			t.Errorf("%d devices", n)
		}
	})
}

// TestRotate: new algorithms while a gateway is off, which follows when it is
// on again. The home works all the time.
func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		absent := h.gateways[2]
		h.off(absent)
		_, err := h.leader().Propose(t.Context(), fabric.Command{RotateSealing: &fabric.RotateSealing{Suite: uint8(seal.NewestSuite)}})
		h.check(err)
		moved := func() (n int) {
			for _, g := range h.leader().State().Members() {
				if seal.AlgorithmOf(g.SealKey) == seal.NewestSuite.Envelopes() {
					n++
				}
			}
			return n
		}
		h.until("those who are there have new keys", func() bool { return moved() == 2 && h.leader().State().SealedRight() })
		h.check(h.admit(h.gateways[0], 7))
		h.on(absent)
		h.until("all have new keys, and no other", func() bool {
			for _, b := range h.gateways {
				if len(b.Keys.Sealing()) != 1 || b.Keys.Sealing()[0].Algorithm() != seal.NewestSuite.Envelopes() {
					return false
				}
			}
			return moved() == 3 && h.leader().State().SealedRight()
		})
		h.off(h.gateways[0])
		h.on(h.gateways[0])
		h.check(h.admit(absent, 8))
		h.join()
		h.until("the new one too", func() bool { return moved() == 4 && h.leader().State().SealedRight() })
		h.check(h.admit(h.gateways[3], 9))
	})
}

// TestTwoGateways: the second has no vote, so that the first goes on alone;
// but neither opens the home's secrets alone.
func TestTwoGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2)
		defer h.end()
		time.Sleep(time.Minute)
		if h.voters() != 1 {
			t.Errorf("%d voters", h.voters())
		}
		h.check(h.admit(h.gateways[1], 7))
		h.off(h.gateways[1])
		first := h.gateways[0]
		if _, err := first.Propose(t.Context(), fabric.Command{AddZone: &fabric.AddZone{Name: "attic"}}); err != nil {
			t.Error(err)
		}
		if err := h.admit(first, 8); !errors.Is(err, vault.ErrNoHelper) {
			t.Errorf("the issuing key opens without a helper: %v", err)
		}
	})
}

// TestStolen: what is on one gateway's disk opens nothing, also not what the
// first gateway sealed to itself while it was alone.
func TestStolen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		first := h.gateways[0]
		n := fabric.Network{Name: "attic", Kind: fabric.WiFi, ID: []byte("ssid")}
		h.check(first.Authority.SealNetwork(t.Context(), &n, seal.NewSecret([]byte("the password"))))
		_, err := first.Propose(t.Context(), fabric.Command{SetNetwork: &fabric.SetNetwork{Name: n.Name, Kind: n.Kind, ID: n.ID, Sealed: n.Sealed, DataKey: n.DataKey}})
		h.check(err)
		alone := first.State()
		h.join()
		h.join()
		h.until("the key of before is gone", func() bool { return len(first.Keys.Sealing()) == 1 && h.leader().State().SealedRight() })
		now := first.State()
		h.end()
		for i, b := range h.gateways {
			keys, err := keyfile.Load(b.dir, keyfile.Options{TPM: keyfile.NoTPM})
			h.check(err)
			thief := vault.Vault{Node: keys.Node, Sealing: func() []seal.SealingKey { return keys.Sealing }}
			for what, s := range map[string]*fabric.State{"now": now, "when the first was alone": alone} {
				if _, err := thief.IssuerKey(t.Context(), s); err == nil {
					t.Errorf("gateway %d's disk opens the issuing key of %s", i, what)
				}
				if _, err := thief.IPK(t.Context(), s); err == nil {
					t.Errorf("gateway %d's disk opens the IPK of %s", i, what)
				}
				if _, err := thief.OpenNetwork(t.Context(), s, s.Networks["attic"]); err == nil {
					t.Errorf("gateway %d's disk opens the network key of %s", i, what)
				}
			}
			for path, contents := range files(t, b.dir) {
				if bytes.Contains(contents, []byte("the password")) {
					t.Errorf("the password is in %s", path)
				}
			}
		}
	})
}

func files(t *testing.T, dir string) map[string][]byte {
	all := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(all) < 3 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	return all
}

// TestEvicted: from then on nobody lets it in or helps it, and an old copy of
// its disk, started anywhere, changes nothing.
func TestEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		thief := h.gateways[2]
		h.off(thief)
		h.leader()
		h.check(h.gateways[0].Steward.Evict(t.Context(), thief.node, "stolen"))
		h.until("the others have another tag, and all is sealed anew", func() bool {
			s := h.leader().State()
			for _, g := range s.Members() {
				if g.CATVersion() != 2 {
					return false
				}
			}
			return s.SealedRight() && len(h.leader().Members()) == 2 && h.voters() == 1
		})
		h.check(h.admit(h.gateways[0], 7))
		h.on(thief)
		time.Sleep(time.Minute)
		if thief.Leads() || thief.State().Devices[7] != nil || thief.Leader() != 0 {
			t.Error("an evicted gateway is let in")
		}
		if _, err := thief.Vault.IPK(t.Context(), thief.State()); !errors.Is(err, vault.ErrNoHelper) {
			t.Errorf("an evicted gateway is helped: %v", err)
		}
		h.check(h.admit(h.gateways[1], 8)) // the others are not disturbed
	})
}

// TestEvictLeader: it hands the lead over first, and the last gateway opens
// its secrets alone again.
func TestEvictLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		for len(h.gateways) > 1 {
			leader := h.leader()
			h.gateways = slices.DeleteFunc(h.gateways, func(b *box) bool { return b == leader })
			if len(h.gateways) == 1 { // the other has no vote, and cannot lead
				if err := leader.Steward.Evict(t.Context(), leader.node, "old"); err == nil {
					t.Error("the only gateway with a vote is evicted")
				}
				h.check(leader.Steward.Evict(t.Context(), h.gateways[0].node, "old"))
				h.off(h.gateways[0])
				h.gateways = []*box{leader}
				break
			}
			h.check(h.gateways[0].Steward.Evict(t.Context(), leader.node, "old"))
			h.off(leader)
		}
		h.until("nobody else is a member", func() bool { return len(h.leader().Members()) == 1 })
		h.check(h.admit(h.gateways[0], 7))
		last := h.gateways[0]
		h.off(last)
		h.on(last)
		h.check(h.admit(last, 8))
	})
}

// TestEvictNeedsHelp: of two gateways, one that is away cannot be evicted
// without the recovery kit, and nothing changes.
func TestEvictNeedsHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2)
		defer h.end()
		h.off(h.gateways[1])
		first := h.gateways[0]
		err := first.Steward.Evict(t.Context(), h.gateways[1].node, "burnt")
		if !errors.Is(err, steward.ErrNeedsKit) || first.State().Gateways[h.gateways[1].node] == nil {
			t.Errorf("%v", err)
		}
		h.on(h.gateways[1])
		h.until("it has caught up", func() bool { return h.gateways[1].State().Index == first.State().Index })
		h.check(first.Steward.Evict(t.Context(), h.gateways[1].node, "old"))
		h.check(h.admit(first, 7))
	})
}

// TestJoinTwice: the same membership again is no harm, another is refused, and
// what is there is never made a second cluster.
func TestJoinTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2)
		defer h.end()
		b := h.gateways[1]
		m, err := found.ReadMembership(b.dir)
		h.check(err)
		cfg := found.Config{Dir: b.dir, TPM: keyfile.NoTPM, Cluster: h.cluster()}
		h.check(found.Join(cfg, *m))
		other := newHouse(t, 1)
		defer other.end()
		keys := b.Keys.Now()
		public := keys.Operational.PublicKey()
		stranger, err := other.gateways[0].Steward.Enroll(t.Context(), fabric.ReserveGateway{Node: b.node, PublicKey: public[:], SealKey: keys.Sealing[0].Public(), Version: fabric.Version})
		h.check(err)
		if err := found.Join(cfg, stranger); !errors.Is(err, found.ErrFounded) {
			t.Errorf("it joins a second home: %v", err)
		}
		cfg.Passphrase, cfg.Kit = passphrase, filepath.Join(t.TempDir(), "kit")
		h.off(b)
		if _, err := found.Found(t.Context(), cfg); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("it founds a home of its own: %v", err)
		}
	})
}
