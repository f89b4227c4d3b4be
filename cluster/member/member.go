// Package member runs a gateway's part in the gateway cluster: the wire to the
// others, the trust state, the vault that opens its secrets, and the steward.
//
// It promises that the wire lets in whom the trust state calls a gateway, from
// the moment it does until the moment it does not: who has the key that the
// trust state knows a gateway by, below whichever root its certificate is. A
// gateway whose trust state has not come yet, or is behind, goes by what it
// knows: its membership, the home's root and the gateways' CAT. It knows no
// device.
package member

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/steward"
	"gatehouse/cluster/vault"
	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// recordFile says, in the state directory, whom this gateway helped.
const recordFile = "helped.jsonl"

// Config says which gateway, and how it reaches the others.
type Config struct {
	Dir  string       // the state directory
	Keys keyfile.Keys // that are in it
	// Listener is where the others come in; it becomes the Member's own.
	Listener net.Listener
	// Locate is where another gateway may listen.
	Locate func(context.Context, cert.NodeID) ([]netip.AddrPort, error)
	// Doubt is told when it did not listen there; it may be nil.
	Doubt func(cert.NodeID)
	// Peers are where the members can be reached, for a new one.
	Peers func(*fabric.State) []found.Peer
	Dial  func(context.Context, netip.AddrPort) (net.Conn, error) // nil: TCP
	// Cluster is all but Dir, Node, Transport and Peers.
	Cluster cluster.Config
	Now     func() time.Time
	Log     *slog.Logger
}

// Member is a running gateway of the cluster.
type Member struct {
	*cluster.Cluster
	Node      cert.NodeID
	Keys      *steward.Keys
	Vault     *vault.Vault
	Authority *steward.Authority
	Steward   *steward.Steward
	// Client asks other gateways; wire.URL says where.
	Client *http.Client

	cfg        Config
	membership *found.Membership // nil of the gateway that founded the home
	wire       *wire.Wire
	server     *http.Server
	mux        *http.ServeMux
	state      atomic.Pointer[cluster.Cluster]
	serving    sync.WaitGroup
	duties     sync.WaitGroup
	stop       context.CancelFunc
}

// Open opens a state directory that found.Found or found.Join made. The error
// is store.ErrNone if none did.
func Open(cfg Config) (*Member, error) {
	m := &Member{Node: cfg.Keys.Node, cfg: cfg, mux: http.NewServeMux(), Keys: steward.NewKeys(cfg.Dir, cfg.Keys, rand.Reader, cfg.Cluster.Step)}
	var err error
	if m.membership, err = found.ReadMembership(cfg.Dir); err != nil {
		return nil, errors.Join(err, cfg.Listener.Close())
	}
	m.wire = wire.New(wire.Config{Identity: m.identity, Known: m.known, Admit: m.admit, Locate: cfg.Locate, Doubt: cfg.Doubt, Dial: cfg.Dial, Log: cfg.Log}, cfg.Listener)
	m.Client = m.wire.Client()
	c := cfg.Cluster
	c.Dir, c.Node, c.Peers, c.Transport = found.LogDir(cfg.Dir), m.Node, m.Client, cluster.NewTransport(m.wire.Raft(m.Node), c.Log)
	if m.Cluster, err = cluster.Open(c); err != nil {
		return nil, errors.Join(err, m.wire.Close())
	}
	m.state.Store(m.Cluster)
	m.compose()
	return m, nil
}

// compose sets up what gateways do for each other, and begins to serve it.
func (m *Member) compose() {
	m.Vault = &vault.Vault{Node: m.Node, Sealing: m.Keys.Sealing, Helpers: vault.Peers{HTTP: m.Client}, Random: rand.Reader}
	others := steward.Peers{HTTP: m.Client}
	m.Authority = &steward.Authority{Ledger: m.Cluster, Vault: m.Vault, Others: others}
	m.Steward = &steward.Steward{Cluster: m.Cluster, Authority: m.Authority, Vault: m.Vault, Keys: m.Keys, Peers: m.cfg.Peers, Log: m.cfg.Log}
	helper := &vault.Helper{Vault: m.Vault, State: m.State, Leader: m.Leader, Asker: wire.Peer,
		Record: &vault.Record{Path: filepath.Join(m.cfg.Dir, recordFile), Now: m.cfg.Now, Log: m.cfg.Log}}
	m.mux.Handle("/cluster/", m.Cluster.Handler())
	m.mux.Handle("/vault/", helper.Handler())
	m.mux.Handle("/steward/", m.Steward.Handler())
	m.server = &http.Server{Handler: m.members(m.mux), ConnContext: wire.ConnContext, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(m.cfg.Log.Handler(), slog.LevelDebug)}
	m.serving.Go(func() { m.server.Serve(m.wire.HTTP()) })
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.duties.Go(func() { m.Steward.Run(ctx) })
	m.duties.Go(func() { m.recheck(ctx) })
}

// Limits of ours.
const (
	knowTime = time.Second // for this gateway to hear of one that is new
	knowPoll = 20 * time.Millisecond
)

// members serves gateways that the trust state knows. The root's word lets a
// new one in, to be told of by Raft; but whoever has stolen the issuing key has
// that word too, and must change nothing.
func (m *Member) members(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), knowTime)
		defer cancel()
		for m.trust() != nil {
			if _, ok := m.known(wire.Peer(ctx)); ok {
				break
			}
			select {
			case <-time.After(knowPoll):
			case <-ctx.Done():
				http.Error(w, "this gateway does not know you", http.StatusForbidden)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// Handle serves more to the other gateways, below a path of its own.
func (m *Member) Handle(path string, h http.Handler) { m.mux.Handle(path, h) }

// recheck closes the connections of gateways that were evicted, and of those
// that only a root of before vouched for.
func (m *Member) recheck(ctx context.Context) {
	changed, gateways, root := m.Watch(ctx), 0, []byte(nil)
	for {
		if s := m.State(); len(s.Gateways) != gateways || !bytes.Equal(s.Home.Root, root) {
			gateways, root = len(s.Gateways), s.Home.Root
			m.wire.Recheck()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends the gateway's part.
func (m *Member) Close() error {
	m.stop()
	m.duties.Wait()
	err := errors.Join(m.server.Close(), m.Cluster.Close(), m.wire.Close())
	m.serving.Wait()
	return err
}

// trust is the trust state; nil while there is none.
func (m *Member) trust() *fabric.State {
	c := m.state.Load()
	if c == nil || !c.State().Founded() {
		return nil
	}
	return c.State()
}

// identity is who this gateway is to the others.
func (m *Member) identity() *wire.Identity {
	root, icac, noc := m.certificates()
	if len(noc) == 0 {
		return nil
	}
	ca, err := found.Root(root)
	if err != nil {
		m.cfg.Log.Error("the home's root is of no use", "err", err)
		return nil
	}
	id, _ := ca.Certificate().Subject.Find(cert.AttrFabricID)
	return &wire.Identity{Node: m.Node, Fabric: cert.FabricID(id), Root: ca, NOC: noc, ICAC: icac, Key: m.Keys.Now().Operational}
}

func (m *Member) certificates() (root, icac, noc []byte) {
	if s := m.trust(); s != nil && s.Gateways[m.Node] != nil && s.Gateways[m.Node].Member() {
		return s.Home.Root, s.Generation().ICAC, s.Gateways[m.Node].NOC
	}
	if m.membership != nil {
		return m.membership.Root, m.membership.ICAC, m.membership.NOC
	}
	return nil, nil, nil
}

// known is the key by which the trust state knows a gateway.
func (m *Member) known(n cert.NodeID) (key cert.PublicKey, ok bool) {
	s := m.trust()
	if s == nil || s.Gateways[n] == nil || !s.Gateways[n].Member() {
		return key, false
	}
	key, err := s.Gateways[n].Key()
	return key, err == nil
}

// admit says whether a node of the home's fabric is a gateway, and still one.
// One that the trust state knows has proved it by its key. One that this
// gateway has not heard of may be new: the home's root vouches for it, and its
// tag is not older than any eviction that is known here.
func (m *Member) admit(n cert.Node) error {
	s := m.trust()
	want := cert.NewCAT(found.GatewayTag, 1)
	if s != nil {
		want = s.Home.GatewayCAT
		if s.Tombstones[n.NodeID] != nil {
			return fmt.Errorf("gateway %v was evicted", n.NodeID)
		}
		if _, ok := m.known(n.NodeID); ok {
			return nil
		}
	}
	for _, c := range n.CATs {
		if c.Satisfies(want) {
			return nil
		}
	}
	return fmt.Errorf("node %v is no gateway", n.NodeID)
}
