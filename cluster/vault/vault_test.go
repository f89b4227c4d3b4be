package vault

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

// house is a home with gateways 1 to n, who help each other while they are up.
type house struct {
	t      *testing.T
	state  *fabric.State
	vaults map[cert.NodeID]*Vault
	leader cert.NodeID
	down   map[cert.NodeID]bool
	asked  int
	key    issuer.PrivateKey
	ipk    cert.EpochKey
}

type help struct {
	h *house
	n cert.NodeID
}

func (x help) Help(_ context.Context, helper cert.NodeID, use Use, number uint32) ([]byte, error) {
	x.h.asked++
	if x.h.down[helper] || x.h.vaults[helper] == nil {
		return nil, errors.New("unplugged")
	}
	return x.h.vaults[helper].Help(x.h.state, x.n, x.h.leader, use, number)
}

func newHouse(t *testing.T, gateways int) *house {
	t.Helper()
	h := &house{t: t, vaults: make(map[cert.NodeID]*Vault), leader: 1, down: make(map[cert.NodeID]bool)}
	var err error
	if h.key, err = issuer.GenerateKey(seeded(7)); err != nil {
		t.Fatal(err)
	}
	if h.ipk, err = cert.RandomEpochKey(seeded(8)); err != nil {
		t.Fatal(err)
	}
	h.state = &fabric.State{Version: 2, Home: fabric.Home{FabricID: 5, GatewayCAT: cert.NewCAT(1, 1)}, Gateways: map[cert.NodeID]*fabric.Gateway{},
		Generations: []fabric.Generation{{Number: 1}}}
	for n := cert.NodeID(1); n <= cert.NodeID(gateways); n++ {
		h.add(n)
	}
	h.take(h.vaults[1].Seal(h.state, 1, Founding(h.key, h.ipk)))
	return h
}

func (h *house) add(n cert.NodeID) {
	h.t.Helper()
	k, err := seal.NewSealingKey(seal.FirstSuite.Envelopes(), seeded(byte(n)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.vaults[n] = &Vault{Node: n, Sealing: func() []seal.SealingKey { return []seal.SealingKey{k} }, Helpers: help{h, n}, Random: seeded(100 + byte(n))}
	h.state.Gateways[n] = &fabric.Gateway{Node: n, NOC: []byte("noc"), SealKey: k.Public()}
}

// take does with a resealing what Apply does.
func (h *house) take(c *fabric.Reseal, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	h.state.Keyring, h.state.Home.IPK, h.state.Generations[0].Key = &c.Keyring, c.IPK, c.IssuerKey
	if h.state.People != nil {
		h.state.People = &fabric.People{Key: c.People}
	}
	for name, sealed := range c.Networks {
		h.state.Networks[name].Sealed, h.state.Networks[name].DataKey = sealed, c.Keyring.Number
	}
	if !h.state.SealedRight() {
		h.t.Error("it is not sealed for the gateways there are")
	}
}

// opens reports whether a gateway gets at the secrets, and at none but the
// right ones.
func (h *house) opens(n cert.NodeID) (issuing, shared bool) {
	h.t.Helper()
	key, err1 := h.vaults[n].IssuerKey(h.t.Context(), h.state)
	ipk, err2 := h.vaults[n].IPK(h.t.Context(), h.state)
	if err1 == nil && !bytes.Equal(key.Reveal(), h.key.Reveal()) || err2 == nil && ipk.Reveal() != h.ipk.Reveal() {
		h.t.Error("other secrets came out")
	}
	return err1 == nil, err2 == nil
}

func TestAlone(t *testing.T) {
	h := newHouse(t, 1)
	if issuing, shared := h.opens(1); !issuing || !shared || h.asked != 0 {
		t.Error("the only gateway cannot open its secrets by itself")
	}
	for what, spoil := range map[string]func(*fabric.State){
		"another fabric": func(s *fabric.State) { s.Home.FabricID++ },
		"another number": func(s *fabric.State) {
			s.Keyring = &fabric.Keyring{Number: 9, Issuing: s.Keyring.Issuing, Shared: s.Keyring.Shared}
		},
		"one for another": func(s *fabric.State) {
			s.Home.IPK, s.Generations = s.Generations[0].Key, []fabric.Generation{{Key: s.Home.IPK}}
		},
		"one key for both": func(s *fabric.State) {
			s.Keyring = &fabric.Keyring{Number: 1, Issuing: s.Keyring.Shared, Shared: s.Keyring.Issuing}
		},
		"another's envelope": func(s *fabric.State) { s.Keyring = newHouse(t, 2).state.Keyring },
		"nothing sealed":     func(s *fabric.State) { s.Home.IPK, s.Generations = nil, []fabric.Generation{{}} },
		"no fabric":          func(s *fabric.State) { s.Generations = nil },
	} {
		s := *h.state
		spoil(&s)
		if _, err := h.vaults[1].IssuerKey(t.Context(), &s); err == nil {
			t.Errorf("%s: the issuing key opens", what)
		}
		if _, err := h.vaults[1].IPK(t.Context(), &s); err == nil {
			t.Errorf("%s: the IPK opens", what)
		}
	}
}

// TestThree: with three gateways, two open what one cannot; and what a
// follower gets is not the issuing key.
func TestThree(t *testing.T) {
	h := newHouse(t, 3)
	for n, want := range map[cert.NodeID]bool{1: true, 2: false, 3: false} {
		if issuing, shared := h.opens(n); issuing != want || !shared {
			t.Errorf("gateway %v: issuing %v, shared %v", n, issuing, shared)
		}
	}
	h.down[2] = true
	if issuing, shared := h.opens(1); !issuing || !shared {
		t.Error("one helper is not enough")
	}
	h.down[3] = true
	if issuing, shared := h.opens(1); issuing || shared {
		t.Error("a gateway without helpers opens the home's secrets")
	}
	if _, err := h.vaults[1].IPK(t.Context(), h.state); !errors.Is(err, ErrNoHelper) {
		t.Errorf("%v", err)
	}
}

// TestEvicted: from one moment to the next nobody helps any more, and what is
// sealed later was never closed to it.
func TestEvicted(t *testing.T) {
	h := newHouse(t, 3)
	old := h.state.Keyring
	delete(h.state.Gateways, 3)
	if _, shared := h.opens(3); shared {
		t.Error("an evicted gateway is helped")
	}
	h.take(h.vaults[1].Reseal(t.Context(), h.state))
	h.add(3) // as it was, in a copy of the state of before
	now := h.state.Keyring
	h.state.Keyring = old
	h.down[1], h.down[2] = true, true
	if issuing, shared := h.opens(3); issuing || shared {
		t.Error("an old copy opens by itself")
	}
	h.state.Keyring = now
	for _, e := range append(now.Issuing, now.Shared...) {
		if e.Gateway == 3 || e.Helper == 3 {
			t.Errorf("an envelope is for %v with %v", e.Gateway, e.Helper)
		}
	}
}

func TestHelpRefused(t *testing.T) {
	h := newHouse(t, 3)
	h.state.Gateways[4] = &fabric.Gateway{Node: 4} // about to join
	for what, c := range map[string]struct {
		asker  cert.NodeID
		use    Use
		number uint32
	}{
		"a stranger": {9, Shared, 1}, "itself": {2, Shared, 1}, "half a member": {4, Shared, 1}, "old keys": {1, Shared, 0},
		"keys to come": {1, Shared, 2}, "no such key": {1, 7, 1}, "a follower": {3, Issuing, 1},
	} {
		if _, err := h.vaults[2].Help(h.state, c.asker, 1, c.use, c.number); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRotate seals for gateways of which one has its new sealing key and the
// other, who was off, not yet: both open everything, which is sealed with the
// new algorithm for secrets at once.
func TestRotate(t *testing.T) {
	h := newHouse(t, 2)
	k, err := seal.NewSealingKey(seal.NewestSuite.Envelopes(), seeded(77))
	if err != nil {
		t.Fatal(err)
	}
	old := h.vaults[1].Sealing()[0]
	h.state.Suite = uint8(seal.NewestSuite)
	h.vaults[1].Sealing = func() []seal.SealingKey { return []seal.SealingKey{k, old} }
	h.state.Gateways[1].SealKey = k.Public()
	if h.state.SealedRight() {
		t.Error("what is sealed with the old algorithms is right")
	}
	h.take(h.vaults[1].Reseal(t.Context(), h.state))
	if a := seal.Algorithm(h.state.Home.IPK[0]); a != seal.XChaCha20Poly1305 {
		t.Errorf("sealed with %v", a)
	}
	for _, e := range h.state.Keyring.Shared {
		if a, want := seal.Algorithm(e.Blob[0]), seal.AlgorithmOf(h.state.Gateways[e.Helper].SealKey); a != want {
			t.Errorf("the outer layer for gateway %v is %v, its helper's key for %v", e.Gateway, a, want)
		}
		if len(e.Blob) > fabric.MaxBlob {
			t.Errorf("an envelope of %d octets", len(e.Blob))
		}
	}
	h.vaults[1].Sealing = func() []seal.SealingKey { return []seal.SealingKey{k} }
	for n := cert.NodeID(1); n <= 2; n++ {
		h.leader = n
		if issuing, shared := h.opens(n); !issuing || !shared {
			t.Errorf("gateway %d does not open everything", n)
		}
	}
}

// TestResealForMore is a home that gets a second gateway: what the first one's
// key of before opens is of no use afterwards.
func TestResealForMore(t *testing.T) {
	h := newHouse(t, 1)
	h.state.Networks = map[string]*fabric.Network{"attic": {Name: "attic", Kind: fabric.WiFi, ID: []byte("ssid")}}
	if err := h.vaults[1].SealNetwork(t.Context(), h.state, h.state.Networks["attic"], seal.NewSecret([]byte("password"))); err != nil {
		t.Fatal(err)
	}
	h.people("of the people")
	kit, err := seal.NewSealingKey(seal.FirstSuite.Envelopes(), seeded(55))
	if err != nil {
		t.Fatal(err)
	}
	h.state.Home.Recovery = kit.Public()
	h.add(2)
	before := h.vaults[1].Sealing()[0]
	after, err := seal.NewSealingKey(seal.FirstSuite.Envelopes(), seeded(66))
	if err != nil {
		t.Fatal(err)
	}
	h.state.Gateways[1].SealKey = after.Public()
	h.vaults[1].Sealing = func() []seal.SealingKey { return []seal.SealingKey{after, before} }
	h.take(h.vaults[1].Reseal(t.Context(), h.state))
	h.vaults[1].Sealing = func() []seal.SealingKey { return []seal.SealingKey{after} }
	for n := cert.NodeID(1); n <= 2; n++ {
		if _, shared := h.opens(n); !shared {
			t.Errorf("gateway %v does not open the new envelopes", n)
		}
		if got, err := h.vaults[n].OpenNetwork(t.Context(), h.state, h.state.Networks["attic"]); err != nil || string(got.Reveal()) != "password" {
			t.Errorf("the network's credentials: %v", err)
		}
		if got, err := h.vaults[n].OpenPeople(t.Context(), h.state); err != nil || string(got.Reveal()) != "of the people" {
			t.Errorf("the people's secret: %v", err)
		}
	}
	h.vaults[1].Sealing = func() []seal.SealingKey { return []seal.SealingKey{before} }
	if issuing, shared := h.opens(1); issuing || shared {
		t.Error("the key of before opens what was sealed after")
	}
	byKit := Vault{Node: 0, Sealing: func() []seal.SealingKey { return []seal.SealingKey{kit} }}
	if _, err := byKit.IPK(t.Context(), h.state); err != nil {
		t.Errorf("the recovery kit: %v", err)
	}
	if _, err := byKit.IssuerKey(t.Context(), h.state); err == nil {
		t.Error("the recovery kit opens the issuing key, which it has no need of")
	}
}

// TestFirstVersion opens what version 1 sealed: one data key for all, closed
// to the only gateway.
func TestFirstVersion(t *testing.T) {
	h := newHouse(t, 1)
	v := h.vaults[1]
	data, err := seal.RandomSecret(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	x := Founding(h.key, h.ipk)
	g := &h.state.Generations[0]
	if g.Key, err = v.close(h.state, data, "gatehouse issuing key, generation 1, fabric 0000000000000005", x.IssuerKey); err != nil {
		t.Fatal(err)
	}
	if h.state.Home.IPK, err = v.close(h.state, data, "gatehouse identity protection key, generation 1, fabric 0000000000000005", x.IPK); err != nil {
		t.Fatal(err)
	}
	wrapped, err := seal.Wrap(h.state.Gateways[1].SealKey, "gatehouse data key, generation 1, fabric 0000000000000005", data)
	if err != nil {
		t.Fatal(err)
	}
	h.state.Keyring, g.DataKeys = nil, map[cert.NodeID][]byte{1: wrapped}
	if issuing, shared := h.opens(1); !issuing || !shared {
		t.Fatal("version 1's secrets do not open")
	}
	c, err := v.Reseal(t.Context(), h.state)
	if err != nil || c.Keyring.Number != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	h.take(c, nil)
	h.opens(1)
}

// TestNetwork opens a network's credentials as that network's only.
func TestNetwork(t *testing.T) {
	h := newHouse(t, 1)
	v, n := h.vaults[1], fabric.Network{Name: "attic", Kind: fabric.WiFi, ID: []byte("ssid")}
	if err := v.SealNetwork(t.Context(), h.state, &n, seal.NewSecret([]byte("password"))); err != nil {
		t.Fatal(err)
	}
	if got, err := v.OpenNetwork(t.Context(), h.state, &n); err != nil || string(got.Reveal()) != "password" || bytes.Contains(n.Sealed, []byte("password")) {
		t.Errorf("opened as something else, or not sealed: %v", err)
	}
	for what, spoil := range map[string]func(*fabric.Network){
		"another name":   func(n *fabric.Network) { n.Name = "cellar" },
		"another SSID":   func(n *fabric.Network) { n.ID = []byte("evil twin") },
		"another kind":   func(n *fabric.Network) { n.Kind = fabric.Thread },
		"another key":    func(n *fabric.Network) { n.DataKey = 2 },
		"nothing sealed": func(n *fabric.Network) { n.Sealed = nil },
	} {
		spoilt := n
		spoil(&spoilt)
		if _, err := v.OpenNetwork(t.Context(), h.state, &spoilt); err == nil {
			t.Errorf("%s: it opens", what)
		}
	}
}

// people begins the list of people.
func (h *house) people(secret string) {
	h.t.Helper()
	sealed, number, err := h.vaults[1].SealPeople(h.t.Context(), h.state, seal.NewSecret([]byte(secret)))
	if err != nil || number != h.state.DataKey() || bytes.Contains(sealed, []byte(secret)) {
		h.t.Fatalf("sealed under %d: %v", number, err)
	}
	h.state.People = &fabric.People{Key: sealed}
}

func TestPeople(t *testing.T) {
	h := newHouse(t, 1)
	v := h.vaults[1]
	if _, err := v.OpenPeople(t.Context(), h.state); err == nil {
		t.Error("opened where there are none")
	}
	h.people("of the people")
	if got, err := v.OpenPeople(t.Context(), h.state); err != nil || string(got.Reveal()) != "of the people" {
		t.Errorf("opened as something else: %v", err)
	}
	h.state.People.Key = h.state.Home.IPK
	if _, err := v.OpenPeople(t.Context(), h.state); err == nil {
		t.Error("another secret opens as the people's")
	}
}

// TestHelperOverHTTP: help is on record, and is not given if it cannot be.
func TestHelperOverHTTP(t *testing.T) {
	h := newHouse(t, 2)
	asker := cert.NodeID(1)
	record := filepath.Join(t.TempDir(), "helped.jsonl")
	helper := &Helper{Vault: h.vaults[2], State: func() *fabric.State { return h.state }, Leader: func() cert.NodeID { return 1 },
		Asker:  func(context.Context) cert.NodeID { return asker },
		Record: &Record{Path: record, Now: func() time.Time { return time.Unix(1, 0) }, Log: slog.New(slog.DiscardHandler)}}
	server := httptest.NewServer(helper.Handler())
	defer server.Close()
	h.vaults[1].Helpers = Peers{HTTP: rewriting{server}}
	if issuing, shared := h.opens(1); !issuing || !shared {
		t.Error("no help")
	}
	asker = 9
	if _, err := h.vaults[1].IPK(t.Context(), h.state); err == nil || !strings.Contains(err.Error(), "not another member") {
		t.Errorf("%v", err)
	}
	got, err := os.ReadFile(record)
	want := `{"time":"1970-01-01T00:00:01Z","gateway":"0000000000000001","key":"issuing","number":1}` + "\n"
	if err != nil || !strings.HasPrefix(string(got), want) || strings.Count(string(got), "\n") != 3 || !strings.Contains(string(got), `"refused":"`) {
		t.Errorf("on record: %s, %v", got, err)
	}
	asker = 1
	helper.Record.Path = filepath.Join(record, "no", "such")
	if _, err := h.vaults[1].IPK(t.Context(), h.state); err == nil {
		t.Error("help that is not on record")
	}
	resp, err := http.Post(server.URL+helpPath, "", strings.NewReader("gibberish"))
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%v, %v", resp, err)
	}
	resp.Body.Close()
}

// rewriting sends every request to one server.
type rewriting struct{ server *httptest.Server }

func (x rewriting) Do(r *http.Request) (*http.Response, error) {
	r.URL.Host = strings.TrimPrefix(x.server.URL, "http://")
	return x.server.Client().Do(r)
}
