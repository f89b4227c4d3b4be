package hass

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// The diagnostics that a topology is drawn from.
const (
	generalDiagnostics interaction.ClusterID   = 51
	interfaces         interaction.AttributeID = 0
	threadNetwork      interaction.ClusterID   = 53
	threadRole         interaction.AttributeID = 1
	threadName         interaction.AttributeID = 2
	threadExtendedPAN  interaction.AttributeID = 4
	threadNeighbours   interaction.AttributeID = 7
	wifiNetwork        interaction.ClusterID   = 54
	wifiBSSID          interaction.AttributeID = 0
	wifiRSSI           interaction.AttributeID = 4
)

// threadRoles are by their numbers.
var threadRoles = []string{"", "unassigned", "sleepy_end_device", "end_device", "reed", "router", "leader"}

// Signals, in dBm, that are strong and middling.
const (
	strongSignal = -65
	mediumSignal = -80
)

type topologyNode struct {
	ID              string `json:"id"`
	Kind            string `json:"kind"`
	Network         string `json:"network_type"`
	Node            uint64 `json:"node_id,omitempty"`
	Role            string `json:"role,omitempty"`
	Available       *bool  `json:"available,omitempty"`
	ExtendedAddress string `json:"ext_address,omitempty"`
	ExtendedPAN     string `json:"ext_pan_id,omitempty"`
	NetworkName     string `json:"network_name,omitempty"`
	BSSID           string `json:"bssid,omitempty"`
	Host            string `json:"host_name,omitempty"`
	Vendor          string `json:"vendor_name,omitempty"`
	Model           string `json:"model_name,omitempty"`
}

type direction struct {
	Strength string `json:"strength"`
	LQI      *uint8 `json:"lqi,omitempty"`
	RSSI     *int8  `json:"rssi,omitempty"`
}

type connection struct {
	Source   string     `json:"source"`
	Target   string     `json:"target"`
	Network  string     `json:"network"`
	Strength string     `json:"strength"`
	Out      *direction `json:"source_to_target,omitempty"`
	Back     *direction `json:"target_to_source,omitempty"`
}

// graph is who hears whom, as far as the devices have said.
type graph struct {
	Collected   int64           `json:"collected_at"`
	Nodes       []*topologyNode `json:"nodes"`
	Connections []*connection   `json:"connections"`

	byAddress map[string]*topologyNode
	links     map[[2]string]*connection
}

// topology draws the networks out of what devices reported: a refresh would
// ask every one of them and is left to their subscriptions.
func (s *Server) topology(context.Context, *call) (result, error) {
	g := &graph{Collected: s.Now().UnixMilli(), Nodes: []*topologyNode{}, Connections: []*connection{}, byAddress: make(map[string]*topologyNode), links: make(map[[2]string]*connection)}
	nodes := s.Home.Nodes()
	drawn := make([]*topologyNode, len(nodes))
	for i, n := range nodes {
		drawn[i] = g.draw(n, s)
	}
	if s.Mesh != nil {
		for _, r := range s.Mesh.BorderRouters() {
			if g.byAddress[r.ExtendedAddress] == nil {
				g.add(r.ExtendedAddress, &topologyNode{ID: "br_" + r.ExtendedAddress, Kind: "border_router", Network: "thread", ExtendedAddress: r.ExtendedAddress,
					ExtendedPAN: r.ExtendedPANID, NetworkName: r.NetworkName, Host: r.Host, Vendor: r.Vendor, Model: r.Model})
			}
		}
	}
	for i, n := range nodes {
		g.connect(drawn[i], n)
	}
	return object(g), nil
}

func (g *graph) add(address string, n *topologyNode) *topologyNode {
	g.Nodes = append(g.Nodes, n)
	if address != "" {
		g.byAddress[address] = n
	}
	return n
}

// Kinds of a network's interface.
const (
	interfaceWiFi     = 1
	interfaceEthernet = 2
	interfaceThread   = 4
)

// draw puts a device.
func (g *graph) draw(n *Node, s *Server) *topologyNode {
	t := &topologyNode{ID: strconv.FormatUint(uint64(n.ID), 10), Kind: "matter", Network: "unknown", Node: uint64(n.ID), Available: &n.Available,
		Vendor: text(n.value(0, basicInformation, 1)), Model: text(n.value(0, basicInformation, 3))}
	var list []struct {
		Up       bool   `tlv:"1"`
		Hardware []byte `tlv:"4"`
		Type     uint8  `tlv:"7"`
	}
	address := ""
	if tlv.Unmarshal(n.value(0, generalDiagnostics, interfaces), &list) == nil {
		for _, i := range list {
			switch {
			case !i.Up:
			case i.Type == interfaceThread:
				t.Network, address = "thread", strings.ToUpper(hex.EncodeToString(i.Hardware))
				t.ExtendedAddress = address
			case i.Type == interfaceWiFi && t.Network == "unknown":
				t.Network, t.Role = "wifi", "station"
			case i.Type == interfaceEthernet && t.Network == "unknown":
				t.Network = "ethernet"
			}
		}
	}
	if t.Network == "thread" {
		if role, ok := number(n.value(0, threadNetwork, threadRole)); ok && role < uint64(len(threadRoles)) {
			t.Role = threadRoles[role]
		}
		t.NetworkName = text(n.value(0, threadNetwork, threadName))
		if id, ok := number(n.value(0, threadNetwork, threadExtendedPAN)); ok {
			t.ExtendedPAN = fmt.Sprintf("%016X", id)
		}
	}
	return g.add(address, t)
}

// text is a string value; empty: it is none.
func text(v tlv.Raw) string {
	var s string
	if len(v) == 0 || tlv.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// connect puts the links that a device reports.
func (g *graph) connect(t *topologyNode, n *Node) {
	var neighbours []struct {
		Address uint64         `tlv:"0"`
		LQI     uint8          `tlv:"5"`
		Average tlv.Null[int8] `tlv:"6"`
		Last    tlv.Null[int8] `tlv:"7"`
	}
	if t.Network == "thread" && tlv.Unmarshal(n.value(0, threadNetwork, threadNeighbours), &neighbours) == nil {
		for _, x := range neighbours {
			address := fmt.Sprintf("%016X", x.Address)
			other := g.byAddress[address]
			if other == nil {
				other = g.add(address, &topologyNode{ID: "unknown_" + address, Kind: "thread_unknown", Network: "thread", ExtendedAddress: address, ExtendedPAN: t.ExtendedPAN})
			}
			heard := x.Average
			if !heard.Valid {
				heard = x.Last
			}
			// What a device reports of a neighbour is how it hears that.
			g.link(other, t, "thread", heard, &x.LQI)
		}
	}
	var bssid tlv.Null[[]byte]
	if t.Network == "wifi" && tlv.Unmarshal(n.value(0, wifiNetwork, wifiBSSID), &bssid) == nil && len(bssid.Value) > 0 {
		id := strings.ToUpper(hex.EncodeToString(bssid.Value))
		ap := g.byAddress["ap"+id]
		if ap == nil {
			ap = g.add("ap"+id, &topologyNode{ID: "ap_" + id, Kind: "wifi_ap", Network: "wifi", Role: "ap", BSSID: id})
		}
		t.BSSID = id
		var heard tlv.Null[int8]
		if v := n.value(0, wifiNetwork, wifiRSSI); v == nil || tlv.Unmarshal(v, &heard) != nil {
			heard = tlv.Null[int8]{}
		}
		g.link(ap, t, "wifi", heard, nil)
	}
}

// link puts one direction of a link: how to hears from.
func (g *graph) link(from, to *topologyNode, network string, heard tlv.Null[int8], lqi *uint8) {
	d := &direction{Strength: "unknown", LQI: lqi}
	if heard.Valid {
		d.RSSI = &heard.Value
		switch {
		case heard.Value >= strongSignal:
			d.Strength = "strong"
		case heard.Value >= mediumSignal:
			d.Strength = "medium"
		default:
			d.Strength = "weak"
		}
	}
	if back := g.links[[2]string{to.ID, from.ID}]; back != nil {
		back.Back = d
		back.Strength = stronger(back.Strength, d.Strength)
		return
	}
	l := &connection{Source: from.ID, Target: to.ID, Network: network, Strength: d.Strength, Out: d}
	g.links[[2]string{from.ID, to.ID}] = l
	g.Connections = append(g.Connections, l)
}

// stronger is the better of two strengths.
func stronger(a, b string) string {
	for _, s := range []string{"strong", "medium", "weak"} {
		if a == s || b == s {
			return s
		}
	}
	return a
}
