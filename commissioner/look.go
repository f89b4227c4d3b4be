package commissioner

import (
	"cmp"
	"context"
	"slices"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/fabric"
)

// Seen is a network that a device sees.
type Seen struct {
	Kind   string `json:"kind"`            // wifi, thread
	ID     []byte `json:"id"`              // SSID or extended PAN id
	Name   string `json:"name"`            // as a person knows it
	Signal int8   `json:"signal_dbm"`      // of its nearest access point or router
	Open   bool   `json:"open,omitempty"`  // it has no password
	Known  string `json:"known,omitempty"` // what the home calls it
}

// look lets the device look for networks. One that cannot sees nothing.
func (p *pairing) look(ctx context.Context, radios []netInterface) (seen []Seen) {
	for _, r := range radios {
		p.extend(ctx, r.scanTime)
		var resp datamodel.ScanNetworksResponse
		err := p.network(ctx, r, datamodel.ScanNetworksID, r.scanTime, &datamodel.ScanNetworks{}, &resp)
		if err != nil || resp.Status != datamodel.NetworkingOK {
			p.Log.Info("the device could not look for networks", "status", resp.Status, "text", resp.Text, "err", err)
			continue
		}
		for _, w := range resp.WiFi {
			if len(w.SSID) > 0 { // else hidden
				seen = append(seen, Seen{Kind: fabric.WiFi.String(), ID: w.SSID, Name: string(w.SSID), Signal: w.RSSI, Open: w.Security&datamodel.WiFiUnencrypted != 0})
			}
		}
		for _, t := range resp.Thread {
			seen = append(seen, Seen{Kind: fabric.Thread.String(), ID: fabric.ThreadID(t.ExtendedPANID), Name: t.Name, Signal: t.RSSI})
		}
	}
	return p.tidy(seen)
}

// tidy keeps the strongest of each network, names those the home knows, and
// sorts them by signal.
func (p *pairing) tidy(all []Seen) (seen []Seen) {
	slices.SortStableFunc(all, func(a, b Seen) int { return cmp.Compare(b.Signal, a.Signal) })
	for _, s := range all {
		if slices.ContainsFunc(seen, func(o Seen) bool { return o.Kind == s.Kind && string(o.ID) == string(s.ID) }) {
			continue
		}
		for _, n := range p.Ledger.State().Networks {
			if n.Kind.String() == s.Kind && string(n.ID) == string(s.ID) {
				s.Known = n.Name
			}
		}
		seen = append(seen, s)
	}
	return seen
}

// strongest is the known network that is seen best: the preferred one if it
// is seen at all.
func strongest(known []option, seen []Seen) *option {
	var best *option
	signal := int8(-128)
	for i := range known {
		n := known[i].network
		for _, s := range seen {
			if s.Kind != n.Kind.String() || string(s.ID) != string(n.ID) {
				continue
			}
			if n.Preferred {
				return &known[i]
			}
			if s.Signal > signal || best == nil {
				best, signal = &known[i], s.Signal
			}
		}
	}
	return best
}
