// Package cluster is the gateways' one memory: the trust state of package
// fabric, replicated by Raft. One gateway is a cluster of one.
//
//	err := cluster.Bootstrap(cfg)  // once in the life of a home
//	c, err := cluster.Open(cfg)
//	state, err := c.Propose(ctx, command)
//
// It promises that Propose returns a State only after the command is applied
// and on a quorum's disks, that Current is never older than the call, and that
// nothing but Bootstrap ever makes a cluster. After any failure of the disk,
// or a log entry that it cannot read, it calls Config.Fatal and acknowledges
// nothing more. It never logs what a command says, and holds no secret but as
// ciphertext.
package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/cluster/durable"
	"gatehouse/cluster/store"
	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	// A leader that is not heard of for so long is replaced.
	electionTimeout = time.Second
	leaderLease     = 500 * time.Millisecond
	// ioTimeout bounds the sending of a message to another gateway: after it
	// one whose cable was pulled counts as away.
	ioTimeout = 1500 * time.Millisecond

	// A pairing is three entries of about 1 KiB, a snapshot of a hundred
	// devices 100 KiB: an SD card is written a hundredth part more for
	// snapshots, and a start replays at most a few hundred entries more than
	// snapshotEvery. The log kept reaches back beyond the snapshot before
	// last.
	snapshotEvery = 512
	snapshotCheck = 5 * time.Minute
	keepLog       = 3 * snapshotEvery

	// aloneWait bounds how long the only voter may take to lead. It needs
	// four writes to its disk and nobody's vote.
	aloneWait = 20 * time.Second
	pollEvery = time.Millisecond

	// patience bounds Propose and Current while nobody leads: several
	// elections.
	patience   = 20 * time.Second
	leaderPoll = 50 * time.Millisecond
)

// Errors that callers branch on. After ErrNotLeader nothing was tried.
var (
	ErrNotLeader = errors.New("no gateway leads the others: most of them must be up and reach each other")
	ErrClosed    = errors.New("the trust state is closed")
	// errUnheard leaves open what became of a request.
	errUnheard = errors.New("the leader was lost meanwhile")
)

// Config says whose memory this is and where.
type Config struct {
	Dir  string
	Node cert.NodeID // this gateway
	Log  *slog.Logger
	// Fatal must end the process: the disk is not to be trusted any more.
	Fatal func(error)
	// Transport reaches the other gateways; nil is a gateway alone. It finds
	// a peer by its server id, which is its node id in hex.
	Transport raft.Transport
	// Peers asks the other gateways; nil is a gateway alone.
	Peers  wire.Asker
	Now    func() time.Time // nil: the system's
	Random io.Reader        // nil: the system's
	Step   durable.Step     // nil but in tests, which break the disk with it
}

// Cluster is one gateway's part in the cluster. Its methods may be called from
// several goroutines.
type Cluster struct {
	cfg      Config
	machine  *machine
	known    atomic.Pointer[fabric.State] // from before this process
	store    *store.Store
	raft     *raft.Raft
	watchers watchers
	absent   absent
	leaving  leaving
	observer *raft.Observer
	closed   chan struct{}
	duties   sync.WaitGroup
	asked    atomic.Int64 // how many questions Raft has not answered
}

func (cfg Config) id() raft.ServerID { return raft.ServerID(cfg.Node.String()) }

func (cfg Config) store() store.Config {
	return store.Config{Dir: cfg.Dir, Owner: cfg.id(), Fatal: cfg.Fatal, Step: cfg.Step}
}

func (cfg Config) transport() raft.Transport {
	if cfg.Transport != nil {
		return cfg.Transport
	}
	_, t := raft.NewInmemTransport(raft.ServerAddress(cfg.id()))
	return t
}

func (cfg Config) log() *slog.Logger { return cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)) }

func (cfg Config) raft() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = cfg.id()
	c.Logger = newRaftLog(cfg.log())
	c.NoLegacyTelemetry = true
	c.HeartbeatTimeout = electionTimeout + impatience
	c.ElectionTimeout = electionTimeout + impatience
	c.LeaderLeaseTimeout = leaderLease
	c.SnapshotThreshold = snapshotEvery
	c.SnapshotInterval = snapshotCheck
	c.TrailingLogs = keepLog
	return c
}

// Bootstrap makes the cluster, with this gateway as its only member, in a
// directory that has none. A crash leaves it all there or nothing.
func Bootstrap(cfg Config) error {
	return store.Create(cfg.store(), func(s *store.Store) error {
		return raft.BootstrapCluster(cfg.raft(), s, s, s, cfg.transport(), raft.Configuration{
			Servers: []raft.Server{{Suffrage: raft.Voter, ID: cfg.id(), Address: raft.ServerAddress(cfg.id())}}})
	})
}

// Join makes an empty log in a directory that has none: a leader fills it. It
// never makes a cluster.
func Join(cfg Config) error { return store.Create(cfg.store(), nil) }

// Exists reports whether there is a log in the directory, whole or not.
func Exists(cfg Config) bool { return store.Exists(cfg.Dir) }

// Open begins to take part in the cluster. A gateway alone leads once Open
// returns, and State is complete. The error is store.ErrNone if there is no
// cluster in the directory.
func Open(cfg Config) (*Cluster, error) {
	s, err := store.Open(cfg.store())
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	transport := cfg.transport()
	if transport.LocalAddr() != raft.ServerAddress(cfg.id()) { // by which Raft names this gateway in votes
		return nil, errors.Join(fmt.Errorf("the transport's address is %q, not %s", transport.LocalAddr(), cfg.id()), s.Close())
	}
	c := &Cluster{cfg: cfg, store: s, closed: make(chan struct{})}
	records, err := cfg.openTrail(s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	c.machine = &machine{changed: c.watchers.notify, fatal: cfg.Fatal, committed: s.Commit, trail: records}
	c.machine.state.Store(&fabric.State{})
	c.known.Store(&fabric.State{})
	if c.raft, err = raft.NewRaft(cfg.raft(), c.machine, s, s, s, transport); err != nil {
		return nil, errors.Join(fmt.Errorf("take up the trust state in %s: %w", cfg.Dir, errors.Join(err, c.machine.refused)), s.Close())
	}
	if err := c.recall(); err != nil {
		return nil, errors.Join(fmt.Errorf("take up the trust state in %s: %w", cfg.Dir, err), c.raft.Shutdown().Error(), s.Close())
	}
	c.observe()
	if c.alone() {
		if err := c.lead(); err != nil {
			return nil, errors.Join(fmt.Errorf("take up the trust state in %s: %w", cfg.Dir, err), c.Close())
		}
	}
	if cfg.Peers != nil {
		go c.keep()
	}
	c.duties.Go(c.keepTrail)
	return c, nil
}

// alone reports whether this gateway's vote is all it takes to lead. One that
// is about to join has no vote.
func (c *Cluster) alone() bool {
	voters := 0
	mine := false
	for _, s := range c.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
			mine = mine || s.ID == c.cfg.id()
		}
	}
	return mine && voters == 1
}

// impatience is how much shorter the timeouts become in lead. Raft looks at
// its timers at once when they become shorter.
const impatience = time.Millisecond

// lead has the only voter elect itself without waiting for a leader first.
func (c *Cluster) lead() error {
	timeouts := c.raft.ReloadableConfig()
	timeouts.HeartbeatTimeout, timeouts.ElectionTimeout = electionTimeout, electionTimeout
	if err := c.raft.ReloadConfig(timeouts); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), aloneWait)
	defer cancel()
	for {
		_, err := c.Current(ctx)
		if !errors.Is(err, ErrNotLeader) {
			return err
		}
		if err := c.pause(ctx); err != nil {
			return fmt.Errorf("the only gateway did not come to lead: %w", err)
		}
	}
}

// observe turns changes of leadership into notices to watchers.
func (c *Cluster) observe() {
	events := make(chan raft.Observation, 1)
	c.observer = raft.NewObserver(events, false, func(o *raft.Observation) bool {
		c.absent.observe(o.Data)
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	c.raft.RegisterObserver(c.observer)
	go func() {
		for {
			select {
			case <-events:
				c.watchers.notify()
			case <-c.closed:
				return
			}
		}
	}()
}

// Leader is the gateway that leads, 0 if none is known.
func (c *Cluster) Leader() cert.NodeID {
	_, id := c.raft.LeaderWithID()
	return nodeOf(id)
}

// Leads reports whether this gateway leads, as far as it knows.
func (c *Cluster) Leads() bool { return c.raft.State() == raft.Leader }

// Snapshot makes a snapshot now, which else happens by itself.
func (c *Cluster) Snapshot() error { return c.raft.Snapshot().Error() }

// answered waits until Raft has answered what it was asked, which it does not
// do any more once it is shut down. Without a quorum it takes a lease.
func (c *Cluster) answered() {
	for end := time.Now().Add(2 * leaderLease); c.asked.Load() > 0 && time.Now().Before(end); {
		time.Sleep(pollEvery)
	}
}

// Close ends this gateway's part. What Propose and Current are still waiting
// for ends with ErrClosed.
func (c *Cluster) Close() error {
	close(c.closed)
	c.duties.Wait()
	c.answered()
	err := c.raft.Shutdown().Error()
	return errors.Join(err, c.store.Close())
}
