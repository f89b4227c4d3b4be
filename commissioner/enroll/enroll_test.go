package enroll

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

// bubble runs a test with a place of its own.
func bubble(t *testing.T, f func(*testing.T, *place)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(27 * 365 * 24 * time.Hour) // a bubble begins in 2000, before any certificate
		f(t, newPlace(t))
	})
}

// TestAdmit is the whole ceremony over a bad network, with what found.Join
// leaves on the box's disk.
func TestAdmit(t *testing.T) {
	for _, manual := range []bool{false, true} {
		t.Run(fmt.Sprintf("manual=%v", manual), func(t *testing.T) {
			dir := t.TempDir()
			bubble(t, func(t *testing.T, p *place) {
				p.net.SetConditions(radiotest.Conditions{Loss: 0.2, Duplicate: 0.2, Reorder: 0.2, Latency: 2 * time.Millisecond, Jitter: 20 * time.Millisecond})
				s, g := newSteward(p), newGateway(p)
				p.check(keyfile.Create(dir, g.keys, rand.Reader, nil))
				g.accept = func(_ context.Context, m found.Membership) error {
					return found.Join(found.Config{Dir: dir, TPM: keyfile.NoTPM, Random: rand.Reader}, m)
				}
				code := g.start()
				if manual {
					code = p.manual(code)
				}
				var told []string
				node, err := s.member(memberAddr).Admit(t.Context(), code, func(p Progress) {
					if p.State == StepDone {
						told = append(told, p.Name)
					}
					if p.Of != len(steps) || p.Step < 1 || p.Step > p.Of {
						t.Errorf("%+v", p)
					}
				})
				p.check(err)
				m := g.joinedBy(lingerTime)
				kept, err := found.ReadMembership(dir)
				p.check(err)
				if diff := cmp.Diff(*kept, m, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
					t.Errorf("kept and joined differ: %s", diff)
				}
				if m.Peers[0].Node != 0xA1 || m.Peers[0].Addrs[0] != memberAddr.IP || m.Peers[0].Addrs[1] != s.peers[0].Addrs[1] {
					t.Errorf("peers %v", m.Peers)
				}
				row := s.state.Gateways[node]
				if node != g.keys.Node || !row.Member() || row.Name != "attic" || row.Version != fabric.Version || row.Storage != "file" ||
					!bytes.Equal(row.SealKey, g.keys.Sealing[0].Public()) || !bytes.Equal(row.NOC, m.NOC) {
					t.Errorf("committed %+v", row)
				}
				if !slices.Equal(told, Steps()) || len(g.accepted) != 1 {
					t.Errorf("steps %v, accepted %d times", told, len(g.accepted))
				}
			})
		})
	}
}

// TestQuiet looks for the code in what was logged and what prints.
func TestQuiet(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		code := g.start()
		m := s.member(memberAddr)
		s.before = func(context.Context, *fabric.ReserveGateway) error { return errors.New("no quorum") }
		_, err := m.admit(t, code)
		p.fails(err, CodeEnroll, "enroll")
		s.before = nil
		_, err = m.admit(t, code)
		p.check(err)
		g.joinedBy(lingerTime)
		qr, _ := code.QR()
		manual, _ := code.Manual()
		shown := fmt.Sprintf("%v %+v %#v %s", SetupCode{QR: qr}, SetupCode{QR: qr}, SetupCode{QR: qr}, &SetupCode{QR: qr})
		p.logger().Info("shown", "code", SetupCode{QR: qr})
		for _, secret := range []string{qr, manual, fmt.Sprint(code.Passcode.Reveal())} {
			if strings.Contains(p.log.String()+shown, secret) {
				t.Errorf("%s was logged or printed", secret)
			}
		}
	})
}

// TestAnswerLost cuts the network while the box accepts.
func TestAnswerLost(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		g.accept = func(context.Context, found.Membership) error {
			p.net.SetDrop(func(from, to radio.Addr, b []byte) bool { return true })
			time.AfterFunc(30*time.Second, func() { p.net.SetDrop(nil) })
			return nil
		}
		_, err := s.member(memberAddr).admit(t, g.start())
		p.check(err)
		g.joinedBy(2 * lastAnswer)
		if len(g.accepted) != 1 || s.enrolls != 1 {
			t.Errorf("accepted %d times, enrolled %d times", len(g.accepted), s.enrolls)
		}
	})
}

// TestCutOff cuts the network for longer than a member has patience. What was
// committed is used when the code is given again.
func TestCutOff(t *testing.T) {
	for _, c := range []struct {
		what    string
		accepts bool // the box, before it is cut off
	}{{"before the membership came", false}, {"before the answer went", true}} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *place) {
				s, g := newSteward(p), newGateway(p)
				cut := func() {
					p.net.SetDrop(func(radio.Addr, radio.Addr, []byte) bool { return true })
				}
				g.accept = func(context.Context, found.Membership) error { cut(); return nil }
				if !c.accepts {
					s.before = func(context.Context, *fabric.ReserveGateway) error { cut(); return nil }
				}
				code, m := g.start(), s.member(memberAddr)
				_, err := m.admit(t, code)
				if f := p.fails(err, CodeUnconfirmed, "join"); f.Node != g.keys.Node || f.Remedy != committedRemedy {
					t.Errorf("%+v", f)
				}
				if c.accepts { // it stopped waiting for anybody to ask
					if m := g.joinedBy(lingerTime); !bytes.Equal(m.NOC, s.state.Gateways[g.keys.Node].NOC) {
						t.Error("it joined by another certificate")
					}
					return
				}
				p.net.SetDrop(nil)
				s.before, g.accept = nil, nil
				noc := s.state.Gateways[g.keys.Node].NOC
				_, err = m.admit(t, code)
				p.check(err)
				if joined := g.joinedBy(2 * lastAnswer); !bytes.Equal(joined.NOC, noc) || len(s.state.Members()) != 2 {
					t.Error("the home committed another certificate")
				}
			})
		})
	}
}

// TestBoxDies kills the box while the home commits, and starts it again.
func TestBoxDies(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		s.before = func(context.Context, *fabric.ReserveGateway) error {
			g.stop()
			if e := <-g.ended; !errors.Is(e.err, context.Canceled) {
				t.Errorf("it ended with %v", e.err)
			}
			return nil
		}
		m, code := s.member(memberAddr), g.start()
		_, err := m.admit(t, code)
		if f := p.fails(err, CodeUnconfirmed, "join"); f.Node != g.keys.Node {
			t.Errorf("%+v", f)
		}
		noc := s.state.Gateways[g.keys.Node].NOC
		s.before = nil
		code = g.start()
		_, err = m.admit(t, code)
		p.check(err)
		if joined := g.joinedBy(2 * lastAnswer); !bytes.Equal(joined.NOC, noc) {
			t.Error("the home committed another certificate")
		}
	})
}

// TestMemberDies leaves the box half-way: another takes its place, once the
// first was silent for long enough.
func TestMemberDies(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		first, second := s.member(memberAddr), s.member(secondAddr)
		ctx, die := context.WithCancel(t.Context())
		s.before = func(context.Context, *fabric.ReserveGateway) error {
			p.net.SetDrop(func(from, to radio.Addr, _ []byte) bool { return from == memberAddr || to == memberAddr })
			die()
			return context.Canceled
		}
		code := g.start()
		_, err := first.Admit(ctx, code, func(Progress) {})
		if f := p.fails(err, CodeCancelled, "enroll"); f.Node != 0 {
			t.Errorf("%+v", f)
		}
		s.before = nil
		_, err = second.admit(t, code)
		p.fails(err, CodeBusy, "describe")
		time.Sleep(holdTime)
		_, err = second.admit(t, code)
		p.check(err)
		g.joinedBy(2 * lastAnswer)
	})
}

// TestTwoMembers has the second ask while the first is at it.
func TestTwoMembers(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		first, second := s.member(memberAddr), s.member(secondAddr)
		code := g.start()
		s.before = func(context.Context, *fabric.ReserveGateway) error {
			_, err := second.admit(t, code)
			p.fails(err, CodeBusy, "describe")
			return nil
		}
		_, err := first.admit(t, code)
		p.check(err)
		g.joinedBy(2 * lastAnswer)
		if s.enrolls != 1 {
			t.Errorf("enrolled %d times", s.enrolls)
		}
	})
}

// TestSlowDisk has the box accept for longer than its member waits for it.
func TestSlowDisk(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		first, second := s.member(memberAddr), s.member(secondAddr)
		code := g.start()
		g.accept = func(context.Context, found.Membership) error {
			time.Sleep(2 * joinWork)
			_, err := second.admit(t, code)
			p.fails(err, CodeBusy, "describe")
			return nil
		}
		_, err := first.admit(t, code)
		p.check(err)
		g.joinedBy(2 * lastAnswer)
		if len(g.accepted) != 1 {
			t.Errorf("accepted %d times", len(g.accepted))
		}
	})
}

// TestOtherHome asks a box that has joined: its own home is told yes again,
// another home no, before that home commits anything.
func TestOtherHome(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, other, g := newSteward(p), newSteward(p), newGateway(p)
		ours, theirs := s.member(memberAddr), other.member(secondAddr)
		code := g.start()
		s.before = func(context.Context, *fabric.ReserveGateway) error {
			time.AfterFunc(time.Second, func() { // the box never hears that it was heard
				p.net.SetDrop(func(from, _ radio.Addr, _ []byte) bool { return from == memberAddr })
			})
			return nil
		}
		g.accept = func(context.Context, found.Membership) error { time.Sleep(2 * time.Second); return nil }
		_, err := ours.admit(t, code)
		p.check(err)
		time.Sleep(holdTime)
		_, err = theirs.admit(t, code)
		p.fails(err, CodeElsewhere, "describe")
		if other.enrolls != 0 {
			t.Error("the other home committed something")
		}
		theirs.Root = func() []byte { return s.state.Home.Root } // it does not look
		_, err = theirs.admit(t, code)
		p.fails(err, CodeElsewhere, "join")

		p.net.SetDrop(nil)
		s.before = nil
		time.Sleep(holdTime)
		s.peers = nil // peers come and go
		_, err = ours.admit(t, code)
		p.check(err)
		if m := g.joinedBy(2 * lastAnswer); len(g.accepted) != 1 || !bytes.Equal(m.Root, s.state.Home.Root) {
			t.Errorf("accepted %d times", len(g.accepted))
		}
	})
}

// TestMemberships are what the box must not take, and what it may be given
// again after.
func TestMemberships(t *testing.T) {
	for what, c := range map[string]struct {
		spoil  func(p *place, s *steward, m *found.Membership)
		accept func() error
		code   Code
	}{
		"for another key": {func(p *place, s *steward, m *found.Membership) {
			keys, err := keyfile.New(0xB0, keyfile.Options{TPM: keyfile.NoTPM}, rand.Reader)
			p.check(err)
			key := keys.Operational.PublicKey()
			m.NOC = s.issue(0xB0, key[:])
		}, nil, CodeRefused},
		"for another node": {func(_ *place, s *steward, m *found.Membership) {
			g := s.state.Gateways[0xB0]
			m.NOC = s.issue(0xB1, g.PublicKey)
		}, nil, CodeRefused},
		"of another root":   {func(p *place, s *steward, m *found.Membership) { m.Root = newSteward(p).state.Home.Root }, nil, CodeRefused},
		"without an issuer": {func(_ *place, _ *steward, m *found.Membership) { m.ICAC = nil }, nil, CodeRefused},
		"empty":             {func(_ *place, _ *steward, m *found.Membership) { *m = found.Membership{} }, nil, CodeRefused},
		"onto a full disk":  {nil, func() error { return errors.New("no space left on device") }, CodeRefused},
		"onto another":      {nil, func() error { return found.ErrFounded }, CodeElsewhere},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *place) {
				s, g := newSteward(p), newGateway(p)
				s.spoil = func(m *found.Membership) {
					if c.spoil != nil {
						c.spoil(p, s, m)
					}
				}
				g.accept = func(context.Context, found.Membership) error {
					if c.accept == nil {
						t.Error("the box accepts it")
						return nil
					}
					return c.accept()
				}
				code, m := g.start(), s.member(memberAddr)
				_, err := m.admit(t, code)
				f := p.fails(err, c.code, "join")
				if f.Node != g.keys.Node || f.Remedy != committedRemedy || c.accept != nil && c.code == CodeRefused && !strings.Contains(f.Message, "no space left") {
					t.Errorf("%+v", f)
				}
				s.spoil, g.accept = nil, nil
				_, err = m.admit(t, code)
				p.check(err)
				g.joinedBy(2 * lastAnswer)
			})
		})
	}
}

// TestWrongPasscode tries until the box draws another code.
func TestWrongPasscode(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		m, code := s.member(memberAddr), g.start()
		wrong := code
		wrong.Passcode = setup.NewPasscode(code.Passcode.Reveal()%99999998 + 1)
		for !wrong.Passcode.Valid() {
			wrong.Passcode = setup.NewPasscode(wrong.Passcode.Reveal() + 1)
		}
		for range maxAttempts - 1 {
			_, err := m.admit(t, wrong)
			p.fails(err, CodePasscode, "pase")
		}
		// The right one begins the count anew.
		s.before = func(context.Context, *fabric.ReserveGateway) error { return errors.New("not now") }
		_, err := m.admit(t, code)
		p.fails(err, CodeEnroll, "enroll")
		s.before = nil
		for range maxAttempts {
			if len(g.codes) > 0 {
				t.Fatal("another code too early")
			}
			_, err := m.admit(t, wrong)
			p.fails(err, CodePasscode, "pase")
		}
		began := time.Now()
		renewed := g.code(true)
		if wait := time.Since(began); wait < renewPause/2 || wait > 2*renewPause {
			t.Errorf("another code after %v", wait)
		}
		if renewed.Passcode.Reveal() == code.Passcode.Reveal() {
			t.Error("the passcode is the same")
		}
		old := renewed // whoever knows the old passcode alone
		old.Passcode = code.Passcode
		_, err = m.admit(t, old)
		p.fails(err, CodePasscode, "pase")
		_, err = m.admit(t, renewed)
		p.check(err)
		g.joinedBy(2 * lastAnswer)
	})
}

// TestGuesses counts attempts that end before the box knows that they failed.
func TestGuesses(t *testing.T) {
	b := &box{spent: make(chan struct{}, 1), window: new(securechannel.Window)}
	for range maxAttempts {
		if b.attempt() == nil {
			t.Fatal("too few attempts")
		}
	}
	if b.attempt() != nil {
		t.Error("one attempt too many, at the same time as the others")
	}
	for range maxAttempts {
		b.attempted(nil, errors.New("gone"))
	}
	if len(b.spent) != 1 {
		t.Error("the code is not renewed once")
	}
}

// TestDevice gives a light's code to a member: it is told what it is.
func TestDevice(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s := newSteward(p)
		m := s.member(memberAddr)
		code := setup.Payload{VendorID: VendorID, ProductID: 0x8001, Discriminator: setup.Long(0xABC), Passcode: setup.NewPasscode(20202021)}
		light, err := virtual.New(virtual.Config{Name: "Lamp", Code: code, SerialNumber: "V1", Software: 1, SoftwareText: "1.0", Maker: attesttest.New("the tests' own"),
			Link: p.net.Link(boxAddr), Port: 5540, Now: time.Now, Random: rand.Reader})
		p.check(err)
		p.check(light.Start())
		defer light.Close()
		ad := radio.Advertisement{Kind: radio.Commissionable, Instance: "light", Addrs: []radio.Addr{boxAddr}, Discriminator: 0xABC, HasDiscriminator: true,
			Vendor: VendorID, Product: 0x8001, Mode: radio.BasicCommissioning}
		_, err = m.admit(t, code) // its QR code says what it is
		p.fails(err, CodeNotGateway, "find")
		withdraw := p.announce(ad)
		began := time.Now()
		_, err = m.admit(t, p.manual(code)) // so does its advertisement
		p.fails(err, CodeNotGateway, "find")
		if wait := time.Since(began); wait > devicePatience {
			t.Errorf("said after %v", wait)
		}
		withdraw()
		_, err = m.admit(t, p.manual(code))
		p.fails(err, CodeNotFound, "find")
		ad.Product = ProductID // that lies
		p.announce(ad)
		_, err = m.admit(t, p.manual(code))
		p.fails(err, CodeNotGateway, "describe")
	})
}

// TestSeveral finds the box among others that a short discriminator fits.
func TestSeveral(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g, other := newSteward(p), newGateway(p), newGateway(p)
		m, code := s.member(memberAddr), g.start()
		d, _ := code.Discriminator.Full()
		silent := radio.Advertisement{Kind: radio.Commissionable, Instance: "silent", Addrs: []radio.Addr{addr("[fd00::dead]:2")}, Discriminator: d ^ 1, HasDiscriminator: true,
			Vendor: VendorID, Product: ProductID, Mode: radio.BasicCommissioning}
		device := silent
		device.Instance, device.Product = "device", 0x8001
		p.ads = append([]radio.Advertisement{device, silent}, p.ads...)
		other.keys.Node = 0xB1
		c := &Candidate{Name: "other", Keys: other.keys, Offer: func(SetupCode) {}, Link: p.net.Link(secondAddr), Now: time.Now, Random: rand.Reader, Log: p.logger()}
		ctx, stop := context.WithCancel(t.Context())
		go c.Run(ctx)
		wrong := silent
		wrong.Instance, wrong.Addrs = "wrong", []radio.Addr{secondAddr}
		p.ads = append([]radio.Advertisement{wrong}, p.ads...)
		node, err := m.admit(t, p.manual(code))
		p.check(err)
		if node != g.keys.Node {
			t.Errorf("admitted %v", node)
		}
		g.joinedBy(2 * lastAnswer)
		stop()
	})
}

// TestAsDevice reads from a box what a pairing reads first from a device.
func TestAsDevice(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		m, code := s.member(memberAddr), g.start()
		session, err := securechannel.PASE(t.Context(), m.Manager, securechannel.Peer{Link: m.Link, Addr: boxAddr}, code.Passcode.Reveal())
		p.check(err)
		report, err := m.Engine.Read(t.Context(), session, interaction.ReadRequest{Attributes: []interaction.AttributePath{
			interaction.Cluster(0, datamodel.BasicInformation), interaction.Cluster(0, datamodel.GeneralCommissioning),
			interaction.Attribute(0, datamodel.OperationalCredentials, datamodel.CredentialsSupported)}})
		p.check(err)
		var vendor, product uint16
		var name string
		p.check(report.Decode(interaction.Attribute(0, datamodel.BasicInformation, datamodel.BasicVendorID), &vendor))
		p.check(report.Decode(interaction.Attribute(0, datamodel.BasicInformation, datamodel.BasicProductID), &product))
		p.check(report.Decode(interaction.Attribute(0, datamodel.BasicInformation, datamodel.BasicProductName), &name))
		if vendor != VendorID || product != ProductID || name != ProductName {
			t.Errorf("%04X %04X %q", vendor, product, name)
		}
		err = report.Decode(interaction.Attribute(0, datamodel.OperationalCredentials, datamodel.CredentialsSupported), &vendor)
		if status, _ := interaction.StatusOf(err); status != interaction.UnsupportedCluster {
			t.Errorf("credentials: %v", err)
		}
		securechannel.Close(m.Manager, session)
		time.Sleep(time.Second)
		_, err = m.admit(t, code)
		p.check(err)
		g.joinedBy(2 * lastAnswer)
	})
}

// TestOldRelease is refused by the trust state, in its own words.
func TestOldRelease(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		s.before = func(_ context.Context, c *fabric.ReserveGateway) error { c.Version = 1; return nil }
		_, err := s.member(memberAddr).admit(t, g.start())
		if f := p.fails(err, Code(fabric.CodeOldMember), "enroll"); f.Node != 0 {
			t.Errorf("%+v", f)
		}
	})
}
