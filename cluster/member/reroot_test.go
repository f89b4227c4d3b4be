package member

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/cluster/backup"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/steward"
	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// newRoot is what the command makes, for the home as it is.
func (h *house) newRoot() (*found.NewRoot, *seal.Kit) {
	h.t.Helper()
	s := h.leader().State()
	file := filepath.Join(h.t.TempDir(), "kit")
	r, err := found.Remint(found.RootConfig{Home: s.Home.Name, FabricID: s.Home.FabricID, Birth: time.UnixMilli(s.Home.Birth),
		Generation: s.Generation().Number + 1, Kit: file, Passphrase: passphrase, Now: time.Now(), KitWork: 2})
	h.check(err)
	sealed, err := os.ReadFile(file)
	h.check(err)
	kit, err := seal.OpenKit(sealed, passphrase)
	h.check(err)
	return r, kit
}

// move takes a device to the new root in the trust state, by its owner.
func (h *house) move(b *box, n cert.NodeID) error {
	ctx := h.t.Context()
	s, err := b.Propose(ctx, fabric.Command{ReserveMove: &fabric.ReserveMove{Node: n, Gateway: b.node, FailSafe: 60_000}})
	if err != nil {
		return err
	}
	serial := s.Devices[n].Next.Credential.Serial
	key, err := issuer.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	noc, icac, err := b.Authority.Issue(ctx, n, key.PublicKey())
	if err != nil {
		return err
	}
	root, err := found.Root(s.Home.Root)
	if err != nil {
		return err
	}
	if _, err := root.Verify(noc, icac, cert.AnyTime); err != nil {
		return err
	}
	public := key.PublicKey()
	if _, err := b.Propose(ctx, fabric.Command{IssueMove: &fabric.IssueMove{Node: n, Gateway: b.node, Serial: serial, NOCHash: make([]byte, 32), PublicKey: public[:]}}); err != nil {
		return err
	}
	if _, err := b.Propose(ctx, fabric.Command{AdmitMove: &fabric.AdmitMove{Node: n, Gateway: b.node, Serial: serial, Access: s.Home.GatewayCAT.Version()}}); err != nil {
		return err
	}
	_, err = b.Propose(ctx, fabric.Command{LeftFormer: &fabric.LeftFormer{Node: n, Gateway: b.node}})
	return err
}

// same waits until all gateways that are on have what the leader has.
func (h *house) same(what string) {
	h.t.Helper()
	h.until(what, func() bool {
		leader := h.leader()
		for _, b := range h.gateways {
			if b.Member != nil && (b.State().Index < leader.State().Index || !bytes.Equal(b.State().Home.Root, leader.State().Home.Root)) {
				return false
			}
		}
		return true
	})
}

// TestReroot gives a home of three gateways another root, asked of one that
// does not lead, while another is off; moves a device; and ends only when the
// one that was off has heard of it.
func TestReroot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		leader := h.leader()
		var asked, away *box
		for _, b := range h.gateways {
			switch {
			case b == leader:
			case asked == nil:
				asked = b
			default:
				away = b
			}
		}
		h.check(h.admit(asked, 7))
		stale := away.identity()
		r, kit := h.newRoot()
		keep := found.NewRoot{IssuerKey: bytes.Clone(r.IssuerKey), IPK: bytes.Clone(r.IPK)}
		rootKey := kit.Key.Reveal()
		h.off(away)

		bad := *r
		bad.IssuerKey = bytes.Repeat([]byte{1}, 32)
		if err := leader.Steward.Reroot(t.Context(), &bad); !errors.Is(err, steward.ErrRoot) || asked.State().Former != nil {
			t.Errorf("a root with another's key: %v", err)
		}
		h.check(asked.Steward.Reroot(t.Context(), r))
		h.check(asked.Steward.Reroot(t.Context(), r)) // the answer was lost
		other, _ := h.newRoot()
		var refused *fabric.Refusal
		if err := asked.Steward.Reroot(t.Context(), other); !errors.As(err, &refused) || refused.Code != fabric.CodeRerooting {
			t.Errorf("a second one meanwhile: %v", err)
		}
		h.same("those that are on have the new root")
		s := leader.State()
		if s.Generation().Number != 2 || !s.SealedRight() || len(s.Stragglers()) != 1 || s.Generations[0].Key != nil {
			t.Errorf("%+v", s)
		}
		for _, b := range []*box{leader, asked} {
			if ipk, err := b.Vault.FormerIPK(t.Context(), b.State()); err != nil || ipk.Reveal() == [16]byte(keep.IPK) {
				t.Errorf("the IPK of before: %v", err)
			}
			if ipk, err := b.Vault.IPK(t.Context(), b.State()); err != nil || ipk.Reveal() != [16]byte(keep.IPK) {
				t.Errorf("the new IPK: %v", err)
			}
		}
		if err := h.admit(asked, 8); err != nil { // a new one, below the new root
			t.Error(err)
		}
		if _, err := asked.Steward.Enroll(t.Context(), fabric.ReserveGateway{Node: 5000, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}); err == nil {
			t.Error("a gateway joins meanwhile")
		}

		// A backup of now brings back how far it is.
		var file bytes.Buffer
		h.check(backup.Write(&file, leader.State(), time.Now(), leader.Trail()))
		b, err := backup.Open(bytes.NewReader(file.Bytes()), kit)
		h.check(err)
		restored, err := backup.Restore(t.Context(), found.Config{Dir: filepath.Join(t.TempDir(), "state"), Gateway: "heir", Now: time.Now(), TPM: keyfile.NoTPM, Cluster: h.cluster()}, b, kit)
		h.check(err)
		if restored.Former == nil || len(restored.Stragglers()) != 1 || len(restored.Devices) != 2 || len(restored.Former.NOCs) != 0 {
			t.Errorf("%+v", restored)
		}

		h.check(h.move(asked, 7))
		time.Sleep(time.Minute)
		if leader.State().Former == nil {
			t.Error("the former fabric is forgotten while a gateway is away that looks for the others by it")
		}

		// It is of the former root, and catches up by its key.
		h.on(away)
		if got := away.identity(); !bytes.Equal(got.NOC, stale.NOC) {
			t.Error("it knows before it was told")
		}
		h.until("the one that was away has the new root, and all is over", func() bool {
			return away.State().Former == nil && bytes.Equal(away.State().Home.Root, r.Root) && leader.State().Former == nil
		})
		h.check(h.admit(away, 9))
		h.join() // as before

		// Nothing of the new keys is on any disk, nor the root's at all.
		h.end()
		for _, b := range h.gateways {
			for path, contents := range files(t, b.dir) {
				for what, secret := range map[string][]byte{"issuing key": keep.IssuerKey, "IPK": keep.IPK, "root's key": rootKey} {
					for _, form := range [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret))} {
						if bytes.Contains(contents, form) {
							t.Errorf("the %s is in %s", what, path)
						}
					}
				}
			}
		}
	})
}

// TestRerootLosesLeader pulls the leader's plug as soon as the root is changed:
// the others go on, and it catches up.
func TestRerootLosesLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		h.check(h.admit(h.gateways[0], 7))
		leader := h.leader()
		r, _ := h.newRoot()
		h.check(leader.Steward.Reroot(t.Context(), r))
		h.off(leader)
		next := h.leader()
		h.until("another leads, with the new root", func() bool { return bytes.Equal(next.State().Home.Root, r.Root) })
		h.check(next.Steward.Reroot(t.Context(), r)) // whoever asked asks again
		if len(next.State().Generations) != 2 {
			t.Error("the root was changed twice")
		}
		h.on(leader)
		h.same("the one that led has caught up")
		owner := h.gateways[0]
		for _, b := range h.gateways {
			if b.node == next.State().Devices[7].Gateway {
				owner = b
			}
		}
		h.check(h.move(owner, 7))
		h.until("it is over", func() bool { return h.leader().State().Former == nil })
		h.same("everywhere")
	})
}

// TestForgedGateway: with the issuing key, a thief makes certificates for a
// gateway's node id and for a new one. The first never helps; the second not
// after the root was changed.
func TestForgedGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		defer h.end()
		h.until("there are three voters", func() bool { return h.voters() == 3 })
		leader := h.leader()
		s := leader.State()
		stolen, err := leader.Vault.IssuerKey(t.Context(), s)
		h.check(err)
		forge := func(n cert.NodeID) *wire.Identity {
			key, err := issuer.GenerateKey(rand.Reader)
			h.check(err)
			noc, err := issuer.Issue(s.Generation().ICAC, stolen, issuer.Reservation{Node: n, Fabric: s.Home.FabricID, Serial: []byte("forged serial"),
				CATs: []cert.CAT{cert.NewCAT(found.GatewayTag, 0xFFFF)}, PublicKey: key.PublicKey(), NotBefore: time.UnixMilli(s.Home.Birth)})
			h.check(err)
			root, err := found.Root(s.Home.Root)
			h.check(err)
			return &wire.Identity{Node: n, Fabric: s.Home.FabricID, Root: root, NOC: noc, ICAC: s.Generation().ICAC, Key: key}
		}
		victim := h.gateways[2]
		if victim == leader {
			victim = h.gateways[1]
		}
		// reaches reports whether the leader lets a gateway in, and answers it.
		reaches := func(id *wire.Identity) (in, answered bool) {
			b := h.box()
			h.gateways = h.gateways[:len(h.gateways)-1]
			host := h.net.Host(b.addr.Addr())
			l, err := host.Listen(b.addr.Port() + uint16(id.Node%97) + 1)
			h.check(err)
			w := wire.New(wire.Config{Identity: func() *wire.Identity { return id }, Admit: func(cert.Node) error { return nil }, Locate: h.locate, Dial: host.Dial}, l)
			defer w.Close()
			status, _, err := wire.Ask(t.Context(), w.Client(), leader.node, "GET", "/cluster/applied", nil, 1<<10)
			return err == nil, err == nil && status == http.StatusOK
		}
		if in, _ := reaches(forge(victim.node)); in {
			t.Error("a forged certificate for a gateway's node id is let in")
		}
		switch in, answered := reaches(forge(4000)); {
		case !in:
			t.Error("one that may be new is not let in: the rest of this test shows nothing")
		case answered:
			t.Error("one that the trust state does not know is answered")
		}
		r, _ := h.newRoot()
		b := h.box()
		h.gateways = h.gateways[:len(h.gateways)-1]
		host := h.net.Host(b.addr.Addr())
		l, err := host.Listen(b.addr.Port())
		h.check(err)
		thief := forge(4001)
		w := wire.New(wire.Config{Identity: func() *wire.Identity { return thief }, Admit: func(cert.Node) error { return nil }, Locate: h.locate, Dial: host.Dial}, l)
		defer w.Close()
		open, err := w.Raft(thief.Node).Dial(raft.ServerAddress(leader.node.String()), time.Second)
		h.check(err)
		defer open.Close()
		h.check(h.admit(leader, 7)) // which keeps the former fabric
		h.check(leader.Steward.Reroot(t.Context(), r))
		open.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := open.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a connection of before stays open")
		}
		for _, n := range []cert.NodeID{4000, victim.node} {
			if in, _ := reaches(forge(n)); in {
				t.Errorf("after the change of the root, a forged certificate for %v is let in", n)
			}
		}
		h.same("all have it")
		if err := leader.Steward.Evict(t.Context(), victim.node, "stolen"); err != nil {
			t.Errorf("evicting meanwhile: %v", err)
		}
		h.gateways = slices.DeleteFunc(h.gateways, func(b *box) bool { return b == victim })
		defer h.off(victim)
		h.same("the other helps again")
		if s := leader.State(); !s.SealedRight() || s.Former.NOCs[victim.node] != nil {
			t.Errorf("%+v", s.Former)
		}
		_, err = leader.Vault.FormerIPK(t.Context(), leader.State())
		h.check(err)
	})
}
