package commissioner_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

var onOff = interaction.Attribute(1, datamodel.OnOff, datamodel.OnOffState)

func TestPairControlShareRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		var told []string
		d, s, err := h.c.Pair(t.Context(), commissioner.PairRequest{Code: h.code, Name: "hall"}, func(p commissioner.Progress) {
			if p.State == commissioner.StepDone {
				told = append(told, p.Name)
			}
			if p.Of != len(commissioner.Steps()) {
				t.Errorf("step of %d", p.Of)
			}
		})
		h.check(err)
		h.k.Adopt(s)
		if fmt.Sprint(told) != fmt.Sprint(commissioner.Steps()) {
			t.Errorf("told of %v", told)
		}
		if d.Name != "hall" || d.Facts.ProductName != "Lamp" || d.Phase != fabric.Admitted {
			t.Errorf("%+v", d)
		}
		reports := make(chan bool, 10)
		ctx, stop := context.WithCancel(t.Context())
		go h.k.Subscribe(ctx, d.Node, interaction.SubscribeRequest{MaxInterval: 30, Attributes: []interaction.AttributePath{onOff}}, func(r *interaction.Report) {
			var on bool
			r.Decode(onOff, &on)
			reports <- on
		})
		if on := <-reports; on {
			t.Error("the light is on")
		}
		result, err := h.k.Invoke(t.Context(), d.Node, 0, interaction.Invocation{Path: interaction.Command(1, datamodel.OnOff, datamodel.OnOffOn)})
		if err != nil || result.Err != nil || !h.device.On() {
			t.Fatalf("%+v, %v", result, err)
		}
		if on := <-reports; !on {
			t.Error("reported off")
		}
		stop()
		share, err := h.k.OpenWindow(t.Context(), d.Node, 3*time.Minute)
		h.check(err)
		if codes, err := setup.Parse(share.QR); err != nil || codes[0].VendorID != 0xFFF1 {
			t.Error(share.QR, err)
		}
		if _, err := h.k.OpenWindow(t.Context(), d.Node, 3*time.Minute); code(err) != commissioner.CodeWindowOpen {
			t.Errorf("a second window: %v", err)
		}
		h.check(h.k.CloseWindow(t.Context(), d.Node))
		if err := h.k.CloseWindow(t.Context(), d.Node); code(err) != commissioner.CodeWindowNotOpen {
			t.Errorf("closed twice: %v", err)
		}
		h.check(h.k.Remove(t.Context(), d.Node, false))
		synctest.Wait()
		if a, q := h.phases(); a+q != 0 || h.device.Fabrics() != 0 {
			t.Errorf("%d and %d devices, %d fabrics are left", a, q, h.device.Fabrics())
		}
		if _, err := h.pair(t.Context()); err != nil {
			t.Errorf("pairing it again: %v", err)
		}
	})
}

func code(err error) commissioner.Code {
	var f *commissioner.Failure
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

// TestEveryLoss loses each packet of a pairing in turn.
func TestEveryLoss(t *testing.T) {
	for nth := 1; nth <= 70; nth++ {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t, "")
			h.net.SetDrop(radiotest.DropNth(nth))
			if _, err := h.pair(t.Context()); err != nil {
				t.Fatalf("packet %d lost: %v", nth, err)
			}
		})
	}
}

// TestEveryCut cuts the network for good behind each packet, for a while: the
// failure has a code, remedy and step, the doubt is settled, nothing is left
// behind on either side, and the next pairing works.
func TestEveryCut(t *testing.T) {
	for n := range 60 {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t, "")
			h.net.SetDrop(radiotest.DropAfter(n))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := h.pair(ctx)
			var f *commissioner.Failure
			if err != nil && (!errors.As(err, &f) || f.Code == "" || f.Step == "" || f.Remedy == "") {
				t.Fatalf("cut behind packet %d: %#v", n, err)
			}
			h.net.SetDrop(nil)
			h.settleAndPair(ctx)
		})
	}
}

// settleAndPair waits for all doubts to be settled, holds the invariants, and
// pairs the device, again if it belongs.
func (h *home) settleAndPair(ctx context.Context) {
	h.t.Helper()
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { h.c.Settle(ctx); close(done) }()
	time.Sleep(20 * time.Minute)
	stop()
	<-done
	admitted, doubtful := h.phases()
	if doubtful != 0 || admitted > 1 || admitted != h.device.Fabrics() {
		h.t.Fatalf("%d admitted, %d in doubt, %d fabrics on the device", admitted, doubtful, h.device.Fabrics())
	}
	if admitted == 1 {
		for n := range h.ledger.State().Devices {
			h.check(h.k.Remove(h.t.Context(), n, false))
		}
		time.Sleep(time.Minute)
	}
	if _, err := h.pair(h.t.Context()); err != nil {
		h.t.Fatalf("the next pairing: %v", err)
	}
	if a, q := h.phases(); a != 1 || q != 0 {
		h.t.Fatalf("%d admitted, %d in doubt", a, q)
	}
}

// behind knows an older State than it writes to, as a gateway may that was away.
type behind struct {
	*ledger
	known *fabric.State
}

func (b behind) State() *fabric.State { return b.known }

// TestSettleBehind has a gateway take a pairing for one that has no certificate
// yet, which it has.
func TestSettleBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		h.propose(fabric.Command{Reserve: &fabric.Reserve{Node: 7, Gateway: h.id.Node, FailSafe: 60_000}})
		known := h.ledger.State()
		h.propose(fabric.Command{Issue: &fabric.Issue{Node: 7, NOCHash: make([]byte, 32), PublicKey: make([]byte, 65), Gateway: h.id.Node}})
		h.c.Ledger = behind{h.ledger, known}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		h.c.Settle(ctx)
		if d := h.ledger.State().Devices[7]; d == nil || d.Phase != fabric.Issued {
			t.Errorf("it was given up: %+v", d)
		}
	})
}

// TestCrashAtEveryStep stops the gateway dead behind each step and starts it
// anew. A device that has its certificate is admitted while its fail-safe runs.
func TestCrashAtEveryStep(t *testing.T) {
	hasCertificate := slices.Index(commissioner.Steps(), "add-noc")
	for step := range commissioner.Steps() {
		for _, when := range []string{commissioner.StepStarted, commissioner.StepDone} {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t, "")
				ctx, crash := context.WithCancel(t.Context())
				h.c.Pair(ctx, commissioner.PairRequest{Code: h.code}, func(p commissioner.Progress) {
					if p.Step == step+1 && p.State == when {
						h.net.SetDrop(radiotest.DropAfter(0))
						h.ledger.fail = func(fabric.Command) (error, error) { return errors.New("crashed"), nil }
						crash()
					}
				})
				h.net.SetDrop(nil)
				h.ledger.fail = nil
				h.startGateway()
				ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
				h.c.Settle(ctx)
				stop()
				if a, _ := h.phases(); (step > hasCertificate || step == hasCertificate && when == commissioner.StepDone) && a != 1 {
					t.Errorf("step %d %s: not admitted", step+1, when)
				}
				h.settleAndPair(t.Context())
			})
		}
	}
}

var admitAny = fabric.Command{Admit: &fabric.Admit{}}

// TestProposals lets each commit fail, without and with having taken effect.
func TestProposals(t *testing.T) {
	lost := errors.New("the disk is on fire")
	for _, which := range []func(fabric.Command) bool{
		func(c fabric.Command) bool { return c.Reserve != nil },
		func(c fabric.Command) bool { return c.Issue != nil },
		func(c fabric.Command) bool { return c.Admit != nil },
	} {
		for _, persisted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t, "")
				h.ledger.fail = func(c fabric.Command) (error, error) {
					if !which(c) {
						return nil, nil
					}
					h.ledger.fail = nil
					if persisted {
						return nil, lost
					}
					return lost, nil
				}
				if _, err := h.pair(t.Context()); code(err) != commissioner.CodeCommit {
					t.Fatalf("got %v", err)
				}
				if a, q := h.phases(); which(admitAny) && a+q != 1 {
					t.Errorf("a device that was told to keep its certificate was given up: %d and %d", a, q)
				}
				h.settleAndPair(t.Context())
			})
		}
	}
}

// TestNextAttemptAtOnce fails at each step that the gateway can fail at while
// the device is well: the device is let go, so that the next attempt works
// without waiting for its fail-safe.
func TestNextAttemptAtOnce(t *testing.T) {
	for name, step := range map[string]func(fabric.Command) bool{
		"reserve": func(c fabric.Command) bool { return c.Reserve != nil },
		"issue":   func(c fabric.Command) bool { return c.Issue != nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t, "")
				h.ledger.fail = func(c fabric.Command) (error, error) {
					if step(c) {
						return errors.New("no quorum"), nil
					}
					return nil, nil
				}
				if _, err := h.pair(t.Context()); code(err) != commissioner.CodeCommit {
					t.Fatal(err)
				}
				h.ledger.fail = nil
				synctest.Wait()
				if _, err := h.pair(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestHostileDevices(t *testing.T) {
	for mode, want := range map[virtual.Mode]commissioner.Code{
		virtual.Stall:         commissioner.CodeUnreachable,
		virtual.WrongNonce:    "elements-nonce",
		virtual.WrongCSRNonce: commissioner.CodeCSR,
		virtual.BadChain:      "paa-unknown",
		virtual.EndlessChunks: commissioner.CodeProtocol,
		virtual.OversizeList:  commissioner.CodeProtocol,
		virtual.ForgetACL:     commissioner.CodeACL,
		virtual.Vanish:        commissioner.CodeUnreachable,
	} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t, mode)
				if _, err := h.pair(t.Context()); code(err) != want {
					t.Errorf("got %q (%v), want %q", code(err), err, want)
				}
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
				defer stop()
				h.c.Settle(ctx)
				if a, q := h.phases(); a+q != 0 {
					t.Errorf("%d admitted, %d in doubt", a, q)
				}
			})
		})
	}
}

func TestLossyDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, virtual.LostPackets)
		for range 5 { // a fifth of all packets in both directions is much
			if _, err := h.pair(t.Context()); err == nil {
				return
			}
			time.Sleep(20 * time.Minute)
		}
		t.Error("not paired in five attempts")
	})
}

func TestWrongPasscode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		right := h.code
		h.code.Passcode = setup.NewPasscode(12345679)
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodePasscode {
			t.Errorf("got %v", err)
		}
		h.code = right
		if _, err := h.pair(t.Context()); err != nil {
			t.Errorf("the right one: %v", err)
		}
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeWindowClosed {
			t.Errorf("a device that belongs: %v", err)
		}
	})
}

// TestSendAway lets a device that was out of reach when it was removed show up
// again.
func TestSendAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		d, err := h.pair(t.Context())
		h.check(err)
		h.net.SetDrop(radiotest.DropAfter(0))
		if err := h.k.Remove(t.Context(), d.Node, false); code(err) != commissioner.CodeUnreachable {
			t.Errorf("removing it without force: %v", err)
		}
		h.check(h.k.Remove(t.Context(), d.Node, true))
		h.net.SetDrop(nil)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go h.c.SendAway(ctx)
		fabricID := h.c.CompressedFabric()
		for _, ad := range []radio.Advertisement{{CompressedFabric: fabricID + 1, Node: uint64(d.Node)}, {CompressedFabric: fabricID, Node: uint64(d.Node) + 1}} {
			h.discovery.announced <- ad
		}
		synctest.Wait()
		if h.device.Fabrics() != 1 {
			t.Fatal("a device was sent away that was not meant")
		}
		h.discovery.announced <- radio.Advertisement{CompressedFabric: fabricID, Node: uint64(d.Node)}
		time.Sleep(time.Minute)
		if h.device.Fabrics() != 0 {
			t.Error("the device still believes that it belongs")
		}
	})
}

// TestSecondHome shares a device with another home, which it may have room for.
func TestSecondHome(t *testing.T) {
	for maxFabrics, want := range map[int]commissioner.Code{1: commissioner.CodeTableFull, 2: ""} {
		synctest.Test(t, func(t *testing.T) {
			h := newHomeWith(t, "", maxFabrics)
			d, err := h.pair(t.Context())
			h.check(err)
			share, err := h.k.OpenWindow(t.Context(), d.Node, 15*time.Minute)
			h.check(err)
			if _, err := h.pair(t.Context()); code(err) != commissioner.CodePasscode {
				t.Errorf("with the printed code: %v", err)
			}
			synctest.Wait()
			codes, err := setup.Parse(share.QR)
			h.check(err)
			h.code = codes[0]
			h.discriminator, _ = h.code.Discriminator.Full()
			h.startGateway()
			if _, err := h.pair(t.Context()); code(err) != commissioner.CodeMember {
				t.Errorf("by the same home: %v", err)
			}
			synctest.Wait() // the device hears that the session is over
			h.found()
			h.startGateway()
			if _, err := h.pair(t.Context()); code(err) != want {
				t.Errorf("room for %d: got %v", maxFabrics, err)
			}
			synctest.Wait()
			if h.device.Fabrics() != maxFabrics {
				t.Errorf("on %d fabrics, not %d", h.device.Fabrics(), maxFabrics)
			}
		})
	}
}

// TestBusyDevice lets strangers begin as many handshakes as a device takes,
// and go no further: the gateway waits as it is told, and gets its turn.
func TestBusyDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		for i := range 8 {
			link := h.net.Link(radio.UDPAddr(netip.AddrPortFrom(deviceAddr.IP.Addr(), uint16(6000+i))))
			m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
			h.check(err)
			defer m.Close()
			m.Serve(link)
			s, err := m.Unsecured(link, deviceAddr, exchange.Params{})
			h.check(err)
			x, err := m.Open(s)
			h.check(err)
			const pbkdfParamRequest = 0x20
			body, err := tlv.Marshal(&struct {
				Random     [32]byte `tlv:"1"`
				SessionID  uint16   `tlv:"2"`
				PasscodeID uint16   `tlv:"3"`
				HasParams  bool     `tlv:"4"`
			}{SessionID: 1})
			h.check(err)
			h.check(x.Send(t.Context(), message.SecureChannel, pbkdfParamRequest, body))
		}
		synctest.Wait()
		began := time.Now()
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 2*time.Second {
			t.Errorf("it was not busy: paired after %v", waited)
		}
	})
}

// TestMuteDevice pairs a device that acknowledges the passcode's request and
// says nothing more.
func TestMuteDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		h.device.Close()
		mute, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
		h.check(err)
		defer mute.Close()
		mute.Handle(message.SecureChannel, func(ctx context.Context, _ *exchange.Exchange, _ exchange.Message) { <-ctx.Done() })
		mute.Serve(h.net.Link(deviceAddr))
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeBusy {
			t.Errorf("got %v", err)
		}
	})
}

// TestManualCodeFitsSeveral pairs by a manual code while another device with
// the same upper bits of its discriminator waits for its own.
func TestManualCodeFitsSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		strangerAddr := radio.UDPAddr(netip.MustParseAddrPort("[fd00::c]:5540"))
		payload := h.code
		payload.Passcode = setup.NewPasscode(12345679)
		stranger, err := virtual.New(virtual.Config{Name: "Stranger", Code: payload, SerialNumber: "V2", Maker: maker,
			Link: h.net.Link(strangerAddr), Port: 5540, Now: time.Now, Random: rand.Reader, Log: quiet})
		h.check(err)
		h.check(stranger.Start())
		defer stranger.Close()
		h.code.Discriminator = setup.Short(h.code.Discriminator.Upper())
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		own := h.discovery.ad
		own.Instance = "OWN"
		other := own
		other.Instance, other.Addrs = "OTHER", []radio.Addr{strangerAddr}
		go func() {
			for i := 0; ; i++ {
				select { // time stands still for those who never wait
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
					return
				}
				select {
				case h.discovery.announced <- []radio.Advertisement{other, own}[i%2]:
				case <-ctx.Done():
					return
				}
			}
		}()
		right := h.code.Passcode
		h.code.Passcode = setup.NewPasscode(11223344)
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodePasscode {
			t.Errorf("a passcode that nobody has: %v", err)
		}
		h.code.Passcode = right
		d, err := h.pair(t.Context())
		h.check(err)
		if d.Facts.ProductName != "Lamp" || stranger.Fabrics() != 0 {
			t.Errorf("paired %+v", d.Facts)
		}
	})
}
