package hass_test

import (
	"encoding/json"
	"testing"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric/tlv"
)

type port struct {
	Up       bool   `tlv:"1"`
	Hardware []byte `tlv:"4"`
	Type     uint8  `tlv:"7"`
}

type neighbour struct {
	Address uint64         `tlv:"0"`
	LQI     uint8          `tlv:"5"`
	Average tlv.Null[int8] `tlv:"6"`
	Last    tlv.Null[int8] `tlv:"7"`
}

// mesh has one border router.
type mesh struct{ hass.Mesh }

func (mesh) BorderRouters() []hass.BorderRouter {
	return []hass.BorderRouter{{ExtendedAddress: "0000000000000003", Addresses: []string{}, Sources: []string{"meshcop"}}}
}

// TestTopology draws two devices in a Thread mesh, a border router, somebody
// nobody knows, and a device on an access point.
func TestTopology(t *testing.T) {
	r := start(t, func(c *hass.Config) { c.Mesh = mesh{} })
	for i, hears := range [][]neighbour{{{2, 3, tlv.Some(int8(-60)), tlv.Null[int8]{}}, {3, 3, tlv.Null[int8]{}, tlv.Some(int8(-70))}}, {{1, 1, tlv.Some(int8(-90)), tlv.Null[int8]{}}, {4, 0, tlv.Null[int8]{}, tlv.Null[int8]{}}}} {
		n := r.home.Add()
		r.home.Set(n, hass.Path{Cluster: 51}, []port{{false, []byte{9}, 1}, {true, []byte{0, 0, 0, 0, 0, 0, 0, byte(i + 1)}, 4}})
		r.home.Set(n, hass.Path{Cluster: 53, Attribute: 1}, uint8(6-i))
		r.home.Set(n, hass.Path{Cluster: 53, Attribute: 2}, "Mesh")
		r.home.Set(n, hass.Path{Cluster: 53, Attribute: 4}, uint64(0xfedcba9876543210))
		r.home.Set(n, hass.Path{Cluster: 53, Attribute: 7}, hears)
	}
	n := r.home.Add()
	r.home.Set(n, hass.Path{Cluster: 51}, []port{{true, []byte{2, 0, 0, 0, 0, 9}, 1}})
	r.home.Set(n, hass.Path{Cluster: 54}, []byte{2, 0, 0, 0, 0, 0xab})
	r.home.Set(n, hass.Path{Cluster: 54, Attribute: 4}, int8(-70))
	var got struct {
		Nodes []struct {
			ID, Kind, Role string
			Network        string `json:"network_type"`
			PAN            string `json:"ext_pan_id"`
		}
		Connections []struct {
			Source, Target, Network, Strength string
			Out                               *struct{ RSSI, LQI *int } `json:"source_to_target"`
			Back                              *struct{ RSSI, LQI *int } `json:"target_to_source"`
		}
	}
	c := r.dial(hass.Read)
	c.must("get_network_topology", "", &got)
	var nodes, links []string
	for _, n := range got.Nodes {
		nodes = append(nodes, n.ID+" "+n.Kind+" "+n.Network+" "+n.Role+" "+n.PAN)
	}
	for _, l := range got.Connections {
		both := ""
		if l.Back != nil {
			both = " both"
		}
		links = append(links, l.Source+" "+l.Target+" "+l.Network+" "+l.Strength+both)
	}
	text, _ := json.Marshal([2][]string{nodes, links})
	const want = `[["1 matter thread leader FEDCBA9876543210","2 matter thread router FEDCBA9876543210","3 matter wifi station ","br_0000000000000003 border_router thread  ",` +
		`"unknown_0000000000000004 thread_unknown thread  FEDCBA9876543210","ap_0200000000AB wifi_ap wifi ap "],` +
		`["2 1 thread strong both","br_0000000000000003 1 thread medium","unknown_0000000000000004 2 thread unknown","ap_0200000000AB 3 wifi medium"]]`
	if string(text) != want {
		t.Errorf("drawn: %s", text)
	}
}
