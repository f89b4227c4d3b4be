package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/member"
	"gatehouse/cluster/wire/wiretest"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

const port = 5541

// nowhere is where a gateway is that is off.
var nowhere = netip.MustParseAddrPort("10.255.255.255:5541")

// world is a home in one process and in simulated time.
type world struct {
	t      *testing.T
	trial  *Trial
	dir    string
	seed   uint64
	net    *wiretest.Net
	plan   plan
	report Report
	wg     sync.WaitGroup // of all but the gateways' own goroutines
	busy   sync.WaitGroup // of the clients
	over   time.Duration
	last   *fabric.State // that all had in the end
	// replacing has room for one: never are two gateways replaced at once.
	replacing chan struct{}
	ended     chan struct{}

	mu       sync.Mutex // never held in a wait
	boxes    []*box
	hosts    int
	cuts     map[[2]*box]int // how many faults cut the one from the other
	latency  map[[2]*box]time.Duration
	journal  []string
	settling uint64 // how many settlers there were
}

// sabotage is what a checker must notice.
type sabotage struct {
	lies  bool // disks lose with the power what they said was synced
	early bool // a device gets its certificate before that is committed
	stale bool // what a gateway knows is given for what is current
	hasty bool // what a gateway knows is enough to settle a pairing in doubt
}

// box is one gateway's hardware.
type box struct {
	name  string
	node  cert.NodeID
	skew  atomic.Int64  // of its clock
	lock  chan struct{} // held while it is switched on or off; a wait for it is one of simulated time
	dir   string
	addr  netip.AddrPort
	disks int

	ready   bool // it has something to start from
	evicted bool
	process *process // nil: it is off
}

// process is a gateway that runs.
type process struct {
	*member.Member
	world    *world
	box      *box
	addr     netip.AddrPort
	disk     *disk
	pairings sync.Map
	dead     atomic.Bool
	gone     chan struct{}
	failed   chan struct{}
	once     sync.Once
}

func newWorld(t *testing.T, seed uint64, p plan) *world {
	w := &world{t: t, trial: NewTrial(time.Now), dir: t.TempDir(), seed: seed, net: wiretest.New(), plan: p, replacing: make(chan struct{}, 1), ended: make(chan struct{}), cuts: map[[2]*box]int{}, latency: map[[2]*box]time.Duration{}}
	b := w.box()
	_, err := found.Found(t.Context(), found.Config{Dir: b.dir, Kit: filepath.Join(t.TempDir(), "kit"), Passphrase: "rowboat ferns at dusk",
		Home: "home", Gateway: "first", Now: time.Now().AddDate(26, 0, 0), TPM: keyfile.NoTPM, KitWork: 2, Cluster: cluster.Config{Log: quiet, Fatal: w.fatal}})
	w.must(err)
	w.must(w.start(b))
	w.trial.End(w.trial.Begin(Op{Client: 1, Kind: Enroll, Key: b.node.String()}), nil, nil)
	for len(w.boxes) < p.gateways {
		w.must(w.enroll(w.box()))
	}
	w.until("all are members", func() error { return w.whole() })
	return w
}

var quiet = slog.New(slog.DiscardHandler)

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
}

func (w *world) fatal(err error) { w.trial.Broken("fatal: %v", err) }

// rand is a source of choices of its own.
func (w *world) rand(stream uint64) *mrand.Rand { return mrand.New(mrand.NewPCG(w.seed, stream)) }

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, fmt.Sprintf("%12v ", time.Since(w.trial.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

func (w *world) box() *box {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.boxes) + 1
	b := &box{name: fmt.Sprintf("box %d", n), dir: filepath.Join(w.dir, fmt.Sprintf("%d.0", n)), addr: nowhere, lock: make(chan struct{}, 1)}
	w.must(os.Mkdir(b.dir, 0o700))
	w.boxes = append(w.boxes, b)
	return b
}

// all are the boxes that are not evicted.
func (w *world) all() (all []*box) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.boxes {
		if !b.evicted {
			all = append(all, b)
		}
	}
	return all
}

// running are the gateways that run, those that were evicted too if asked for.
func (w *world) running(evicted bool) (all []*process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.boxes {
		if b.process != nil && (evicted || !b.evicted) {
			all = append(all, b.process)
		}
	}
	return all
}

func (w *world) locate(_ context.Context, n cert.NodeID) ([]netip.AddrPort, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.boxes {
		if b.node == n {
			return []netip.AddrPort{b.addr}, nil
		}
	}
	return nil, errors.New("unknown")
}

// start switches a gateway on. It gets a new address, so that nothing of the
// process before reaches it.
func (w *world) start(b *box) error {
	b.lock <- struct{}{}
	defer func() { <-b.lock }()
	if b.process != nil {
		return nil
	}
	keys, err := keyfile.Load(b.dir, keyfile.Options{TPM: keyfile.NoTPM})
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.hosts++
	host := w.net.Host(netip.AddrFrom4([4]byte{10, 1, byte(w.hosts >> 8), byte(w.hosts)}))
	b.addr, b.node = netip.AddrPortFrom(host.Addr(), port), keys.Node
	b.disks++
	p := &process{world: w, box: b, addr: b.addr, gone: make(chan struct{}), failed: make(chan struct{})}
	p.disk = &disk{dir: b.dir, next: fmt.Sprintf("%s.%d", b.dir[:len(b.dir)-len(filepath.Ext(b.dir))], b.disks), rand: w.rand(uint64(1000 + w.hosts)),
		lies: w.plan.sabotage.lies, crashed: p.fail}
	w.connect()
	w.mu.Unlock()
	listener, err := host.Listen(port)
	if err != nil {
		return err
	}
	p.Member, err = member.Open(member.Config{Dir: b.dir, Keys: keys, Listener: listener, Locate: w.locate, Dial: p.dial(host), Now: b.now, Log: quiet,
		Peers:   func(*fabric.State) []found.Peer { return nil },
		Cluster: cluster.Config{Log: quiet, Fatal: p.fatal, Now: b.now, Step: p.disk.step}})
	if err != nil {
		return err
	}
	w.mu.Lock()
	b.process, b.ready = p, true
	w.settling++
	settler := &Client{Trial: w.trial, ID: 100 + w.hosts, Rand: w.rand(10_000 + w.settling), Hasty: w.plan.sabotage.hasty}
	w.mu.Unlock()
	w.wg.Go(func() { settler.Settle(p) })
	w.wg.Go(p.watch)
	w.wg.Go(func() { // its end by its own hand
		select {
		case <-p.failed:
			w.kill(b, false, "its disk")
		case <-p.gone:
		}
	})
	return nil
}

func (b *box) now() time.Time { return time.Now().Add(time.Duration(b.skew.Load())) }

func (p *process) dial(host *wiretest.Host) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if p.dead.Load() {
			return nil, errDead
		}
		return host.Dial(ctx, to)
	}
}

// fatal is where a process ends: whoever calls it never comes back.
func (p *process) fatal(err error) {
	if !errors.Is(err, errDead) && !errors.Is(err, errFull) {
		p.world.trial.Broken("%s: fatal: %v", p.box.name, err)
	}
	p.fail()
	runtime.Goexit()
}

func (p *process) fail() { p.once.Do(func() { close(p.failed) }) }

// watch checks that what the gateway knows never goes back.
func (p *process) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changed, last, led := p.Watch(ctx), p.State(), false
	for {
		s := p.State()
		if s.Index < last.Index || s.Time < last.Time {
			p.world.trial.Broken("%s: its state went from index %d, time %d to %d, %d", p.box.name, last.Index, last.Time, s.Index, s.Time)
		}
		last = s
		if leads := p.Leads(); leads != led {
			if led = leads; leads {
				p.world.report.elections.Add(1)
				p.world.note("%s leads", p.box.name)
			}
		}
		select {
		case <-changed:
		case <-p.gone:
			return
		}
	}
}

// kill pulls the plug: nothing that the process does from now on is seen by
// anybody. What it was asked has no answer. A process that is killed, where a
// power cut would leave silence, has its kernel reset its connections.
func (w *world) kill(b *box, reset bool, why string) {
	b.lock <- struct{}{}
	defer func() { <-b.lock }()
	p := b.process
	if p == nil {
		return
	}
	p.dead.Store(true)
	w.mu.Lock()
	b.process, b.addr = nil, nowhere
	for _, o := range w.boxes {
		if o.process != nil {
			w.net.Cut(p.addr.Addr(), o.addr.Addr())
			w.net.Cut(o.addr.Addr(), p.addr.Addr())
			if reset {
				w.net.Reset(p.addr.Addr(), o.addr.Addr())
			}
		}
	}
	w.mu.Unlock()
	close(p.gone)
	if n := p.Trail().Lost(); n > 0 && !w.plan.sabotage.lies {
		w.trial.Broken("%s lost %d files of the audit trail", b.name, n)
	}
	w.note("%s is off: %s", b.name, why)
	w.report.kills.Add(1)
	dir, err := p.disk.powerOff()
	if err != nil {
		w.trial.Broken("%s: copy its disk: %v", b.name, err)
	}
	b.dir = dir
	w.wg.Go(func() {
		if err := p.Close(); err != nil && !errors.Is(err, errDead) {
			w.note("%s: %v", b.name, err)
		}
		os.RemoveAll(p.disk.dir)
	})
}

// pick is a gateway that runs, sometimes one that was evicted.
func (w *world) pick(r *mrand.Rand) Gateway {
	all := w.running(r.IntN(2) == 0)
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

// connect has the network be as the faults want it. w.mu is held.
func (w *world) connect() {
	for _, a := range w.boxes {
		for _, b := range w.boxes {
			if a == b || a.addr == nowhere || b.addr == nowhere {
				continue
			}
			from, to := a.addr.Addr(), b.addr.Addr()
			w.net.Latency(from, to, w.latency[[2]*box{a, b}])
			if w.cuts[[2]*box{a, b}] > 0 {
				w.net.Cut(from, to)
			} else {
				w.net.Heal(from, to)
			}
		}
	}
}

// cut changes by how many faults ways are cut.
func (w *world) cut(by int, ways ...[2]*box) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, way := range ways {
		w.cuts[way] += by
	}
	w.connect()
}

// enroll has a fresh gateway become a member, by whoever will do it.
func (w *world) enroll(b *box) error {
	r := w.rand(uint64(500 + len(w.boxes)))
	node := cert.NodeID(r.Uint64()>>16 | 1)
	keys, err := keyfile.New(node, keyfile.Options{TPM: keyfile.NoTPM}, rand.Reader)
	if err == nil {
		err = keyfile.Create(b.dir, keys, rand.Reader, nil)
	}
	if err != nil {
		return err
	}
	public := keys.Operational.PublicKey()
	ask := fabric.ReserveGateway{Node: node, Name: b.name, PublicKey: public[:], SealKey: keys.Sealing[0].Public(), Version: fabric.Version, Storage: string(keys.Storage)}
	// However often it is asked for, it is one thing.
	o := w.trial.Begin(Op{Client: 1, Kind: Enroll, Key: node.String()})
	for w.goesOn() {
		others := w.running(false)
		if len(others) == 0 {
			continue
		}
		by := others[r.IntN(len(others))]
		m, err := within(by, func() (found.Membership, error) {
			ctx, cancel := context.WithTimeout(context.Background(), callTime)
			defer cancel()
			return by.Steward.Enroll(ctx, ask)
		})
		if err != nil {
			w.note("%s is not enrolled yet: %v", b.name, err)
			continue
		}
		w.trial.End(o, nil, nil)
		w.note("%s is enrolled as %v", b.name, node)
		if err := found.Join(found.Config{Dir: b.dir, TPM: keyfile.NoTPM, Cluster: cluster.Config{Log: quiet, Fatal: w.fatal}}, m); err != nil {
			return err
		}
		return w.start(b)
	}
	return fmt.Errorf("%s was never enrolled", b.name)
}

// goesOn waits a moment, and reports whether the round is not over.
func (w *world) goesOn() bool {
	select {
	case <-time.After(time.Second):
		return true
	case <-w.ended:
		return false
	}
}

// whole reports what is left to do until all is as it should be.
func (w *world) whole() error {
	var leader *process
	all := w.all()
	if len(w.replacing) > 0 {
		return errors.New("a gateway is being replaced")
	}
	for _, b := range all {
		w.mu.Lock()
		p := b.process
		w.mu.Unlock()
		if p == nil {
			return fmt.Errorf("%s is off", b.name)
		}
		if p.Leads() {
			leader = p
		}
	}
	if leader == nil {
		return errors.New("nobody leads")
	}
	s, err := leader.Current(w.t.Context())
	if err != nil {
		return err
	}
	members, voters := leader.Members(), leader.voters()
	switch {
	case len(s.Gateways) != len(all) || len(s.Members()) != len(all) || len(members) != len(all):
		return fmt.Errorf("%d gateways, %d members, %d in Raft's eyes, of %d", len(s.Gateways), len(s.Members()), len(members), len(all))
	case voters != (len(all)+1)/2*2-1:
		return fmt.Errorf("%d votes", voters)
	case !s.SealedRight():
		return errors.New("the secrets are not sealed for the members")
	}
	for _, g := range s.Members() {
		if s.OpensAlone(g.Node) || g.CATVersion() != s.Home.GatewayCAT.Version() {
			return fmt.Errorf("gateway %v is behind with its key or certificate", g.Node)
		}
	}
	for _, d := range s.Devices {
		if d.Phase != fabric.Admitted {
			return fmt.Errorf("device %v is %v", d.Node, d.Phase)
		}
	}
	for _, b := range all {
		p := w.processOf(b)
		if p == nil { // meanwhile
			return fmt.Errorf("%s is off", b.name)
		}
		if got := p.State().Index; got < s.Index {
			return fmt.Errorf("%s is at index %d of %d", b.name, got, s.Index)
		}
	}
	return nil
}

func (p *process) voters() (n int) {
	for _, m := range p.Members() {
		if m.Voter {
			n++
		}
	}
	return n
}

func (w *world) until(what string, done func() error) bool {
	var err error
	for range 2400 {
		if err = done(); err == nil {
			return true
		}
		time.Sleep(250 * time.Millisecond)
	}
	w.trial.Broken("not within ten minutes: %s: %v", what, err)
	return false
}

// within calls a gateway that may die meanwhile.
func within[T any](p *process, call func() (T, error)) (v T, err error) {
	type answer struct {
		v   T
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		defer close(answers) // a gateway that fails never comes back
		v, err := call()
		answers <- answer{v, err}
	}()
	select {
	case a, ok := <-answers:
		if ok && !p.dead.Load() {
			return a.v, a.err
		}
	case <-p.gone:
	}
	return v, errDead
}

func (p *process) Node() cert.NodeID     { return p.Member.Node }
func (p *process) Done() <-chan struct{} { return p.gone }
func (p *process) Pairings() *sync.Map   { return &p.pairings }

func (p *process) Propose(ctx context.Context, c fabric.Command) (*fabric.State, error) {
	return within(p, func() (*fabric.State, error) { return p.Member.Propose(ctx, c) })
}

func (p *process) Current(ctx context.Context) (*fabric.State, error) {
	if p.world.plan.sabotage.stale {
		return p.State(), nil
	}
	return within(p, func() (*fabric.State, error) { return p.Member.Current(ctx) })
}

func (p *process) Sign(ctx context.Context, n cert.NodeID, key cert.PublicKey) ([]byte, error) {
	return within(p, func() ([]byte, error) {
		noc, _, err := p.Authority.Issue(ctx, n, key)
		return noc, err
	})
}

func (p *process) Evict(ctx context.Context, n cert.NodeID) error {
	_, err := within(p, func() (struct{}, error) { return struct{}{}, p.Steward.Evict(ctx, n, "stolen") })
	return err
}

func (p *process) SetNetwork(ctx context.Context, name, credentials string) (*fabric.State, error) {
	return within(p, func() (*fabric.State, error) {
		n := fabric.Network{Name: name, Kind: fabric.WiFi, ID: []byte(name)}
		if err := p.Authority.SealNetwork(ctx, &n, seal.NewSecret([]byte(credentials))); err != nil {
			return nil, err
		}
		return p.Member.Propose(ctx, fabric.Command{SetNetwork: &fabric.SetNetwork{Name: name, Kind: n.Kind, ID: n.ID, Sealed: n.Sealed, DataKey: n.DataKey}})
	})
}

func (p *process) OpenNetwork(ctx context.Context, s *fabric.State, name string) (string, error) {
	return within(p, func() (string, error) {
		secret, err := p.Vault.OpenNetwork(ctx, s, s.Networks[name])
		if err != nil {
			return "", err
		}
		defer secret.Erase()
		return string(secret.Reveal()), nil
	})
}
