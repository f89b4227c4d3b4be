package portal

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
	"gatehouse/radio/thread"
)

// Network is a network as the API shows it. Its credentials are never shown.
type Network struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"` // wifi, thread
	ID        string    `json:"id"`   // SSID, or extended PAN id in hex
	Preferred bool      `json:"preferred"`
	SetAt     time.Time `json:"set_at"`
}

// Networks is the answer to GET networks.
type Networks struct {
	Networks []Network `json:"networks"`
}

func viewNetwork(n *fabric.Network) Network {
	v := Network{Name: n.Name, Kind: n.Kind.String(), ID: string(n.ID), Preferred: n.Preferred, SetAt: time.UnixMilli(n.SetAt).UTC()}
	if n.Kind == fabric.Thread {
		v.ID = hex.EncodeToString(n.ID)
	}
	return v
}

func (p *Portal) networks(w http.ResponseWriter, r *http.Request) error {
	list := Networks{[]Network{}}
	for _, n := range p.C.Ledger.State().Networks {
		list.Networks = append(list.Networks, viewNetwork(n))
	}
	slices.SortFunc(list.Networks, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	return reply(w, list)
}

// Credentials are those of a network, in one of these ways:
//
//   - ssid, with a password, or with open where it has none
//   - dataset: a Thread network's operational dataset in hex
//   - border_router: the address of its REST interface, which is asked for the
//     dataset; with new, one that has none is given a new one
//   - new alone: a Thread network that does not exist yet, for border routers
//     to be told of
type Credentials struct {
	SSID         string `json:"ssid,omitempty"`
	Password     string `json:"password,omitempty"`
	Open         bool   `json:"open,omitempty"`
	Dataset      string `json:"dataset,omitempty"`
	BorderRouter string `json:"border_router,omitempty"`
	New          bool   `json:"new,omitempty"`
}

// routerLimit bounds the asking of a border router.
const routerLimit = 20 * time.Second

// network is what the credentials are for, and what opens it.
func (c *Credentials) network(ctx context.Context, p *Portal) (fabric.Network, seal.Secret, error) {
	isThread := c.Dataset != "" || c.BorderRouter != "" || c.New
	switch {
	case c.SSID != "" && isThread:
		return fabric.Network{}, seal.Secret{}, invalid(errors.New("these are credentials for Wi-Fi and for Thread at once"))
	case c.SSID != "":
		if err := checkWiFi(c.SSID, c.Password, c.Open); err != nil {
			return fabric.Network{}, seal.Secret{}, invalid(err)
		}
		return fabric.Network{Kind: fabric.WiFi, ID: []byte(c.SSID)}, seal.NewSecret([]byte(c.Password)), nil
	case !isThread:
		return fabric.Network{}, seal.Secret{}, invalid(errors.New("there is neither an ssid nor a Thread dataset"))
	}
	d, err := c.dataset(ctx, p)
	if err == nil {
		err = d.Complete()
	}
	if err != nil {
		return fabric.Network{}, seal.Secret{}, threadFailure(err)
	}
	id, _ := d.ExtendedPANID()
	return fabric.Network{Kind: fabric.Thread, ID: fabric.ThreadID(id)}, seal.NewSecret(d.Reveal()), nil
}

// checkWiFi holds a password to the lengths that a device takes (Matter Core
// 11.9.7.3).
func checkWiFi(ssid, password string, open bool) error {
	const raw = 64 // hex digits of a key that was derived already
	_, notHex := hex.DecodeString(password)
	switch n := len(password); {
	case len(ssid) > 32:
		return errors.New("an SSID has at most 32 octets")
	case open != (n == 0):
		return errors.New("a network has a password, or is said to be open")
	case n == 0, n >= 8 && n < raw, n == raw && notHex == nil:
		return nil
	}
	return errors.New("a Wi-Fi password has 8 to 63 octets")
}

func (c *Credentials) dataset(ctx context.Context, p *Portal) (thread.Dataset, error) {
	if c.Dataset != "" {
		return thread.ParseHex(c.Dataset)
	}
	if c.BorderRouter == "" {
		return thread.New(rand.Reader, p.threadName(), p.now())
	}
	router, err := thread.NewClient(c.BorderRouter)
	if err != nil {
		return thread.Dataset{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, routerLimit)
	defer cancel()
	d, err := router.Active(ctx)
	if !c.New || !errors.Is(err, thread.ErrUnprovisioned) {
		return d, err
	}
	if d, err = thread.New(rand.Reader, p.threadName(), p.now()); err != nil {
		return d, err
	}
	return d, router.Provision(ctx, d)
}

// threadName is what a new Thread network is called: as the home, as far as
// that fits.
func (p *Portal) threadName() string {
	name := p.C.Ledger.State().Home.Name
	for len(name) > thread.MaxName {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	if name == "" {
		name = "Gatehouse"
	}
	return name
}

// threadFailure tells what is wrong with a dataset, or with a border router.
func threadFailure(err error) error {
	var refused *thread.Refusal
	if !errors.As(err, &refused) {
		return invalid(err)
	}
	f := commissioner.Fail(commissioner.CodeBorderRouter, err)
	f.Remedy = refused.Remedy
	return f
}

// setNetwork adds a network or gives it other credentials.
func (p *Portal) setNetwork(w http.ResponseWriter, r *http.Request) error {
	var req Credentials
	if err := decode(r, &req); err != nil {
		return err
	}
	n, secret, err := req.network(r.Context(), p)
	if err != nil {
		return err
	}
	defer secret.Erase()
	n.Name = r.PathValue("name")
	if err := p.C.SetNetwork(r.Context(), n, secret); err != nil {
		return err
	}
	return p.showNetwork(w, n.Name)
}

func (p *Portal) showNetwork(w http.ResponseWriter, name string) error {
	n, err := p.C.NetworkNamed(name)
	if err != nil {
		return err
	}
	return reply(w, viewNetwork(n))
}

func (p *Portal) preferNetwork(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := p.propose(r, fabric.Command{PreferNetwork: &fabric.PreferNetwork{Name: name}}); err != nil {
		return err
	}
	return p.showNetwork(w, name)
}

func (p *Portal) removeNetwork(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := p.propose(r, fabric.Command{RemoveNetwork: &fabric.RemoveNetwork{Name: name}}); err != nil {
		return err
	}
	return reply(w, Removed{name})
}

// Health is what keeps devices of a network from being reached from here.
type Health struct {
	Findings []commissioner.Reason `json:"findings"` // none: all is well
}

func (p *Portal) networkHealth(w http.ResponseWriter, r *http.Request) error {
	n, err := p.C.NetworkNamed(r.PathValue("name"))
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	findings, err := p.C.NetworkHealth(ctx, n)
	if err != nil {
		return err
	}
	if findings == nil {
		findings = []commissioner.Reason{}
	}
	return reply(w, Health{findings})
}

// DeviceNetworks are the networks a device was told of.
type DeviceNetworks struct {
	Networks []keeper.DeviceNetwork `json:"networks"`
}

// ChangeNetworks changes them in one of three ways.
type ChangeNetworks struct {
	Add    string `json:"add,omitempty"`    // name of one of the home's networks
	Remove string `json:"remove,omitempty"` // SSID or extended PAN id
	Move   string `json:"move,omitempty"`   // the same
	Place  int    `json:"place,omitempty"`  // to where, from 1
}

func (p *Portal) deviceNetworks(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	networks, err := p.K.Networks(ctx, d.Node)
	if err != nil {
		return err
	}
	if networks == nil {
		networks = []keeper.DeviceNetwork{}
	}
	return reply(w, DeviceNetworks{networks})
}

func (p *Portal) changeDeviceNetworks(w http.ResponseWriter, r *http.Request) error {
	var req ChangeNetworks
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	switch add, remove, move := req.Add != "", req.Remove != "", req.Move != ""; {
	case add && !remove && !move:
		err = p.K.AddNetwork(ctx, d.Node, req.Add)
	case remove && !add && !move:
		err = p.K.RemoveNetwork(ctx, d.Node, req.Remove)
	case move && !add && !remove:
		err = p.K.MoveNetwork(ctx, d.Node, req.Move, req.Place)
	default:
		err = invalid(errors.New("one change at a time, and not none"))
	}
	if err != nil {
		return err
	}
	return p.deviceNetworks(w, r)
}
