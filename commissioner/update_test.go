package commissioner_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/firmware/otaimage"
	"gatehouse/firmware/shelf"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

// updates offers one image to one device.
type updates struct {
	dir   string // of the shelf
	shelf *shelf.Shelf
	offer ota.Offer
	to    cert.NodeID // 0: whoever asks
	lamp  cert.NodeID

	mu    sync.Mutex
	wait  time.Duration // until it is ready, the first time
	apply []datamodel.ApplyAction
	told  []ota.Progress
}

func (u *updates) Offer(_ context.Context, n cert.NodeID, _ *datamodel.QueryImage) (ota.Offer, time.Duration, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait := u.wait
	u.wait = 0
	return u.offer, wait, u.to == 0 || u.to == n
}

func (u *updates) Image(_ context.Context, d ota.Digest) (bdx.File, error) {
	i, err := u.shelf.Open(d)
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (u *updates) Apply(context.Context, cert.NodeID, ota.Offer) (datamodel.ApplyAction, time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.apply) == 0 {
		return datamodel.ApplyProceed, 0
	}
	a := u.apply[0]
	u.apply = u.apply[1:]
	return a, time.Minute
}

func (u *updates) Report(_ cert.NodeID, p ota.Progress) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.told = append(u.told, p)
}

// states are the steps that were told of, each once in a row.
func (u *updates) states() (all []ota.State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.told {
		all = append(all, p.State)
	}
	return slices.Compact(all)
}

// newUpdates has an image of version 2 for the home's lamp.
func newUpdates(t *testing.T, size int, change func(*otaimage.Header)) *updates {
	t.Helper()
	header := otaimage.Header{VendorID: 0xFFF1, ProductID: 0x8001, Version: 2, VersionString: "2.0"}
	if change != nil {
		change(&header)
	}
	payload := make([]byte, size)
	rand.Read(payload)
	var b bytes.Buffer
	if err := otaimage.Write(&b, header, payload); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := shelf.Open(dir, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	u := &updates{dir: dir, shelf: s, offer: ota.Offer{Version: header.Version, VersionString: header.VersionString, Image: sha256.Sum256(b.Bytes())}}
	if err := s.Put(bytes.NewReader(b.Bytes()), u.offer.Image, int64(b.Len())); err != nil {
		t.Fatal(err)
	}
	return u
}

// updating is a home whose gateway has an image, and whose lamp is paired.
func updating(t *testing.T, u *updates) *home {
	t.Helper()
	h := &home{discriminator: 0xABC, provider: &ota.Provider{Updates: u, Now: time.Now, Log: quiet}}
	h.start(t, "", 0)
	d, err := h.pair(t.Context())
	h.check(err)
	u.lamp = d.Node
	return h
}

// announceProvider has the lamp ask.
func (h *home) announceProvider(u *updates) {
	h.t.Helper()
	s, err := h.c.Connect(h.t.Context(), u.lamp)
	h.check(err)
	h.check(ota.Announce(h.t.Context(), h.c.Engine, s, 0xFFF1, datamodel.AnnounceUrgentUpdate))
	securechannel.Close(h.gateway, s)
}

func TestUpdate(t *testing.T) {
	for name, c := range map[string]struct {
		conditions radiotest.Conditions
		wait       time.Duration
		apply      []datamodel.ApplyAction
	}{
		"at once":         {},
		"with losses":     {conditions: radiotest.Conditions{Loss: 0.05}},
		"later":           {wait: 10 * time.Minute},
		"installed later": {apply: []datamodel.ApplyAction{datamodel.ApplyAwait}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpdates(t, 200_000, nil)
				u.wait, u.apply = c.wait, c.apply
				h := updating(t, u)
				h.net.SetConditions(c.conditions)
				h.announceProvider(u)
				if c.wait > 0 {
					time.Sleep(c.wait - time.Second)
					if len(u.states()) > 0 {
						t.Errorf("told %v before it was time", u.states())
					}
				}
				time.Sleep(30 * time.Minute)
				if version, text := h.device.Software(); version != 2 || text != "2.0" {
					t.Errorf("it runs %d, %s", version, text)
				}
				want := []ota.State{ota.Offered, ota.Downloading, ota.Downloaded, ota.Applying, ota.Applied}
				if got := u.states(); !slices.Equal(got, want) {
					t.Errorf("told %v", got)
				}
				if p := u.told[len(u.told)-1]; p.Version != 2 {
					t.Errorf("applied %d", p.Version)
				}
			})
		})
	}
}

// TestUpdateResumed parts the device from the gateway in the middle: it goes on
// where it was.
func TestUpdateResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 200_000, nil)
		h := updating(t, u)
		h.net.SetDrop(radiotest.DropAfter(150))
		h.announceProvider(u)
		time.Sleep(time.Minute)
		h.net.SetDrop(nil)
		time.Sleep(time.Hour)
		if version, _ := h.device.Software(); version != 2 {
			t.Fatalf("it runs %d; told %v", version, u.states())
		}
		again := 0
		for i, p := range u.told[1:] {
			if p.State == ota.Downloading && p.Done < u.told[i].Done && p.Done < 10_000 {
				again++
			}
		}
		if again > 0 || !slices.Contains(u.states(), ota.Broken) {
			t.Errorf("began %d times at the beginning; told %v", again, u.states())
		}
	})
}

// TestUpdateRefused has the device get what is not for it, or not get it.
func TestUpdateRefused(t *testing.T) {
	for name, c := range map[string]struct {
		header func(*otaimage.Header)
		change func(*updates)
		last   ota.State
	}{
		"of another product":   {func(h *otaimage.Header) { h.ProductID++ }, nil, ota.Downloaded},
		"of another vendor":    {func(h *otaimage.Header) { h.VendorID++ }, nil, ota.Downloaded},
		"of another version":   {nil, func(u *updates) { u.offer.Version++ }, ota.Downloaded},
		"for other versions":   {func(h *otaimage.Header) { h.MinApplicable = &h.Version }, nil, ota.Downloaded},
		"of this version":      {func(h *otaimage.Header) { h.Version = 1 }, nil, ""},
		"nothing for it":       {nil, func(u *updates) { u.to = 7 }, ""},
		"taken back":           {nil, func(u *updates) { u.apply = []datamodel.ApplyAction{datamodel.ApplyDiscontinue} }, ota.Downloaded},
		"damaged on the shelf": {nil, func(u *updates) { u.shelf.Remove(u.offer.Image) }, ota.Offered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpdates(t, 10_000, c.header)
				if c.change != nil {
					c.change(u)
				}
				h := updating(t, u)
				h.announceProvider(u)
				time.Sleep(time.Hour)
				if version, _ := h.device.Software(); version != 1 {
					t.Errorf("it runs %d", version)
				}
				var last ota.State
				if s := u.states(); len(s) > 0 {
					last = s[len(s)-1]
				}
				if last != c.last {
					t.Errorf("told %v", u.states())
				}
			})
		})
	}
}

// requestor is a node of the home that asks as it likes.
type requestor struct {
	h *home
	m *exchange.Manager
	e *interaction.Engine
	s *exchange.Session

	link radio.Link
	id   *securechannel.Identity
}

func (r *requestor) meet(at radio.Addr, n cert.NodeID) (*exchange.Session, error) {
	return securechannel.CASE(r.h.t.Context(), r.m, securechannel.Peer{Link: r.link, Addr: at}, r.id, n, new(securechannel.Resumptions))
}

// requestor admits a node, and has it meet the gateway.
func (h *home) requestor(n cert.NodeID, at radio.Addr) *requestor {
	h.t.Helper()
	key, err := issuer.GenerateKey(rand.Reader)
	h.check(err)
	public := key.PublicKey()
	h.propose(fabric.Command{Reserve: &fabric.Reserve{Node: n, Gateway: h.id.Node, FailSafe: 60_000}})
	noc, icac, err := h.c.Authority.Issue(h.t.Context(), n, public)
	h.check(err)
	sum := sha256.Sum256(noc)
	h.propose(fabric.Command{Issue: &fabric.Issue{Node: n, NOCHash: sum[:], PublicKey: public[:], Gateway: h.id.Node}})
	h.propose(fabric.Command{Admit: &fabric.Admit{Node: n, Gateway: h.id.Node, Access: 1}})
	r := &requestor{h: h}
	r.m, err = exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
	h.check(err)
	h.t.Cleanup(r.m.Close)
	r.e = interaction.New(r.m)
	link := h.net.Link(at)
	r.m.Serve(link)
	id := *h.id
	id.Node, id.NOC, id.ICAC, id.Key, id.Knows = n, noc, icac, key, nil
	r.link, r.id = link, &id
	r.s, err = r.meet(gatewayAddr, h.id.Node)
	h.check(err)
	return r
}

func (r *requestor) query() (q datamodel.QueryImageResponse, err error) {
	err = r.e.InvokeCommand(r.h.t.Context(), r.s, 0, interaction.Command(ota.Endpoint, datamodel.OTAProvider, datamodel.OTAProviderQueryImage),
		&datamodel.QueryImage{VendorID: 0xFFF1, ProductID: 0x8001, SoftwareVersion: 1, Protocols: []datamodel.DownloadProtocol{datamodel.BDXSynchronous}}, &q)
	return q, err
}

func (r *requestor) fetch(name string, w io.Writer) error {
	_, err := bdx.Fetch(r.h.t.Context(), r.m, r.s, bdx.Request{Designator: []byte(name)}, w)
	return err
}

var (
	strangerAddr  = radio.UDPAddr(netip.MustParseAddrPort("[fd00::51]:5540"))
	requestorAddr = radio.UDPAddr(netip.MustParseAddrPort("[fd00::52]:5540"))
)

// TestForeignImage has a device ask for what another was offered.
func TestForeignImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 1000, nil)
		h := updating(t, u)
		r := h.requestor(7, requestorAddr)
		name := fmt.Sprintf("%x", u.offer.Image)
		if err := r.fetch(name, io.Discard); !errors.Is(err, bdx.FileDesignatorUnknown) {
			t.Errorf("without an offer: %v", err)
		}
		q, err := r.query()
		h.check(err)
		if want := fmt.Sprintf("bdx://%016X/%s", uint64(h.id.Node), name); q.ImageURI == nil || *q.ImageURI != want || len(q.UpdateToken) != 16 {
			t.Fatalf("offered %+v", q)
		}
		for _, other := range []string{"x", name[:63], name + "0", fmt.Sprintf("%x", sha256.Sum256(nil)), "../" + name} {
			if err := r.fetch(other, io.Discard); !errors.Is(err, bdx.FileDesignatorUnknown) {
				t.Errorf("%q: %v", other, err)
			}
		}
		var got bytes.Buffer
		h.check(r.fetch(name, &got))
		if sha256.Sum256(got.Bytes()) != u.offer.Image {
			t.Error("it is another image")
		}
		other := h.requestor(8, strangerAddr)
		if err := other.fetch(name, io.Discard); !errors.Is(err, bdx.FileDesignatorUnknown) {
			t.Errorf("somebody else's: %v", err)
		}
		for name, c := range map[string]*datamodel.ApplyUpdateRequest{
			"another's token": {UpdateToken: q.UpdateToken, NewVersion: 2},
			"an invented one": {UpdateToken: make([]byte, 16), NewVersion: 2},
		} {
			var a datamodel.ApplyUpdateResponse
			h.check(other.e.InvokeCommand(t.Context(), other.s, 0, interaction.Command(ota.Endpoint, datamodel.OTAProvider, datamodel.OTAProviderApplyRequest), c, &a))
			if a.Action != datamodel.ApplyDiscontinue {
				t.Errorf("%s: action %d", name, a.Action)
			}
		}
	})
}

// TestStalled has devices begin transfers and fall silent: another is served
// meanwhile, and those too many are told to come back.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 100_000, nil)
		h := updating(t, u)
		name := fmt.Sprintf("%x", u.offer.Image)
		stalled := func(i int) *requestor {
			r := h.requestor(cert.NodeID(100+i), radio.UDPAddr(netip.MustParseAddrPort(fmt.Sprintf("[fd00::6%x]:5540", i))))
			if q, err := r.query(); err != nil || q.Status != datamodel.UpdateAvailable {
				t.Fatalf("offered %+v, %v", q, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			w := writer(func(p []byte) (int, error) { cancel(); <-t.Context().Done(); return 0, ctx.Err() })
			go bdx.Fetch(t.Context(), r.m, r.s, bdx.Request{Designator: []byte(name)}, w)
			<-ctx.Done()
			return r
		}
		for i := range 7 {
			stalled(i)
		}
		began := time.Now()
		h.announceProvider(u)
		time.Sleep(2 * time.Second)
		if version, _ := h.device.Software(); version != 2 {
			t.Errorf("it runs %d after %v", version, time.Since(began))
		}
		early := h.requestor(299, strangerAddr)
		if _, err := early.query(); err != nil {
			t.Fatal(err)
		}
		stalled(7)
		late := h.requestor(300, requestorAddr)
		if q, err := late.query(); err != nil || q.Status != datamodel.OTABusy || q.DelayedActionTime == nil || *q.DelayedActionTime < datamodel.MinOTADelay {
			t.Errorf("one too many is told %+v, %v", q, err)
		}
		if err := early.fetch(name, io.Discard); !errors.Is(err, bdx.ResponderBusy) {
			t.Errorf("one too many gets %v", err)
		}
		time.Sleep(6 * time.Minute)
		if q, err := late.query(); err != nil || q.Status != datamodel.UpdateAvailable {
			t.Errorf("after those that fell silent were given up: %+v, %v", q, err)
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
