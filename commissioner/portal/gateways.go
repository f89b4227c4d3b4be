package portal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"gatehouse/cluster/steward"
	"gatehouse/commissioner"
	"gatehouse/commissioner/enroll"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Gateway is a gateway as the API shows it.
type Gateway struct {
	Node   string `json:"node_id"` // 16 hex digits
	Name   string `json:"name"`
	Self   bool   `json:"self,omitempty"` // it is the one that answers
	Leader bool   `json:"leader,omitempty"`
	// Role is voter, learner (it follows and has no vote), or joining.
	Role string `json:"role"`
	// AwaySeconds is how long the leader has not heard of it. Only the leader
	// tells.
	AwaySeconds float64 `json:"away_s,omitempty"`
	Keys        string  `json:"keys"` // what keeps its own: file or tpm2
	Version     uint8   `json:"version"`
	Devices     int     `json:"devices"` // whose owner it is
}

// Gateways is the answer to GET gateways, at a level. Role, lead and absence
// are what this gateway happens to know, at every level.
type Gateways struct {
	Gateways []Gateway `json:"gateways"`
	Index    uint64    `json:"index"` // of the trust state that it is from
	// Trusting are the devices whose access lists still let evicted gateways
	// in; they are mended as soon as they can be reached.
	Trusting []Device `json:"trusting_evicted"`
	// Exposed are the networks whose credentials an evicted gateway knew.
	Exposed []string `json:"exposed_networks"`
}

func (p *Portal) gateways(w http.ResponseWriter, r *http.Request) error {
	s, err := p.atLevel(r)
	if err != nil {
		return err
	}
	list := Gateways{Gateways: []Gateway{}, Index: s.Index, Trusting: []Device{}, Exposed: []string{}}
	roles, away := map[cert.NodeID]string{}, map[cert.NodeID]time.Duration{}
	for _, m := range p.M.Members() {
		away[m.Node] = m.Away
		if roles[m.Node] = "learner"; m.Voter {
			roles[m.Node] = "voter"
		}
	}
	owned := map[cert.NodeID]int{}
	for _, d := range s.Devices {
		owned[d.Gateway]++
	}
	for _, g := range slices.SortedFunc(maps.Values(s.Gateways), func(a, b *fabric.Gateway) int { return cmp.Compare(a.Node, b.Node) }) {
		view := Gateway{Node: g.Node.String(), Name: g.Name, Self: g.Node == p.M.Node, Leader: g.Node == p.M.Leader(), Role: roles[g.Node],
			AwaySeconds: away[g.Node].Seconds(), Keys: g.Storage, Version: g.Version, Devices: owned[g.Node]}
		if view.Role == "" {
			view.Role = "joining"
		}
		list.Gateways = append(list.Gateways, view)
	}
	for _, d := range s.TrustingEvicted() {
		list.Trusting = append(list.Trusting, p.view(d))
	}
	for _, kind := range []fabric.NetworkKind{fabric.WiFi, fabric.Thread} {
		for _, n := range s.NetworksOf(kind) {
			if n.Exposed {
				list.Exposed = append(list.Exposed, n.Name)
			}
		}
	}
	return reply(w, list)
}

// AddGateway asks for a new gateway, by the code that it shows.
type AddGateway struct {
	Code string `json:"code"`
}

// Enrolled is the last line of a gateway's admission that succeeded.
type Enrolled struct {
	Gateway string `json:"enrolled"`
}

func (p *Portal) addGateway(w http.ResponseWriter, r *http.Request) error {
	var req AddGateway
	if err := decode(r, &req); err != nil {
		return err
	}
	payloads, err := setup.Parse(req.Code)
	if err != nil {
		return err
	}
	if len(payloads) != 1 {
		return invalid(errors.New("a gateway's code is of one gateway"))
	}
	s := newStream(w)
	n, err := p.E.Admit(r.Context(), payloads[0], func(e enroll.Progress) {
		s.line(commissioner.Progress{Step: e.Step, Of: e.Of, Name: e.Name, State: e.State, MS: e.MS, Detail: e.Detail})
	})
	if err != nil {
		s.end(enrolFailure(err))
		return nil
	}
	s.line(Enrolled{n.String()})
	return nil
}

func enrolFailure(err error) error {
	var f *enroll.Failure
	if errors.As(err, &f) {
		return &commissioner.Failure{Code: commissioner.Code(f.Code), Step: f.Step, Message: f.Message, Remedy: f.Remedy}
	}
	return err
}

// LostRemedy is the way out for a gateway whose home has lost the others.
const LostRemedy = "stop this gateway, run `gatehouse backup FILE` on it, and `gatehouse restore FILE` into another --state"

// Evicted is the answer to an eviction.
type Evicted struct {
	Gateway string `json:"evicted"`
}

func (p *Portal) evictGateway(w http.ResponseWriter, r *http.Request) error {
	g, err := p.findGateway(r.PathValue("node"))
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	err = p.M.Steward.Evict(ctx, g.Node, r.URL.Query().Get("reason"))
	switch {
	case errors.Is(err, steward.ErrNeedsKit):
		return &commissioner.Failure{Code: "recovery-kit-needed", Message: err.Error(), Remedy: "switch that gateway on once more and evict it then; if it is lost for good, bring the home back with the recovery kit: " + LostRemedy}
	case err != nil:
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	return reply(w, Evicted{g.Node.String()})
}

// findGateway is the gateway of a name or node id.
func (p *Portal) findGateway(name string) (found *fabric.Gateway, err error) {
	s := p.M.State()
	if n, err := strconv.ParseUint(name, 16, 64); err == nil && len(name) == 16 && s.Gateways[cert.NodeID(n)] != nil {
		return s.Gateways[cert.NodeID(n)], nil
	}
	for _, g := range s.Gateways {
		if g.Name != name {
			continue
		}
		if found != nil {
			return nil, invalid(fmt.Errorf("several gateways are called %q: give the node id", name))
		}
		found = g
	}
	if found == nil {
		return nil, &commissioner.Failure{Code: "gateway-unknown", Message: fmt.Sprintf("there is no gateway %q", name), Remedy: "see `gatehouse gateways`"}
	}
	return found, nil
}

// Transferred is the answer to a change of the leader.
type Transferred struct {
	Leader string `json:"leader"`
}

func (p *Portal) transfer(w http.ResponseWriter, r *http.Request) error {
	if !p.M.Leads() {
		return &commissioner.Failure{Code: "not-the-leader", Message: "this gateway does not lead the others", Remedy: fmt.Sprintf("ask the gateway that does, %v", p.M.Leader())}
	}
	if err := p.M.Transfer(); err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	return reply(w, Transferred{p.M.Leader().String()})
}
