package backup

import (
	"context"
	"maps"
	"slices"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

// Plan is what is in a backup, and what its restore changes.
type Plan struct {
	Home       string    `json:"home"`
	Fabric     string    `json:"fabric_id"`
	Taken      time.Time `json:"taken"`
	LastChange time.Time `json:"last_change"` // of the trust state, before it was taken
	Index      uint64    `json:"index"`       // of that change in the lost log
	Devices    []Device  `json:"devices"`     // that belong
	Zones      []string  `json:"zones"`
	Networks   []string  `json:"networks"` // whose credentials the lost gateways know
	Former     int       `json:"former"`   // devices and gateways that stay sent away

	Abandoned []Device `json:"abandoned"`     // whose pairing was not finished when it was taken
	Lost      []string `json:"lost_gateways"` // that are sent away
	Restores  uint8    `json:"restores"`      // of the home, with this one
	NodeIDs   string   `json:"node_ids"`      // the first that are given from now on
	// Generation and Tag are the issuing authority's number and the version
	// of the gateways' CAT. A dry run's generation is another than the
	// restore's, which is drawn.
	Generation Change `json:"generation"`
	Tag        Change `json:"gateway_tag"`
	// Trusting counts the devices whose access lists still let the lost
	// gateways in, until the new one has rewritten them.
	Trusting int `json:"trusting_evicted"`
	// Gateway is the new one; empty in a dry run.
	Gateway string `json:"gateway,omitempty"`
}

// Device is one as a Plan shows it.
type Device struct {
	Node string `json:"node_id"`
	Name string `json:"name"`
	Zone string `json:"zone"`
}

// Change is a number before and after.
type Change struct {
	Before uint32 `json:"before"`
	After  uint32 `json:"after"`
}

// NewPlan is what Restore would do. It does all of it but for writing
// anything, so that what would fail then fails now.
func NewPlan(ctx context.Context, c found.Config, b *Backup, kit *seal.Kit) (*Plan, error) {
	r, err := newRestorer(c, b, kit)
	if err != nil {
		return nil, err
	}
	node, err := r.next().DrawNode(r.random)
	if err != nil {
		return nil, err
	}
	keys, err := keyfile.New(node, keyfile.Options{TPM: keyfile.NoTPM}, r.random)
	if err != nil {
		return nil, err
	}
	cmd, err := r.first(ctx, keys)
	if err != nil {
		return nil, err
	}
	after, err := apply(cmd, c.Now)
	if err != nil {
		return nil, err
	}
	p := b.Compare(after)
	p.Gateway = ""
	return p, nil
}

// Compare is what a restore has made of the backup.
func (b *Backup) Compare(after *fabric.State) *Plan {
	s := b.State
	p := &Plan{Home: s.Home.Name, Fabric: s.Home.FabricID.String(), Taken: b.Taken, LastChange: time.UnixMilli(s.Time).UTC(), Index: s.Index,
		Devices: []Device{}, Zones: slices.Sorted(maps.Keys(s.Zones)), Networks: slices.AppendSeq([]string{}, maps.Keys(s.Networks)),
		Former: len(s.Tombstones), Abandoned: []Device{}, Lost: s.Lost(), Restores: after.Restores, NodeIDs: after.NodeIDs().String(),
		Generation: Change{s.Generation().Number, after.Generation().Number},
		Tag:        Change{uint32(s.Home.GatewayCAT.Version()), uint32(after.Home.GatewayCAT.Version())},
		Trusting:   len(after.TrustingEvicted())}
	slices.Sort(p.Networks)
	for _, n := range slices.Sorted(maps.Keys(s.Devices)) {
		d := s.Devices[n]
		view := Device{n.String(), d.Name, d.Zone}
		if d.Phase == fabric.Admitted {
			p.Devices = append(p.Devices, view)
		} else {
			p.Abandoned = append(p.Abandoned, view)
		}
	}
	for n := range after.Gateways {
		p.Gateway = n.String()
	}
	return p
}
