package portal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric"
	"gatehouse/radio/dnssd"
)

// assistantNetworks are the home's networks as Home Assistant's API wants them.
type assistantNetworks struct{ *assistant }

// defaultID is the id of the networks that devices are put on if nobody says
// which: the home's preferred ones.
const defaultID = "default"

func (a assistantNetworks) List() (all []hass.Network) {
	s := a.p.C.Ledger.State()
	for _, kind := range []fabric.NetworkKind{fabric.WiFi, fabric.Thread} {
		for _, n := range s.NetworksOf(kind) {
			v := hass.Network{ID: n.Name, Thread: kind == fabric.Thread}
			if n.Preferred {
				v.ID = defaultID
			}
			if v.Thread {
				v.Name = n.Name
				v.ExtendedPANID = panID(n.ID)
			} else {
				v.SSID = string(n.ID)
			}
			all = append(all, v)
		}
	}
	return all
}

func panID(id []byte) (v uint64) {
	for _, b := range id {
		v = v<<8 | uint64(b)
	}
	return v
}

// named is what a network is called here that a client calls by an id. The
// default one is the preferred one, whatever it is called.
func (a assistantNetworks) named(kind fabric.NetworkKind, id string) string {
	if id != defaultID {
		return id
	}
	for _, n := range a.p.C.Ledger.State().NetworksOf(kind) {
		if n.Preferred {
			return n.Name
		}
	}
	return map[fabric.NetworkKind]string{fabric.WiFi: "Wi-Fi", fabric.Thread: "Thread"}[kind]
}

func (a assistantNetworks) set(ctx context.Context, kind fabric.NetworkKind, id string, c Credentials) error {
	n, secret, err := c.network(ctx, a.p)
	if err != nil {
		return err
	}
	defer secret.Erase()
	n.Name = a.named(kind, id)
	return a.p.C.SetNetwork(ctx, n, secret)
}

func (a assistantNetworks) SetWiFi(ctx context.Context, id, ssid, password string) error {
	for _, n := range a.p.C.Ledger.State().NetworksOf(fabric.WiFi) {
		if password == "" && n.Name == a.named(fabric.WiFi, id) && bytes.Equal(n.ID, []byte(ssid)) {
			return nil // it stays as it is
		}
	}
	return a.set(ctx, fabric.WiFi, id, Credentials{SSID: ssid, Password: password, Open: password == ""})
}

func (a assistantNetworks) SetThread(ctx context.Context, id string, dataset []byte) error {
	return a.set(ctx, fabric.Thread, id, Credentials{Dataset: hex.EncodeToString(dataset)})
}

func (a assistantNetworks) Remove(ctx context.Context, id string, isThread bool) error {
	kind := fabric.WiFi
	if isThread {
		kind = fabric.Thread
	}
	_, err := a.p.C.Ledger.Propose(ctx, fabric.Command{RemoveNetwork: &fabric.RemoveNetwork{Name: a.named(kind, id)}})
	if r := (*fabric.Refusal)(nil); errors.As(err, &r) && r.Code == fabric.CodeNoNetwork {
		return nil
	}
	return err
}

// routersLook is how long border routers may take to show themselves: they
// answer at once, or are known already.
const routersLook = time.Second

// BorderRouters are those on the network.
func (a *assistant) BorderRouters() []hass.BorderRouter {
	ctx, cancel := context.WithTimeout(context.Background(), routersLook)
	defer cancel()
	seen := make(map[string]hass.BorderRouter)
	for e := range a.p.C.Discovery.Browse(ctx, dnssd.BorderRouters()) {
		if e.Change == dnssd.Removed {
			delete(seen, e.Instance)
			continue
		}
		t := e.Thread
		r := hass.BorderRouter{ExtendedAddress: upperHex(t.ExtendedAddress, 16), NetworkName: t.NetworkName, Vendor: t.Vendor, Model: t.Model, Host: e.Host, Addresses: []string{},
			ThreadVersion: t.ThreadVersion, State: upperHex(uint64(t.State), 8), Sources: []string{"meshcop"}, LastSeen: a.p.now().UnixMilli()}
		if t.ExtendedPANID != 0 {
			r.ExtendedPANID, r.Partition, r.ActiveTimestamp = upperHex(t.ExtendedPANID, 16), upperHex(uint64(t.Partition), 8), upperHex(t.ActiveTimestamp, 16)
		}
		for _, addr := range e.Addrs {
			r.Addresses, r.Port = append(r.Addresses, addr.IP.Addr().String()), addr.IP.Port()
		}
		seen[e.Instance] = r
	}
	return slices.AppendSeq([]hass.BorderRouter{}, maps.Values(seen))
}

func upperHex(v uint64, digits int) string { return fmt.Sprintf("%0*X", digits, v) }

// Diagnostics are nil where no border router may be asked.
func (a *assistant) Diagnostics(ctx context.Context, network uint64, force bool) (*hass.Diagnostics, error) {
	if a.p.Mesh == nil {
		return nil, nil
	}
	return a.p.Mesh.Of(ctx, network, force), nil
}

func (a *assistant) KnownDiagnostics(force bool) []*hass.Diagnostics {
	if a.p.Mesh == nil {
		return nil
	}
	return a.p.Mesh.Known(force)
}
