package portal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/cluster/steward"
	"gatehouse/cluster/wire"
	"gatehouse/commissioner"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Fabric is what the home's devices rest on: the answer to GET fabric.
type Fabric struct {
	Home       string    `json:"home"`
	FabricID   string    `json:"fabric_id"`
	Compressed string    `json:"compressed_fabric_id"`
	Root       string    `json:"root"` // its key's id
	Generation uint32    `json:"generation"`
	Birth      time.Time `json:"birth"`
	Devices    int       `json:"devices"`
	// Reroot is the change of the root that goes on, if one does.
	Reroot *Reroot `json:"reroot,omitempty"`
	// Kept are devices that are moved and still have a former fabric; part of
	// Reroot's while one goes on.
	Kept []Straggler `json:"former_fabric_kept,omitempty"`
}

// Reroot is how far a change of the root is.
type Reroot struct {
	Since      time.Time   `json:"since"`
	FormerRoot string      `json:"former_root"`
	Compressed string      `json:"former_compressed_fabric_id"`
	Moved      int         `json:"moved"` // devices that are on the present fabric
	Stragglers []Straggler `json:"stragglers"`
}

// Straggler is a device that is not on the present fabric, or not on it alone.
type Straggler struct {
	Node  string `json:"node_id"`
	Name  string `json:"name"`
	Owner string `json:"owner"` // the gateway that moves it
	// State is former (it was not moved), in-doubt (it may have been), or
	// moved (it has the former fabric still).
	State string `json:"state"`
	// The rest is told by the owner, and empty if that is away, or has not
	// tried yet.
	Since    *time.Time            `json:"since,omitempty"`
	Attempts int                   `json:"attempts,omitempty"`
	Failure  *commissioner.Failure `json:"failure,omitempty"`
}

func (p *Portal) fabric(w http.ResponseWriter, r *http.Request) error {
	s := p.C.Ledger.State()
	f := Fabric{Home: s.Home.Name, FabricID: s.Home.FabricID.String(), Generation: s.Generation().Number, Birth: time.UnixMilli(s.Home.Birth).UTC(),
		Devices: len(s.Devices)}
	var err error
	if f.Root, f.Compressed, err = rootNames(s.Home.Root, s.Home.FabricID); err != nil {
		return err
	}
	f.Kept = p.stragglers(s.Moved(), "moved")
	if s.Former != nil {
		f.Reroot = &Reroot{Since: time.UnixMilli(s.Former.Since).UTC(), Moved: len(s.Devices) - len(s.Stragglers()), Stragglers: []Straggler{}}
		if f.Reroot.FormerRoot, f.Reroot.Compressed, err = rootNames(s.Former.Root, s.Home.FabricID); err != nil {
			return err
		}
		f.Reroot.Stragglers = append(f.Reroot.Stragglers, p.stragglers(s.Stragglers(), "former")...)
	}
	if r.Header.Get(forwarded) == "" {
		p.askOwners(r, &f)
	}
	return reply(w, f)
}

// rootNames are what a root and its fabric are called.
func rootNames(rcac []byte, id cert.FabricID) (root, compressed string, err error) {
	ca, err := found.Root(rcac)
	if err != nil {
		return "", "", err
	}
	key := ca.Certificate().PublicKey
	return key.ID().String(), cert.CompressFabric(key, id).String(), nil
}

func (p *Portal) stragglers(devices []*fabric.Device, state string) (list []Straggler) {
	for _, d := range devices {
		v := Straggler{Node: d.Node.String(), Name: d.Name, Owner: d.Gateway.String(), State: state}
		if d.Next != nil && d.Next.Phase == fabric.Issued {
			v.State = "in-doubt"
		}
		health, _ := p.K.Health(d.Node)
		tried, ok := p.K.Straggles(d.Node)
		switch {
		case !health.Since.IsZero() && !health.Reachable:
			v.Since = &health.Since
			v.Failure = health.Failure
		case ok:
			v.Since, v.Failure = &tried.Since, tried.Failure
		}
		v.Attempts = tried.Attempts
		list = append(list, v)
	}
	return list
}

// askLimit bounds the asking of one owner, who may be away.
const askLimit = 3 * time.Second

// askOwners fills in what the devices' owners know of them.
func (p *Portal) askOwners(r *http.Request, f *Fabric) {
	mine := [][]Straggler{f.Kept}
	if f.Reroot != nil {
		mine = append(mine, f.Reroot.Stragglers)
	}
	owners := map[string]bool{}
	for _, list := range mine {
		for _, v := range list {
			owners[v.Owner] = v.Owner != p.M.Node.String()
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for owner, other := range owners {
		if !other {
			continue
		}
		wg.Go(func() {
			theirs, err := p.askOwner(r.Context(), owner, r.URL.Path)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, list := range mine {
				for i, v := range list {
					if t, ok := theirs[v.Node]; ok && v.Owner == owner {
						list[i].Since, list[i].Attempts, list[i].Failure = t.Since, t.Attempts, t.Failure
					}
				}
			}
		})
	}
	wg.Wait()
}

// maxFabricAnswer bounds an owner's answer, in octets.
const maxFabricAnswer = 4 << 20

func (p *Portal) askOwner(ctx context.Context, owner, path string) (map[string]Straggler, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	n, err := strconv.ParseUint(owner, 16, 64)
	if err != nil {
		return nil, err
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodGet, wire.URL(cert.NodeID(n), path), nil)
	if err != nil {
		return nil, err
	}
	out.Header.Set(forwarded, p.M.Node.String())
	resp, err := p.M.Client.Do(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var f Fabric
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFabricAnswer)).Decode(&f); err != nil {
		return nil, err
	}
	theirs := map[string]Straggler{}
	if f.Reroot != nil {
		f.Kept = append(f.Kept, f.Reroot.Stragglers...)
	}
	for _, v := range f.Kept {
		theirs[v.Node] = v
	}
	return theirs, nil
}

// Rerooted is the answer to POST fabric/reroot, whose body is a found.NewRoot.
type Rerooted struct {
	Generation uint32 `json:"generation"`
	Devices    int    `json:"devices"` // that are to be moved
}

// maxNewRoot bounds a found.NewRoot in JSON.
const maxNewRoot = 8 << 10

// reroot takes a new root, and keeps nothing of its keys.
func (p *Portal) reroot(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength <= 0 || r.ContentLength > maxNewRoot {
		return invalid(errors.New("the new root is missing or too long"))
	}
	body := make([]byte, r.ContentLength) // that there be one copy to erase
	defer clear(body)
	var n found.NewRoot
	defer n.Erase()
	_, err := io.ReadFull(r.Body, body)
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	if err != nil {
		return invalid(errors.New("the new root makes no sense")) // err might quote it
	}
	ctx, cancel := limited(r)
	defer cancel()
	switch err := p.M.Steward.Reroot(ctx, &n); {
	case errors.Is(err, steward.ErrRoot):
		return invalid(err)
	case err != nil:
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	s, err := p.C.Ledger.Current(ctx)
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	return reply(w, Rerooted{s.Generation().Number, len(s.Stragglers())})
}

// FinishReroot asks to forget the former fabric, and the devices that are on it
// still: exactly these, by node id.
type FinishReroot struct {
	GiveUp []string `json:"give_up"`
}

// FinishedReroot is the answer to POST fabric/reroot/finish.
type FinishedReroot struct {
	GivenUp int `json:"given_up"`
}

func (p *Portal) finishReroot(w http.ResponseWriter, r *http.Request) error {
	var req FinishReroot
	if err := decode(r, &req); err != nil {
		return err
	}
	nodes := make([]cert.NodeID, 0, len(req.GiveUp))
	for _, text := range req.GiveUp {
		n, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			return invalid(err)
		}
		nodes = append(nodes, cert.NodeID(n))
	}
	if err := p.M.Steward.EndReroot(r.Context(), nodes); err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	return reply(w, FinishedReroot{len(nodes)})
}
