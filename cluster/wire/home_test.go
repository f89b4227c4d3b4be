package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// gatewayCAT is what Admit of these tests asks for.
const gatewayGroup = 1

var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func seeded(n uint64) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
}

// home is a fabric, and where its gateways are.
type home struct {
	t      *testing.T
	fabric *issuer.Fabric
	root   *cert.Authority

	mu      sync.Mutex
	where   map[cert.NodeID][]netip.AddrPort
	evicted map[cert.NodeID]bool
}

func newHome(t *testing.T, seed uint64) *home {
	t.Helper()
	f, err := issuer.NewFabric(seeded(seed), issuer.Params{Birth: birth})
	if err != nil {
		t.Fatal(err)
	}
	return &home{t: t, fabric: f, root: rootOf(t, f.RCAC), where: map[cert.NodeID][]netip.AddrPort{}, evicted: map[cert.NodeID]bool{}}
}

func rootOf(t *testing.T, rcac []byte) *cert.Authority {
	t.Helper()
	c, err := cert.Parse(rcac)
	if err != nil {
		t.Fatal(err)
	}
	root, err := cert.NewRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// identity is a node's, with a certificate that change makes different.
func (h *home) identity(node cert.NodeID, change ...func(*issuer.Reservation)) *Identity {
	h.t.Helper()
	key, err := issuer.GenerateKey(seeded(1000 + uint64(node)))
	if err != nil {
		h.t.Fatal(err)
	}
	r := issuer.Reservation{Node: node, Fabric: h.fabric.FabricID, Serial: fmt.Appendf(nil, "G-%010d", node), PublicKey: key.PublicKey(),
		CATs: []cert.CAT{cert.NewCAT(gatewayGroup, 1)}, NotBefore: birth}
	for _, c := range change {
		c(&r)
	}
	noc, err := issuer.Issue(h.fabric.ICAC, h.fabric.IssuerKey, r)
	if err != nil {
		h.t.Fatal(err)
	}
	return &Identity{Node: node, Fabric: r.Fabric, Root: h.root, NOC: noc, ICAC: h.fabric.ICAC, Key: key}
}

func device(r *issuer.Reservation) { r.CATs = []cert.CAT{cert.NewCAT(7, 1)} }

var errEvicted = errors.New("it has been evicted")

// admit is the word of the trust state.
func (h *home) admit(n cert.Node) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.evicted[n.NodeID]:
		return errEvicted
	case !slices.ContainsFunc(n.CATs, func(c cert.CAT) bool { return c.Group() == gatewayGroup }):
		return errors.New("it is no gateway")
	}
	return nil
}

func (h *home) evict(n cert.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evicted[n] = true
}

func (h *home) locate(_ context.Context, n cert.NodeID) ([]netip.AddrPort, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.where[n], nil
}

func (h *home) move(n cert.NodeID, to ...netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.where[n] = to
}

// config is a gateway's that has no opinion of its own.
func (h *home) config(id *Identity) Config {
	return Config{Identity: func() *Identity { return id }, Admit: h.admit, Locate: h.locate}
}

// gateway is a Wire on loopback.
type gateway struct {
	*Wire
	node cert.NodeID
	addr netip.AddrPort
	log  *lines
}

func (h *home) gateway(id *Identity, change ...func(*Config)) *gateway {
	h.t.Helper()
	cfg := h.config(id)
	g := &gateway{node: id.Node, log: new(lines)}
	cfg.Log = slog.New(slog.NewTextHandler(g.log, nil))
	for _, c := range change {
		c(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	g.addr = l.Addr().(*net.TCPAddr).AddrPort()
	g.Wire = New(cfg, l)
	h.move(id.Node, g.addr)
	h.t.Cleanup(func() { g.Close() })
	return g
}

// dialRaft dials, for errors that are not nil.
func dialRaft(from *gateway, to cert.NodeID) error {
	c, err := from.dial(context.Background(), to, raftProtocol, 10*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// wants fails unless err says all of the texts.
func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("error %v; want one that says %q", err, s)
		}
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits for the log to say text.
func (l *lines) eventually(t *testing.T, text string) {
	t.Helper()
	until(t, fmt.Sprintf("the log to say %q", text), func() bool { return strings.Contains(l.String(), text) })
	if t.Failed() {
		t.Log(l.String())
	}
}

// until waits for something that happens by itself.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}
