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

	"gatehouse/cluster/steward"
	"gatehouse/commissioner"
	"gatehouse/commissioner/inherit/inherittest"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio/radiotest"
)

// inherited is the light's node id, from the controller of before.
const inherited = cert.NodeID(7)

// takenOver is a home on the fabric of another controller, which paired the
// light: with its key known from the storage or not, with the published IPK or
// one of its own.
func takenOver(t *testing.T, mode virtual.Mode, known, published bool) *home {
	h := &home{discriminator: 0xABC}
	h.start(t, mode, 0)
	f := inherittest.New(t, known) // the root signs itself, or an intermediate
	if !published {
		copy(f.IPK[:], "drawn for a home")
	}
	key, err := issuer.GenerateKey(rand.Reader)
	h.check(err)
	noc := f.Certify(t, uint64(inherited), key.PublicKey())
	h.check(h.device.Join(f.Root, datamodel.AddNOC{NOC: noc, ICAC: f.ICAC, IPK: f.IPK[:], AdminSubject: inherittest.Controller, AdminVendor: f.VendorID}, key))

	ipk := cert.EpochKey{}
	if !published {
		ipk = cert.NewEpochKey(f.IPK)
	}
	own, err := issuer.Inherit(rand.Reader, f.Root, f.RootKey, f.ID, ipk)
	h.check(err)
	self, cat, operational := cert.NodeID(0xA1), cert.NewCAT(1, 1), h.id.Key.(issuer.PrivateKey)
	root, err := cert.Parse(f.Root)
	h.check(err)
	birth := root.NotBefore.Time()
	gateway, err := issuer.Issue(own.ICAC, own.IssuerKey, issuer.Reservation{Node: self, Fabric: f.ID, Serial: []byte("G0000001"), CATs: []cert.CAT{cat}, PublicKey: operational.PublicKey(), NotBefore: birth})
	h.check(err)
	device := fabric.Inherited{Node: inherited, Name: "Desk inherited", Facts: fabric.Facts{VendorID: 0xFFF1, ProductID: 0x8001}}
	if public, sum := key.PublicKey(), sha256.Sum256(noc); known {
		device.Serial, device.NOCHash, device.PublicKey = []byte{1}, sum[:], public[:]
	}
	anchors, exceptions := h.ledger.state.Anchors, h.ledger.state.Exceptions
	h.ledger.state = &fabric.State{}
	h.propose(fabric.Command{Found: &fabric.Found{
		Home:       fabric.Home{Name: "home", FabricID: f.ID, Root: f.Root, Birth: birth.UnixMilli(), VendorID: f.VendorID, GatewayCAT: cat},
		Generation: fabric.Generation{Number: 1, ICAC: own.ICAC}, Gateway: fabric.Gateway{Node: self, NOC: gateway, Version: fabric.Version},
		Import: &fabric.Import{Controller: inherittest.Controller, Published: published}, Devices: []fabric.Inherited{device}}})
	for _, a := range anchors {
		h.propose(fabric.Command{AddAnchors: &fabric.AddAnchors{Anchors: []fabric.Anchor{*a}}})
	}
	for _, e := range exceptions {
		h.propose(fabric.Command{AddException: e})
	}
	h.vault = &vault{own.IssuerKey.Reveal(), own.IPK}
	authority, err := cert.NewRoot(root)
	h.check(err)
	h.id = &securechannel.Identity{Index: 1, Fabric: f.ID, Node: self, Root: authority, NOC: gateway, ICAC: own.ICAC, Key: operational,
		IPK: own.IPK.Operational(own.Compressed), Valid: cert.AnyTime, Knows: h.knowing(f.Root)}
	h.startGateway()
	return h
}

// accessList is the light's, as an administrator reads it.
func (h *home) accessList() (acl []datamodel.ACLEntry) {
	h.t.Helper()
	path := interaction.Attribute(0, datamodel.AccessControl, datamodel.AccessControlACL)
	r, err := h.k.Read(h.t.Context(), inherited, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}, FabricFiltered: true})
	h.check(err)
	h.check(r.Decode(path, &acl))
	return acl
}

// settled fails the test unless the light is on the home's own terms alone: key,
// certificate, access list and IPK.
func (h *home) settled() {
	h.t.Helper()
	s := h.ledger.State()
	d := s.Devices[inherited]
	if d.Terms != fabric.HomeTerms || d.Untagged || d.Next != nil || d.Access != 1 {
		h.t.Fatalf("terms %v, untagged %v, attempt %+v: %v", d.Terms, d.Untagged, d.Next, h.k.Kept(inherited))
	}
	nocs := h.device.NOCs()
	if hash := sha256.Sum256(nocs[0]); len(nocs) != 1 || !bytes.Equal(hash[:], d.NOCHash) {
		h.t.Fatal("the light has another certificate than the trust state says")
	}
	noc, err := cert.Parse(nocs[0])
	h.check(err)
	if !slices.Contains(noc.Subject.CATs(), s.Zones[d.Zone].CAT) || !bytes.Equal(noc.Serial, d.Serial) {
		h.t.Fatalf("its certificate is %+v", noc)
	}
	for _, e := range h.accessList() {
		if slices.Contains(e.Subjects.Value, uint64(inherittest.Controller)) {
			h.t.Fatalf("the controller of before has rights still: %+v", e)
		}
	}
	if ipks := h.device.IPKs(); len(ipks) != 1 || ipks[0].Reveal() != h.vault.ipk.Reveal() {
		h.t.Fatalf("it goes by %d keys, or another than the home's", len(ipks))
	}
	h.switches(inherited)
}

func TestAdopt(t *testing.T) {
	for _, known := range []bool{true, false} {
		for _, published := range []bool{true, false} {
			t.Run(fmt.Sprintf("key known %v, IPK published %v", known, published), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := takenOver(t, "", known, published)
					h.switches(inherited) // at once, as the controller of before did
					if d := h.ledger.State().Devices[inherited]; d.Terms != fabric.ForeignTerms {
						t.Error(d.Terms)
					}
					stand := func(key cert.PublicKey) error {
						_, _, err := h.c.Authority.Issue(t.Context(), inherittest.Controller, key)
						return err
					}
					own := h.id.Key.(issuer.PrivateKey).PublicKey()
					if err := stand(own); err != nil {
						t.Error(err)
					}
					if err := stand(cert.PublicKey{4}); !errors.Is(err, steward.ErrNotReserved) {
						t.Errorf("a key that is no member's: %v", err)
					}
					h.own(2 * time.Minute)
					h.settled()
					if err := stand(own); !errors.Is(err, steward.ErrNotReserved) {
						t.Errorf("with nobody left to be met by it: %v", err)
					}
				})
			})
		}
	}
}

// TestAdoptEveryLoss loses each packet in turn.
func TestAdoptEveryLoss(t *testing.T) {
	for nth := 1; nth <= 120; nth++ {
		synctest.Test(t, func(t *testing.T) {
			h := takenOver(t, "", nth%2 == 0, true)
			h.net.SetDrop(radiotest.DropNth(nth))
			h.own(10 * time.Minute)
			h.settled()
		})
	}
}

// TestAdoptEveryCut cuts the network behind each packet, for a while; the
// gateway may crash meanwhile. The light is never out of reach for good.
func TestAdoptEveryCut(t *testing.T) {
	seen := map[fabric.Terms]int{}
	for n := range 120 {
		for _, restarted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := takenOver(t, "", true, true)
				h.net.SetDrop(radiotest.DropAfter(n))
				h.own(time.Minute)
				seen[h.ledger.State().Devices[inherited].Terms]++
				h.net.SetDrop(nil)
				if restarted {
					h.startGateway()
				}
				time.Sleep(15 * time.Minute) // of a fail-safe
				h.own(15 * time.Minute)
				h.settled()
			})
		}
	}
	t.Log(seen)
	for _, terms := range []fabric.Terms{fabric.ForeignTerms, fabric.SharedTerms, fabric.PublishedTerms, fabric.RotatingTerms, fabric.HomeTerms} {
		if seen[terms] == 0 {
			t.Errorf("no cut left it on %v terms", terms)
		}
	}
}

// TestAdoptEveryCommit has each commit of the way fail, before it took effect
// and after, with a crash behind it.
func TestAdoptEveryCommit(t *testing.T) {
	for nth := range 4 {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := takenOver(t, "", false, true)
				count, lost := 0, errors.New("the disk is gone")
				h.ledger.fail = func(c fabric.Command) (before, after error) {
					if c.Adopt == nil {
						return nil, nil
					}
					if count++; count != nth+1 {
						return nil, nil
					}
					if late {
						return nil, lost
					}
					return lost, nil
				}
				h.own(10 * time.Second)
				if count < nth+1 {
					t.Fatalf("commit %d was never tried", nth)
				}
				h.startGateway()
				h.own(10 * time.Minute)
				h.settled()
			})
		}
	}
}

// TestAdoptKeepsIPK has a light that does not take the home's key: it works,
// and says so.
func TestAdoptKeepsIPK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := takenOver(t, virtual.KeepIPK, true, true)
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		done := make(chan struct{})
		go func() {
			h.k.Own(ctx, func() bool { return true })
			close(done)
		}()
		time.Sleep(5 * time.Minute)
		if d := h.ledger.State().Devices[inherited]; d.Terms != fabric.PublishedTerms || d.Untagged || len(h.accessList()) != 2 {
			t.Errorf("%v, untagged %v", d.Terms, d.Untagged)
		}
		if f := h.k.Kept(inherited); f == nil || f.Code != commissioner.CodeIPKKept {
			t.Errorf("%+v", f)
		}
		h.switches(inherited)
		stop()
		<-done
		h.startGateway()
		h.own(time.Minute)
		h.switches(inherited)
	})
}

// TestAdoptForgetful has a light that says it wrote its list, and did not: it
// stays as it was, in reach.
func TestAdoptForgetful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := takenOver(t, virtual.ForgetACL, true, true)
		h.own(5 * time.Minute)
		if d := h.ledger.State().Devices[inherited]; d.Terms != fabric.ForeignTerms {
			t.Errorf("%v", d.Terms)
		}
		h.switches(inherited)
	})
}

// TestAdoptStranger has somebody with the root's key answer in the light's
// place: the key that the storage has is not his.
func TestAdoptStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := takenOver(t, "", true, true)
		s := *h.ledger.State().Devices[inherited]
		s.PublicKey = slices.Clone(s.PublicKey)
		s.PublicKey[5] ^= 1
		h.ledger.state.Devices[inherited] = &s
		h.own(time.Minute)
		if d := h.ledger.State().Devices[inherited]; d.Terms != fabric.ForeignTerms {
			t.Errorf("%v", d.Terms)
		}
		if _, err := h.c.Connect(t.Context(), inherited); err == nil {
			t.Error("a node with another key was believed")
		}
	})
}
