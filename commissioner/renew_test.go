package commissioner_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

// quarantined is a home with a light that was paired into quarantine, and is to
// leave it now.
func quarantined(t *testing.T) (*home, *changing, cert.NodeID) {
	knows, bad := new(changing), burning()
	knows.Store(&bad)
	h := (&home{discriminator: 0xABC, firmware: knows}).withNOCs().start(t, "", 0)
	d, err := h.pair(t.Context())
	h.check(err)
	h.rights(d.Node, false)
	knows.Store(&known{})
	return h, knows, d.Node
}

// rights fails the test unless the light has the certificate that the trust
// state says and the list that goes with it: with the zone's tag, or without.
func (h *home) rights(n cert.NodeID, zone bool) {
	h.t.Helper()
	s := h.ledger.State()
	d := s.Devices[n]
	nocs := h.device.NOCs()
	if len(nocs) != 1 || d.Next != nil || d.Quarantined() == zone || d.Untagged == zone || d.Standing == nil || !d.Standing.Enforced {
		why, _ := h.k.Straggles(n)
		h.t.Fatalf("%d certificates, untagged %v, attempt %+v, standing %+v, %v", len(nocs), d.Untagged, d.Next, d.Standing, why.Failure)
	}
	noc, err := cert.Parse(nocs[0])
	h.check(err)
	key := noc.PublicKey
	if hash := sha256.Sum256(nocs[0]); !bytes.Equal(hash[:], d.NOCHash) || !bytes.Equal(key[:], d.PublicKey) || !bytes.Equal(noc.Serial, d.Serial) {
		h.t.Fatal("the light has another certificate than the trust state says")
	}
	if slices.Contains(noc.Subject.CATs(), s.Zones[d.Zone].CAT) != zone {
		h.t.Fatalf("its tags are %v", noc.Subject.CATs())
	}
	var acl []datamodel.ACLEntry
	path := interaction.Attribute(0, datamodel.AccessControl, datamodel.AccessControlACL)
	r, err := h.k.Read(h.t.Context(), n, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}, FabricFiltered: true})
	h.check(err)
	h.check(r.Decode(path, &acl))
	if (len(acl) == 2) != zone {
		h.t.Fatalf("its access list is %+v", acl)
	}
	h.switches(n)
}

// TestRenew lets a light out of quarantine and has it back: each time it gets
// another certificate, and nobody gets in by the one of before.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, knows, light := quarantined(t)
		before := h.ledger.State().Devices[light]
		h.own(time.Minute)
		h.rights(light, true)
		if d := h.ledger.State().Devices[light]; bytes.Equal(d.Serial, before.Serial) || bytes.Equal(d.PublicKey, before.PublicKey) || d.Before != nil || d.AdmittedAt != before.AdmittedAt {
			t.Errorf("%+v", d)
		}
		if h.ledger.State().Knows(light, cert.PublicKey(before.PublicKey), false) {
			t.Error("the key of before is good still")
		}
		renewed := h.ledger.State().Devices[light].Serial
		h.own(time.Hour)
		if d := h.ledger.State().Devices[light]; !bytes.Equal(d.Serial, renewed) {
			t.Error("it was renewed for nothing")
		}
		bad := burning()
		knows.Store(&bad)
		h.own(time.Minute)
		h.rights(light, false)
	})
}

// TestRenewEveryLoss loses each packet of a renewal in turn.
func TestRenewEveryLoss(t *testing.T) {
	for nth := 1; nth <= 60; nth++ {
		synctest.Test(t, func(t *testing.T) {
			h, _, light := quarantined(t)
			h.net.SetDrop(radiotest.DropNth(nth))
			h.own(5 * time.Minute)
			h.rights(light, true)
		})
	}
}

// TestRenewEveryCut cuts the network behind each packet, for a while; the
// gateway may crash meanwhile, and the home change its root.
func TestRenewEveryCut(t *testing.T) {
	inDoubt := 0
	for n := range 60 {
		for _, c := range []struct{ restarted, rerooted bool }{{}, {restarted: true}, {rerooted: true}} {
			synctest.Test(t, func(t *testing.T) {
				h, _, light := quarantined(t)
				h.net.SetDrop(radiotest.DropAfter(n))
				h.own(29 * time.Second)
				if d := h.ledger.State().Devices[light]; d.Next != nil && d.Next.Phase == fabric.Issued {
					inDoubt++
				}
				for _, noc := range h.device.NOCs() {
					if !h.knows(noc) {
						t.Errorf("cut behind packet %d: an unknown certificate", n)
					}
				}
				if c.rerooted {
					h.reroot()
				}
				h.net.SetDrop(nil)
				if c.restarted {
					h.startGateway()
				}
				h.own(40 * time.Minute)
				if t.Failed() {
					t.Fatalf("cut behind packet %d, %+v", n, c)
				}
				h.rights(light, true)
				if c.rerooted {
					h.arrived(light)
				}
			})
		}
	}
	if inDoubt < 6 {
		t.Errorf("but %d renewals were left in doubt", inDoubt)
	}
}

// TestRenewProposals lets each commit fail, without and with having taken
// effect.
func TestRenewProposals(t *testing.T) {
	lost := errors.New("the disk is on fire")
	for name, which := range map[string]func(fabric.Command) bool{
		"judge":   func(c fabric.Command) bool { return c.Judge != nil },
		"enforce": func(c fabric.Command) bool { return c.Enforce != nil },
		"reserve": func(c fabric.Command) bool { return c.ReserveMove != nil },
		"issue":   func(c fabric.Command) bool { return c.IssueMove != nil },
		"admit":   func(c fabric.Command) bool { return c.AdmitMove != nil },
		"abandon": func(c fabric.Command) bool { return c.AbandonMove != nil || c.IssueMove != nil },
	} {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, persisted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, _, light := quarantined(t)
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
					h.rights(light, true)
				})
			})
		}
	}
}

// TestRenewRefused: a light whose attestation is not good any more is released,
// and says why it has no other certificate.
func TestRenewRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, light := quarantined(t)
		for id := range h.ledger.State().Anchors {
			h.propose(fabric.Command{RemoveAnchor: &fabric.RemoveAnchor{ID: id}})
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		go h.k.Own(ctx, func() bool { return true })
		time.Sleep(5 * time.Minute)
		s, ok := h.k.Straggles(light)
		if d := h.ledger.State().Devices[light]; !ok || s.Failure.Step != "attestation" || d.Quarantined() || !d.Untagged || d.Next != nil {
			t.Errorf("%+v, %+v", s, d)
		}
		h.switches(light)
	})
}

// TestRenewRolledBack: a light that took its certificate and gave it up again,
// since nobody told it to keep it, is met with either key.
func TestRenewRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, light := quarantined(t)
		h.ledger.fail = func(c fabric.Command) (error, error) {
			if c.IssueMove != nil { // nobody hears the light from now on
				h.net.SetDrop(func(_, to radio.Addr, _ []byte) bool { return to != deviceAddr })
			}
			return nil, nil
		}
		h.own(time.Minute)
		h.ledger.fail = nil
		d := h.ledger.State().Devices[light]
		if d.Next == nil || d.Next.Phase != fabric.Issued || !h.ledger.State().Knows(light, cert.PublicKey(d.PublicKey), false) ||
			!h.ledger.State().Knows(light, cert.PublicKey(d.Next.Credential.PublicKey), false) {
			t.Fatalf("%+v", d)
		}
		time.Sleep(20 * time.Minute)
		h.net.SetDrop(nil)
		h.own(20 * time.Minute)
		h.rights(light, true)
	})
}

// TestRenewAbandoned: what a renewal began that did not come to the light ends
// with the doubt: a certificate that is late is not taken.
func TestRenewAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, light := quarantined(t)
		h.ledger.fail = func(c fabric.Command) (error, error) {
			if c.IssueMove != nil {
				h.net.SetDrop(func(_, to radio.Addr, _ []byte) bool { return to == deviceAddr })
			}
			return nil, nil
		}
		h.own(20 * time.Second)
		h.net.SetDrop(nil)
		h.ledger.fail = func(c fabric.Command) (error, error) {
			if c.AbandonMove != nil {
				h.net.SetDrop(func(_, to radio.Addr, _ []byte) bool { return to == deviceAddr })
			}
			return nil, nil
		}
		h.own(20 * time.Second)
		h.net.SetDrop(nil)
		if d := h.ledger.State().Devices[light]; d.Next != nil {
			t.Fatalf("%+v", d.Next)
		}
		s, err := h.c.Connect(t.Context(), light)
		h.check(err)
		err = h.c.Engine.InvokeCommand(t.Context(), s, 0, interaction.Command(0, datamodel.OperationalCredentials, datamodel.CSRRequestID), &datamodel.CSRRequest{UpdateNOC: true}, nil)
		if status, _ := interaction.StatusOf(err); status != interaction.FailsafeRequired {
			t.Errorf("the light's fail-safe: %v", err)
		}
	})
}

// TestRenewStuck: a light whose renewal cannot be recorded is judged all the
// same, and follows the home to another root.
func TestRenewStuck(t *testing.T) {
	for _, rerooted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, knows, light := quarantined(t)
			h.ledger.fail = func(c fabric.Command) (error, error) {
				if c.AdmitMove != nil {
					return errors.New("no quorum"), nil
				}
				return nil, nil
			}
			h.own(time.Minute)
			if d := h.ledger.State().Devices[light]; d.Next == nil || d.Next.Phase != fabric.Issued {
				t.Fatalf("%+v", d.Next)
			}
			if rerooted {
				h.reroot()
				h.ledger.fail = func(c fabric.Command) (error, error) {
					if c.AbandonMove != nil {
						t.Error("a certificate that the light has is forgotten")
					}
					return nil, nil
				}
				h.startGateway()
				h.own(20 * time.Minute)
				h.rights(light, true)
				h.arrived(light)
				return
			}
			bad := burning()
			knows.Store(&bad)
			h.own(time.Minute)
			if d := h.ledger.State().Devices[light]; !d.Quarantined() || !d.Standing.Enforced {
				t.Errorf("%+v", d.Standing)
			}
			h.ledger.fail = nil
			h.own(20 * time.Minute)
			h.rights(light, false)
		})
	}
}

// TestRenewLie: a light that says that it took its certificate, and did not, has
// the one of before in the trust state.
func TestRenewLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		knows, bad := new(changing), burning()
		knows.Store(&bad)
		h := (&home{discriminator: 0xABC, firmware: knows}).withNOCs().start(t, virtual.KeepNOC, 0)
		d, err := h.pair(t.Context())
		h.check(err)
		knows.Store(&known{})
		h.own(5 * time.Minute)
		now := h.ledger.State().Devices[d.Node]
		if s, ok := h.k.Straggles(d.Node); !ok || s.Failure.Step != "case" || !now.Untagged || now.Quarantined() || !bytes.Equal(now.Serial, d.Serial) {
			t.Errorf("%+v, %+v", s, now)
		}
		h.switches(d.Node)
	})
}
