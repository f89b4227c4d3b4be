package keeper

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// changeFailSafe bounds a change of a device's networks. If we vanish in the
// middle, the device takes it back after that.
const changeFailSafe = time.Minute

// DeviceNetwork is a network that a device was told of.
type DeviceNetwork struct {
	Endpoint  uint16 `json:"endpoint"` // of the radio
	Kind      string `json:"kind"`     // wifi, thread, ethernet
	ID        string `json:"id"`       // SSID, or extended PAN id in hex
	Connected bool   `json:"connected"`
	Place     int    `json:"place"` // in the order in which the device tries them, from 1

	raw []byte
}

// Networks are those a device was told of, in the order it tries them.
func (k *Keeper) Networks(ctx context.Context, n cert.NodeID) (networks []DeviceNetwork, err error) {
	cluster, features, list := datamodel.NetworkCommissioning, datamodel.FeatureMap, datamodel.NetworkList
	report, err := k.Read(ctx, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{
		{Cluster: &cluster, Attribute: &features}, {Cluster: &cluster, Attribute: &list}}})
	if err != nil {
		return nil, err
	}
	for _, a := range report.Attributes {
		if !a.Path.Concrete() || *a.Path.Attribute != list {
			continue
		}
		e := *a.Path.Endpoint
		var infos []datamodel.NetworkInfo
		var feature uint32
		if report.Decode(interaction.Attribute(e, cluster, list), &infos) != nil || report.Decode(interaction.Attribute(e, cluster, features), &feature) != nil {
			continue
		}
		for i, info := range infos {
			v := DeviceNetwork{Endpoint: uint16(e), Kind: "ethernet", ID: string(info.ID), Connected: info.Connected, Place: i + 1, raw: info.ID}
			switch {
			case feature&datamodel.FeatureWiFi != 0:
				v.Kind = fabric.WiFi.String()
			case feature&datamodel.FeatureThread != 0:
				v.Kind, v.ID = fabric.Thread.String(), hex.EncodeToString(info.ID)
			}
			networks = append(networks, v)
		}
	}
	return networks, nil
}

// AddNetwork tells a device one more of the home's networks. It goes on using
// the one it is on, as long as that is there.
func (k *Keeper) AddNetwork(ctx context.Context, n cert.NodeID, name string) error {
	network, err := k.c.NetworkNamed(name)
	if err != nil {
		return err
	}
	endpoint, err := k.radio(ctx, n, network.Kind)
	if err != nil {
		return err
	}
	secret, err := k.c.Authority.OpenNetwork(ctx, network)
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeIssue)
	}
	defer secret.Erase()
	credentials := secret.Reveal()
	defer clear(credentials)
	id, fields := commissioner.AddNetworkCommand(network, credentials)
	return k.change(ctx, n, endpoint, id, fields)
}

// radio is the endpoint of a device's radio of a kind.
func (k *Keeper) radio(ctx context.Context, n cert.NodeID, kind fabric.NetworkKind) (interaction.EndpointID, error) {
	cluster, features := datamodel.NetworkCommissioning, datamodel.FeatureMap
	report, err := k.Read(ctx, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{{Cluster: &cluster, Attribute: &features}}})
	if err != nil {
		return 0, err
	}
	want := datamodel.FeatureWiFi
	if kind == fabric.Thread {
		want = datamodel.FeatureThread
	}
	for _, a := range report.Attributes {
		var feature uint32
		if a.Path.Concrete() && report.Decode(a.Path, &feature) == nil && feature&want != 0 {
			return *a.Path.Endpoint, nil
		}
	}
	return 0, commissioner.Fail(commissioner.CodeNetworkKind, fmt.Errorf("it has no radio for %v", kind))
}

// RemoveNetwork makes a device forget a network it is not on.
func (k *Keeper) RemoveNetwork(ctx context.Context, n cert.NodeID, id string) error {
	v, err := k.network(ctx, n, id)
	if err != nil {
		return err
	}
	if v.Connected {
		return commissioner.Fail(commissioner.CodeNetworkInUse, fmt.Errorf("%q", id))
	}
	return k.change(ctx, n, interaction.EndpointID(v.Endpoint), datamodel.RemoveNetworkID, &datamodel.NetworkID{ID: v.raw})
}

// MoveNetwork gives a network another place, from 1, in the order in which the
// device tries them.
func (k *Keeper) MoveNetwork(ctx context.Context, n cert.NodeID, id string, place int) error {
	v, err := k.network(ctx, n, id)
	if err != nil {
		return err
	}
	if place < 1 || place > 255 {
		return commissioner.Fail(commissioner.CodeInvalidArgument, fmt.Errorf("there is no place %d", place))
	}
	return k.change(ctx, n, interaction.EndpointID(v.Endpoint), datamodel.ReorderNetworkID, &datamodel.ReorderNetwork{ID: v.raw, Index: uint8(place - 1)})
}

func (k *Keeper) network(ctx context.Context, n cert.NodeID, id string) (*DeviceNetwork, error) {
	networks, err := k.Networks(ctx, n)
	if err != nil {
		return nil, err
	}
	for _, v := range networks {
		if v.ID == id || v.Kind == fabric.Thread.String() && strings.EqualFold(v.ID, id) {
			return &v, nil
		}
	}
	return nil, commissioner.Fail(commissioner.CodeNetworkUnknown, fmt.Errorf("the device does not know %q", id))
}

// change changes a device's networks inside a fail-safe, which it ends well or
// takes back.
func (k *Keeper) change(ctx context.Context, n cert.NodeID, e interaction.EndpointID, id interaction.CommandID, fields any) error {
	if err := k.failSafe(ctx, n, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{Seconds: uint16(changeFailSafe.Seconds())}); err != nil {
		return err
	}
	var r datamodel.NetworkConfigResponse
	result, err := k.Invoke(ctx, n, 0, interaction.Invocation{Path: interaction.Command(e, datamodel.NetworkCommissioning, id), Fields: fields})
	if err == nil {
		err = result.Decode(&r)
	}
	if err != nil {
		err = commissioner.Explain(err, commissioner.CodeNetworkRefused)
	} else {
		err = commissioner.NetworkFailure(r.Status, r.Text)
	}
	if err != nil {
		// If this fails too, the device takes it back by itself.
		k.failSafe(context.WithoutCancel(ctx), n, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{})
		return err
	}
	return k.failSafe(ctx, n, datamodel.CommissioningCompleteID, nil)
}

// failSafe invokes a command of GeneralCommissioning.
func (k *Keeper) failSafe(ctx context.Context, n cert.NodeID, id interaction.CommandID, fields any) error {
	var r datamodel.CommissioningResponse
	result, err := k.Invoke(ctx, n, 0, interaction.Invocation{Path: interaction.Command(datamodel.RootEndpoint, datamodel.GeneralCommissioning, id), Fields: fields})
	if err == nil {
		err = result.Decode(&r)
	}
	switch {
	case err != nil:
		return commissioner.Explain(err, commissioner.CodeFailSafe)
	case r.Code != datamodel.CommissioningOK:
		return commissioner.Fail(commissioner.CodeFailSafe, fmt.Errorf("%v %s", r.Code, r.Text))
	}
	return nil
}
