package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gatehouse/cluster/store"
	"gatehouse/cluster/trail"
	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// pathTrail gives records of the audit trail, as a run: those up to one.
const pathTrail = "/cluster/trail/{before}"

// Limits of ours.
const (
	maxRun    = 4 << 20 // octets of an answer
	trailTime = 10 * time.Second
	// trailSoon is when other gateways are asked again for what none had, at
	// first; then it takes twice as long each time, up to trailEvery.
	trailSoon  = 10 * time.Second
	trailEvery = time.Hour
)

// run is records and the tree before them.
type run struct {
	Before  audit.Tree `cbor:"0,keyasint"`
	Records [][]byte   `cbor:"1,keyasint"`
}

// Trail is the records of what was decided, as far as this gateway knows.
func (c *Cluster) Trail() *trail.Trail { return c.machine.trail }

// openTrail opens the records. Without a snapshot all follow from the log.
func (cfg Config) openTrail(s *store.Store) (*trail.Trail, error) {
	t, err := trail.Open(trail.Config{Dir: filepath.Join(cfg.Dir, "trail"), Log: cfg.log(), Fatal: cfg.Fatal, Step: cfg.Step})
	if err != nil {
		return nil, err
	}
	snapshots, err := s.List()
	if err == nil && len(snapshots) == 0 {
		err = t.Reset(audit.Tree{})
	}
	return t, err
}

// giveTrail answers who lacks records.
func (c *Cluster) giveTrail(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(r.PathValue("before"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer run
	var b []byte
	if answer.Before, answer.Records, err = c.Trail().Before(n); err == nil {
		b, err = encoding.Marshal(answer)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/cbor")
	w.Write(b)
}

// keepTrail looks once at all records that are on the disk, and then fetches
// those that are missing from other gateways, until the cluster is closed.
func (c *Cluster) keepTrail() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-c.closed
		cancel()
	}()
	if err := c.Trail().Check(); err != nil {
		c.cfg.log().Warn("records of the audit trail are not here", "err", err)
	}
	if c.cfg.Peers == nil {
		return
	}
	again, wait := time.NewTimer(0), trailSoon
	defer again.Stop()
	for {
		select {
		case <-c.closed:
			return
		case <-c.Trail().Gaps():
			wait = trailSoon
		case <-again.C:
		}
		if err := c.fillTrail(ctx); err != nil {
			again.Reset(wait)
			wait = min(2*wait, trailEvery)
		}
	}
}

// fillTrail closes gaps as far as it can. An error says that one is left.
func (c *Cluster) fillTrail(ctx context.Context) error {
	for {
		end, _, ok := c.Trail().Missing()
		if !ok {
			return nil
		}
		members := c.State().Members()
		members = slices.DeleteFunc(members, func(g *fabric.Gateway) bool { return g.Node == c.cfg.Node })
		err := errors.New("there is nobody to ask")
		for _, g := range members {
			if err = c.fetchTrail(ctx, g.Node, end.Size); err == nil {
				break
			}
			c.cfg.log().Info("a gateway gave no records of the audit trail", "gateway", g.Node, "before", end.Size, "err", err)
		}
		if err != nil {
			return err
		}
	}
}

// fetchTrail asks a gateway for the records before one.
func (c *Cluster) fetchTrail(ctx context.Context, from cert.NodeID, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, trailTime)
	defer cancel()
	path := "/cluster/trail/" + strconv.FormatUint(before, 10)
	status, b, err := wire.Ask(ctx, c.cfg.Peers, from, http.MethodGet, path, nil, maxRun)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK: // it lacks them too, or is of a release that knows no trail
		return fmt.Errorf("%d: %s", status, b)
	}
	var answer run
	if err := decoding.Unmarshal(b, &answer); err != nil {
		return err
	}
	return c.Trail().Fill(answer.Before, answer.Records)
}
