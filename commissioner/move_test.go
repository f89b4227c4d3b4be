package commissioner_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

// paired is a home with a light, before its authority's key is taken.
func paired(t *testing.T, maxFabrics int) (*home, cert.NodeID) {
	h := (&home{discriminator: 0xABC}).withNOCs().start(t, "", maxFabrics)
	d, err := h.pair(t.Context())
	h.check(err)
	return h, d.Node
}

// withNOCs fails the test if a device gets a certificate that the trust state
// does not know.
func (h *home) withNOCs() *home {
	h.onNOC = func(noc []byte) {
		if !h.knows(noc) {
			h.t.Error("a device was given a certificate that the trust state does not know")
		}
	}
	return h
}

// knows reports whether the trust state has a device's certificate.
func (h *home) knows(noc []byte) bool {
	hash := sha256.Sum256(noc)
	for _, d := range h.ledger.State().Devices {
		if bytes.Equal(d.NOCHash, hash[:]) || d.Next != nil && bytes.Equal(d.Next.Credential.NOCHash, hash[:]) ||
			d.Before != nil && bytes.Equal(d.Before.NOCHash, hash[:]) {
			return true
		}
	}
	return false
}

// reroot gives the home another root, as the leader and every gateway do.
func (h *home) reroot() {
	h.t.Helper()
	s := h.ledger.State()
	number := s.Generation().Number + 1
	birth := time.UnixMilli(s.Home.Birth)
	f, err := issuer.NewFabric(rand.Reader, issuer.Params{FabricID: s.Home.FabricID, Birth: birth, Generation: number})
	h.check(err)
	public, err := cert.PublicKeyOf(h.id.Key.Public())
	h.check(err)
	nocs := make(map[cert.NodeID][]byte)
	for i, g := range s.Members() {
		if nocs[g.Node] = []byte("noc"); g.Node == h.id.Node {
			nocs[g.Node], err = issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{Node: g.Node, Fabric: s.Home.FabricID, Serial: fabric.MemberSerial(number, i),
				CATs: []cert.CAT{s.Home.GatewayCAT}, PublicKey: public, NotBefore: birth})
			h.check(err)
		}
	}
	after := *s
	after.Home.Recovery = []byte("kit")
	closed := func(to []fabric.Addressee) (envelopes []fabric.Envelope) {
		for _, a := range to {
			envelopes = append(envelopes, fabric.Envelope{Gateway: a.Gateway, Helper: a.Helper, To: a.To(), Blob: []byte("closed")})
		}
		return envelopes
	}
	issuing, shared := after.Addressees()
	h.vault.key, h.vault.ipk = f.IssuerKey.Reveal(), f.IPK
	h.propose(fabric.Command{Reroot: &fabric.Reroot{Root: f.RCAC, NOCs: nocs, Reseal: fabric.Reseal{
		Keyring: fabric.Keyring{Number: s.DataKey() + 1, Issuing: closed(issuing), Shared: closed(shared)}, IssuerKey: []byte("k"), IPK: []byte("i"),
		Former: []byte("f"), ICAC: f.ICAC, Recovery: after.Home.Recovery, Of: s.Sealed()}}})
	rcac, err := cert.Parse(f.RCAC)
	h.check(err)
	root, err := cert.NewRoot(rcac)
	h.check(err)
	h.former.Store(h.id)
	h.renewed.Store(&securechannel.Identity{Index: 2, Fabric: f.FabricID, Node: h.id.Node, Root: root, NOC: nocs[h.id.Node], ICAC: f.ICAC, Key: h.id.Key,
		IPK: f.IPK.Operational(f.Compressed), Valid: cert.AnyTime, Knows: h.knowing(f.RCAC)})
}

// own has the gateway look after its devices for a while.
func (h *home) own(d time.Duration) {
	ctx, stop := context.WithTimeout(h.t.Context(), d)
	defer stop()
	h.k.Own(ctx, func() bool { return true })
}

// arrived fails the test unless the light is below the new root alone, with the
// certificate that the trust state says, and can be switched.
func (h *home) arrived(n cert.NodeID) {
	h.t.Helper()
	s := h.ledger.State()
	d := s.Devices[n]
	if d == nil || s.OnFormer(d) || d.Before != nil || d.Next != nil || d.Generation != s.Generation().Number {
		h.t.Fatalf("not arrived: %+v", d)
	}
	nocs := h.device.NOCs()
	if len(nocs) != 1 {
		h.t.Fatalf("the light is on %d fabrics", len(nocs))
	}
	if hash := sha256.Sum256(nocs[0]); !bytes.Equal(hash[:], d.NOCHash) {
		h.t.Fatal("the light has another certificate than the trust state says")
	}
	h.switches(n)
	var acl []datamodel.ACLEntry
	path := interaction.Attribute(0, datamodel.AccessControl, datamodel.AccessControlACL)
	r, err := h.k.Read(h.t.Context(), n, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}, FabricFiltered: true})
	h.check(err)
	h.check(r.Decode(path, &acl))
	if len(acl) != 2 || acl[0].Subjects.Value[0] != uint64(s.Home.GatewayCAT.Subject()) || acl[1].Privilege != datamodel.Operate {
		h.t.Fatalf("its access list is %+v", acl)
	}
}

// switches fails the test unless the light can be switched.
func (h *home) switches(n cert.NodeID) {
	h.t.Helper()
	was := h.device.On()
	toggle := interaction.Invocation{Path: interaction.Command(1, datamodel.OnOff, datamodel.OnOffToggle)}
	if r, err := h.k.Invoke(h.t.Context(), n, 0, toggle); err != nil || r.Err != nil || h.device.On() == was {
		h.t.Fatalf("switching it: %v, %v", r.Err, err)
	}
}

// moveOnce is one attempt, as the keeper makes it.
func (h *home) moveOnce(ctx context.Context, n cert.NodeID, progress func(commissioner.Progress)) error {
	former, err := h.c.Connect(ctx, n)
	if err != nil {
		return err
	}
	s, err := h.c.Move(ctx, h.ledger.State().Devices[n], former, progress)
	if err == nil {
		h.k.Adopt(s)
	}
	return err
}

func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 0)
		stale := h.id
		before := h.ledger.State().Devices[light]
		h.reroot()
		h.switches(light) // over the former fabric
		var told []string
		h.check(h.moveOnce(t.Context(), light, func(p commissioner.Progress) {
			if p.State == commissioner.StepDone {
				told = append(told, p.Name)
			}
		}))
		if fmt.Sprint(told) != fmt.Sprint(commissioner.MoveSteps()) {
			t.Errorf("told of %v", told)
		}
		d := h.ledger.State().Devices[light]
		if d.Before == nil || !bytes.Equal(d.Before.NOCHash, before.NOCHash) || h.device.Fabrics() != 2 {
			t.Errorf("%+v, %d fabrics", d, h.device.Fabrics())
		}
		h.switches(light)
		h.own(time.Minute)
		h.arrived(light)
		if d := h.ledger.State().Devices[light]; d.Node != before.Node || d.Zone != before.Zone || d.Name != before.Name || bytes.Equal(d.Serial, before.Serial) {
			t.Errorf("%+v", d)
		}

		// Who has the former authority's key is nobody to the light any more,
		// and cannot be the light to the gateway.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		thief, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
		h.check(err)
		defer thief.Close()
		link := h.net.Link(gatewayAddr2)
		thief.Serve(link)
		_, err = securechannel.CASE(ctx, thief, securechannel.Peer{Link: link, Addr: deviceAddr}, stale, light, new(securechannel.Resumptions))
		if !securechannel.IsStatus(err, securechannel.CodeNoSharedRoot) {
			t.Errorf("a controller with the former certificate: %v", err)
		}
		h.propose(fabric.Command{EndReroot: &fabric.EndReroot{}})
		h.former.Store(nil)
		time.Sleep(time.Minute)
		h.arrived(light)
	})
}

// TestForgedDevice has somebody with the issuing key answer in a light's place.
func TestForgedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 0)
		s := h.ledger.State()
		key, err := issuer.GenerateKey(rand.Reader)
		h.check(err)
		authority, err := h.vault.IssuerKey(t.Context(), s)
		h.check(err)
		noc, err := issuer.Issue(s.Generation().ICAC, authority, issuer.Reservation{Node: light, Fabric: s.Home.FabricID, Serial: []byte("forged serial"),
			PublicKey: key.PublicKey(), NotBefore: time.UnixMilli(s.Home.Birth)})
		h.check(err)
		h.device.Close()
		forger, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
		h.check(err)
		defer forger.Close()
		forged := *h.id
		forged.Node, forged.NOC, forged.Key, forged.Knows = light, noc, key, nil
		responder := &securechannel.Responder{Manager: forger, Log: quiet, Resumptions: new(securechannel.Resumptions),
			Identities: func() []*securechannel.Identity { return []*securechannel.Identity{&forged} }}
		responder.Register()
		time.Sleep(time.Minute)
		forger.Serve(h.net.Link(deviceAddr))
		h.c.Resumptions().Forget(h.id.Index, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := h.c.Connect(ctx, light); err == nil {
			t.Error("a certificate that the trust state does not know passes for the light")
		}
	})
}

// TestMoveEveryLoss loses each packet of a move in turn.
func TestMoveEveryLoss(t *testing.T) {
	for nth := 1; nth <= 50; nth++ {
		synctest.Test(t, func(t *testing.T) {
			h, light := paired(t, 0)
			h.reroot()
			h.net.SetDrop(radiotest.DropNth(nth))
			h.own(5 * time.Minute)
			h.arrived(light)
		})
	}
}

// TestMoveEveryCut cuts the network behind each packet, for a while. Before and
// after it ends, no certificate is out that the trust state does not know.
func TestMoveEveryCut(t *testing.T) {
	for n := range 50 {
		for _, restarted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h, light := paired(t, 0)
				h.reroot()
				h.net.SetDrop(radiotest.DropAfter(n))
				cut := time.AfterFunc(30*time.Second, func() {
					for _, noc := range h.device.NOCs() {
						if !h.knows(noc) {
							t.Errorf("cut behind packet %d: an unknown certificate", n)
						}
					}
					h.net.SetDrop(nil)
				})
				if restarted {
					h.own(29 * time.Second)
					cut.Reset(time.Second)
					time.Sleep(2 * time.Second)
					h.startGateway()
				}
				h.own(40 * time.Minute)
				h.arrived(light)
			})
		}
	}
}

// TestMoveCrash stops the gateway dead before and behind each step of a move,
// and starts it anew: at once, or after the device's fail-safe.
func TestMoveCrash(t *testing.T) {
	for step, name := range commissioner.MoveSteps() {
		for _, when := range []string{commissioner.StepStarted, commissioner.StepDone} {
			for _, pause := range []time.Duration{0, 10 * time.Minute} {
				synctest.Test(t, func(t *testing.T) {
					h, light := paired(t, 0)
					h.reroot()
					ctx, crash := context.WithCancel(t.Context())
					h.moveOnce(ctx, light, func(p commissioner.Progress) {
						if p.Step == step+1 && p.State == when {
							h.net.SetDrop(radiotest.DropAfter(0))
							h.ledger.fail = func(fabric.Command) (error, error) { return errors.New("crashed"), nil }
							crash()
						}
					})
					h.net.SetDrop(nil)
					h.ledger.fail = nil
					time.Sleep(pause)
					h.startGateway()
					patience := 20 * time.Minute
					if pause == 0 { // the device's fail-safe, which lasts longer, is not waited for
						patience = 10 * time.Second
					}
					h.own(patience)
					if t.Failed() {
						t.Fatalf("%s %s, after %v", name, when, pause)
					}
					h.arrived(light)
				})
			}
		}
	}
}

// TestMoveProposals lets each commit fail, without and with having taken
// effect.
func TestMoveProposals(t *testing.T) {
	lost := errors.New("the disk is on fire")
	for name, which := range map[string]func(fabric.Command) bool{
		"reserve": func(c fabric.Command) bool { return c.ReserveMove != nil },
		"issue":   func(c fabric.Command) bool { return c.IssueMove != nil },
		"admit":   func(c fabric.Command) bool { return c.AdmitMove != nil },
		"left":    func(c fabric.Command) bool { return c.LeftFormer != nil },
		"abandon": func(c fabric.Command) bool { return c.AbandonMove != nil || c.IssueMove != nil },
	} {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, persisted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, light := paired(t, 0)
					h.reroot()
					failures := 0
					h.ledger.fail = func(c fabric.Command) (error, error) {
						if !which(c) || failures == 2 {
							return nil, nil
						}
						failures++
						if persisted {
							return nil, lost
						}
						return lost, nil
					}
					h.own(20 * time.Minute)
					if failures == 0 {
						t.Error("nothing failed")
					}
					h.arrived(light)
				})
			})
		}
	}
}

// TestMoveLostOwner gives the light to another gateway in the middle of each
// step: this one commits nothing more, and whoever has it next ends it well.
func TestMoveLostOwner(t *testing.T) {
	for step, name := range commissioner.MoveSteps() {
		synctest.Test(t, func(t *testing.T) {
			h, light := paired(t, 0)
			h.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
			h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: []byte("noc"), CAT: 1}})
			h.reroot()
			err := h.moveOnce(t.Context(), light, func(p commissioner.Progress) {
				if p.Step == step+1 && p.State == commissioner.StepStarted {
					h.propose(fabric.Command{TakeOver: &fabric.TakeOver{From: 0xA1, To: []cert.NodeID{otherGateway}}})
				}
			})
			if code(err) != commissioner.Code(fabric.CodeOwner) {
				t.Fatalf("%s: %v", name, err)
			}
			h.own(time.Minute)
			if d := h.ledger.State().Devices[light]; d.Before != nil || !h.ledger.State().OnFormer(d) {
				t.Fatalf("%s: it moved another gateway's light", name)
			}
			h.startGateway()
			h.propose(fabric.Command{TakeOver: &fabric.TakeOver{From: otherGateway, To: []cert.NodeID{0xA1}}})
			h.own(20 * time.Minute)
			h.arrived(light)
		})
	}
}

// TestStraggler: a light that is off stays where it is, with the reason why,
// and is moved when it shows up.
func TestStraggler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 0)
		h.net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { return true })
		h.reroot()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() { h.k.Own(ctx, func() bool { return true }); close(ended) }()
		time.Sleep(time.Hour)
		if health, ok := h.k.Health(light); !ok || health.Reachable || health.Failure == nil || time.Since(health.Since) < 50*time.Minute {
			t.Errorf("%+v", health)
		}
		if s := h.ledger.State(); len(s.Stragglers()) != 1 {
			t.Error("it is no straggler")
		}
		_, err := h.ledger.Propose(t.Context(), fabric.Command{EndReroot: &fabric.EndReroot{}})
		if code(commissioner.Explain(err, "")) != commissioner.Code(fabric.CodeStragglers) {
			t.Errorf("the former fabric is forgotten: %v", err)
		}
		h.net.SetDrop(nil)
		time.Sleep(10 * time.Minute)
		stop()
		<-ended
		h.arrived(light)
	})
}

// TestMoveTableFull: a light without room says so, works on, and is moved when
// there is room.
func TestMoveTableFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 1)
		h.reroot()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() { h.k.Own(ctx, func() bool { return true }); close(ended) }()
		time.Sleep(5 * time.Minute)
		s, ok := h.k.Straggles(light)
		if !ok || s.Failure.Code != commissioner.CodeTableFull || s.Failure.Remedy == "" || s.Attempts < 3 || time.Since(s.Since) < 4*time.Minute {
			t.Errorf("%+v", s)
		}
		h.switches(light)
		stop()
		<-ended
		h.propose(fabric.Command{EndReroot: &fabric.EndReroot{GiveUp: []cert.NodeID{light}}})
		if s := h.ledger.State(); s.Former != nil || s.Devices[light] != nil || s.Tombstones[light] == nil {
			t.Errorf("%+v", s)
		}
	})
}

// TestMoveInDoubt: a light that lists the new fabric and cannot be met there
// may have its certificate, and is not given another.
func TestMoveInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 0)
		h.reroot()
		h.ledger.fail = func(c fabric.Command) (error, error) {
			if c.AdmitMove != nil {
				return errors.New("no quorum"), nil
			}
			return nil, nil
		}
		if err := h.moveOnce(t.Context(), light, nil); code(err) != commissioner.CodeCommit {
			t.Fatal(err)
		}
		h.ledger.fail = nil
		right := h.renewed.Load()
		wrong := *right
		wrong.IPK = h.id.IPK
		h.renewed.Store(&wrong)
		h.c.Resumptions().Forget(right.Index, 0)
		former := func(ctx context.Context) (*exchange.Session, error) { return h.c.Connect(ctx, light) }
		if _, err := h.c.SettleMove(t.Context(), h.ledger.State().Devices[light], former); code(err) != commissioner.CodeMoveDoubt {
			t.Errorf("%v", err)
		}
		if h.ledger.State().Devices[light].Next == nil {
			t.Fatal("a certificate that the light has is forgotten")
		}
		h.renewed.Store(right)
		h.own(time.Minute)
		h.arrived(light)
	})
}

// TestFormerTag: after an eviction, lists on the former fabric keep the tag
// that this gateway's certificate there has.
func TestFormerTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 0)
		h.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
		h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: []byte("noc"), CAT: 1}})
		h.reroot()
		h.propose(fabric.Command{EvictGateway: &fabric.EvictGateway{Node: otherGateway, Reason: "stolen"}})
		s, err := h.c.Connect(t.Context(), light)
		h.check(err)
		h.check(h.c.WriteAccess(t.Context(), s, h.ledger.State().Devices[light]))
		h.switches(light)
	})
}

// TestKeptFabric: a light that says that it left the former fabric and did not
// is listed with the reason, and the trust state does not believe it.
func TestKeptFabric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := (&home{discriminator: 0xABC}).withNOCs().start(t, virtual.KeepFabric, 0)
		d, err := h.pair(t.Context())
		h.check(err)
		h.reroot()
		h.own(5 * time.Minute)
		s, ok := h.k.Straggles(d.Node)
		if !ok || s.Failure.Code != commissioner.CodeNotLeft || h.ledger.State().Devices[d.Node].Before == nil {
			t.Errorf("%+v", s)
		}
	})
}

// TestRerootWhilePairing changes the root in the middle of each step of a
// pairing: it fails well, or ends on the former fabric and is moved.
func TestRerootWhilePairing(t *testing.T) {
	for step, name := range commissioner.Steps() {
		synctest.Test(t, func(t *testing.T) {
			h := (&home{discriminator: 0xABC}).withNOCs().start(t, "", 0)
			_, _, err := h.c.Pair(t.Context(), commissioner.PairRequest{Code: h.code}, func(p commissioner.Progress) {
				if p.Step == step+1 && p.State == commissioner.StepStarted {
					h.reroot()
				}
			})
			reserve, caseStep := slices.Index(commissioner.Steps(), "reserve"), slices.Index(commissioner.Steps(), "add-noc")
			if failed := err != nil; failed != (step > reserve && step <= caseStep) {
				t.Errorf("%s: %v", name, err)
			}
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
			defer stop()
			go h.c.Settle(ctx)
			h.own(20 * time.Minute)
			admitted, doubtful := h.phases()
			if doubtful != 0 || admitted != h.device.Fabrics() || admitted != 1 && err == nil {
				t.Fatalf("%s: %d admitted, %d in doubt, %d fabrics", name, admitted, doubtful, h.device.Fabrics())
			}
			for n := range h.ledger.State().Devices {
				h.arrived(n)
			}
		})
	}
}

// TestRemoveMoved: a light that leaves the home leaves both its fabrics.
func TestRemoveMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light := paired(t, 0)
		h.reroot()
		h.check(h.moveOnce(t.Context(), light, nil))
		h.check(h.k.Remove(t.Context(), light, false))
		synctest.Wait()
		if h.device.Fabrics() != 0 {
			t.Errorf("it is on %d fabrics", h.device.Fabrics())
		}
	})
}
