package otbr

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of ours on what is kept of a node: more than a network has.
const (
	maxText      = 128 // octets
	maxHex       = 512 // octets
	maxAddresses = 64
	maxRoutes    = 64
	maxChildren  = 512
)

// Node is what one node says of itself. What it does not say is left out. Its
// JSON is as the clients of the Open Home Foundation's Matter Server know it;
// octets are hex in capitals.
type Node struct {
	ExtendedAddress string        `json:"extMacAddress,omitempty"`
	RLOC16          *Number       `json:"rloc16,omitempty"`
	Mode            *Mode         `json:"mode,omitempty"`
	Timeout         *Number       `json:"timeout,omitempty"` // s
	Connectivity    *Connectivity `json:"connectivity,omitempty"`
	Route           *Route        `json:"route64,omitempty"`
	Leader          *Leader       `json:"leaderData,omitempty"`
	NetworkData     string        `json:"networkData,omitempty"`
	Addresses       []string      `json:"ipv6Addresses,omitzero"`
	MAC             *MACCounters  `json:"macCounters,omitempty"`
	Children        []Child       `json:"childTable,omitzero"`
	ChannelPages    []int         `json:"channelPages,omitempty"`
	MaxChildTimeout *Number       `json:"maxChildTimeout,omitempty"` // s
	Version         *Number       `json:"version,omitempty"`         // of Thread
	VendorName      string        `json:"vendorName,omitempty"`
	VendorModel     string        `json:"vendorModel,omitempty"`
	VendorSoftware  string        `json:"vendorSwVersion,omitempty"`
	Stack           string        `json:"threadStackVersion,omitempty"`
	MLE             *MLECounters  `json:"mleCounters,omitempty"`
	BatteryLevel    *Number       `json:"batteryLevel,omitempty"`  // percent
	SupplyVoltage   *Number       `json:"supplyVoltage,omitempty"` // mV
}

// Mode is what a node can do.
type Mode struct {
	Listens  bool `json:"rxOnWhenIdle"`
	Full     bool `json:"ftd"`
	WholeNet bool `json:"fullNetworkData"`
}

// Connectivity is how a node is connected.
type Connectivity struct {
	ParentPriority int    `json:"parentPriority"`
	Quality3       Number `json:"linkQuality3"` // neighbours
	Quality2       Number `json:"linkQuality2"`
	Quality1       Number `json:"linkQuality1"`
	LeaderCost     Number `json:"leaderCost"`
	Sequence       Number `json:"idSequence"`
	ActiveRouters  Number `json:"activeRouters"`
	BufferSize     Number `json:"sedBufferSize"`
	DatagramCount  Number `json:"sedDatagramCount"`
}

// Route is a router's table of the others.
type Route struct {
	Sequence Number       `json:"idSequence"`
	Entries  []RouteEntry `json:"entries"`
}

type RouteEntry struct {
	Router     Number `json:"routerId"`
	QualityIn  Number `json:"linkQualityIn"`
	QualityOut Number `json:"linkQualityOut"`
	Cost       Number `json:"routeCost"`
}

// Leader is the partition's.
type Leader struct {
	Partition     Number `json:"partitionId"`
	Weighting     Number `json:"weighting"`
	Version       Number `json:"dataVersion"`
	StableVersion Number `json:"stableDataVersion"`
	Router        Number `json:"leaderRouterId"`
}

// MACCounters count packets.
type MACCounters struct {
	UnknownProtocols Number `json:"ifInUnknownProtos"`
	InErrors         Number `json:"ifInErrors"`
	OutErrors        Number `json:"ifOutErrors"`
	InUnicast        Number `json:"ifInUcastPkts"`
	InBroadcast      Number `json:"ifInBroadcastPkts"`
	InDiscards       Number `json:"ifInDiscards"`
	OutUnicast       Number `json:"ifOutUcastPkts"`
	OutBroadcast     Number `json:"ifOutBroadcastPkts"`
	OutDiscards      Number `json:"ifOutDiscards"`
}

// Child is one of a router's children.
type Child struct {
	Exponent Number `json:"timeoutExponent"`
	Timeout  Number `json:"timeoutSeconds"`
	Quality  Number `json:"incomingLinkQuality"`
	ID       Number `json:"childId"`
	Mode     Mode   `json:"mode"`
}

// MLECounters count roles; times are in ms.
type MLECounters struct {
	Disabled         Number `json:"disabledRole"`
	Detached         Number `json:"detachedRole"`
	Child            Number `json:"childRole"`
	Router           Number `json:"routerRole"`
	Leader           Number `json:"leaderRole"`
	Attaches         Number `json:"attachAttempts"`
	PartitionChanges Number `json:"partitionIdChanges"`
	BetterPartitions Number `json:"betterPartitionAttachAttempts"`
	ParentChanges    Number `json:"parentChanges"`
	Tracked          Number `json:"trackedTime"`
	DisabledTime     Number `json:"disabledTime"`
	DetachedTime     Number `json:"detachedTime"`
	ChildTime        Number `json:"childTime"`
	RouterTime       Number `json:"routerTime"`
	LeaderTime       Number `json:"leaderTime"`
}

// Number is a count. Agents write some in hex, as strings.
type Number uint64

var errNumber = errors.New("no number")

// UnmarshalJSON takes a number that is none below 0, or a string of one.
func (n *Number) UnmarshalJSON(b []byte) error {
	text, base := string(b), 10
	if s, err := strconv.Unquote(text); err == nil {
		text, base = s, 0
	}
	v, err := strconv.ParseUint(text, base, 64)
	if err == nil {
		*n = Number(v)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64) // some are written with a fraction or an exponent
	if err != nil || !(f >= 0 && f < 1<<63) || base == 0 {
		return errNumber
	}
	*n = Number(f)
	return nil
}

// flag is a truth. Old agents write 0 and 1.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true", "1":
		*f = true
	case "false", "0", "null":
		*f = false
	default:
		return errors.New("neither true nor false")
	}
	return nil
}

// mode is a Mode as agents write it; the names changed twice.
type mode struct {
	Listens    flag `json:"rxOnWhenIdle"`
	Full       flag `json:"fullThreadDevice"` // since July 2026
	FullBefore flag `json:"deviceTypeFTD"`
	FullFirst  flag `json:"deviceType"` // until September 2025
	Whole      flag `json:"fullNetworkData"`
	WholeFirst flag `json:"networkData"`
}

func (m mode) mode() Mode {
	return Mode{bool(m.Listens), bool(m.Full || m.FullBefore || m.FullFirst), bool(m.Whole || m.WholeFirst)}
}

// wire is a node as agents write it. Until September 2025 the names began with
// capitals, which encoding/json ignores.
type wire struct {
	ExtAddress   string        `json:"extAddress"`
	RLOC16       *Number       `json:"rloc16"`
	Mode         *mode         `json:"mode"`
	Timeout      *Number       `json:"timeout"`
	Connectivity *Connectivity `json:"connectivity"`
	Route        *struct {
		Sequence Number `json:"idSequence"`
		Entries  []struct {
			Router Number `json:"routeId"`
			In     Number `json:"linkQualityIn"`
			Out    Number `json:"linkQualityOut"`
			Cost   Number `json:"routeCost"`
		} `json:"routeData"`
	} `json:"route"`
	Leader         *Leader      `json:"leaderData"`
	NetworkData    string       `json:"networkData"`
	Addresses      []string     `json:"ipv6Addresses"`
	AddressesFirst []string     `json:"ip6AddressList"` // until September 2025
	MAC            *MACCounters `json:"macCounters"`
	Children       []struct {
		ID      Number `json:"childId"`
		Timeout Number `json:"timeout"`
		Quality Number `json:"linkQuality"`
		Mode    mode   `json:"mode"`
	} `json:"childTable"`
	ChannelPages    string  `json:"channelPages"`
	MaxChildTimeout *Number `json:"maxChildTimeout"`
	Version         *Number `json:"threadVersion"`
	VersionBefore   *Number `json:"version"` // until July 2026
	VendorName      string  `json:"vendorName"`
	VendorModel     string  `json:"vendorModel"`
	VendorSoftware  string  `json:"vendorSwVersion"`
	Stack           string  `json:"threadStackVersion"`
	MLE             *struct {
		Disabled         Number `json:"radioDisabledCount"`
		Detached         Number `json:"detachedRoleCount"`
		Child            Number `json:"childRoleCount"`
		Router           Number `json:"routerRoleCount"`
		Leader           Number `json:"leaderRoleCount"`
		Attaches         Number `json:"attachAttemptsCount"`
		PartitionChanges Number `json:"partIdChangesCount"`
		BetterPartitions Number `json:"betterPartIdAttachAttemptsCount"`
		ParentChanges    Number `json:"newParentCount"`
		Tracked          Number `json:"totalTrackingTime"`
		DisabledTime     Number `json:"radioDisabledTime"`
		DetachedTime     Number `json:"detachedRoleTime"`
		ChildTime        Number `json:"childRoleTime"`
		RouterTime       Number `json:"routerRoleTime"`
		LeaderTime       Number `json:"leaderRoleTime"`
	} `json:"mleCounters"`
	BatteryLevel  *Number `json:"batteryLevel"`
	SupplyVoltage *Number `json:"supplyVoltage"`
}

// decodeNodes reads the answer of an old agent. A node that cannot be read is
// left out; where none can, it is no such answer.
func decodeNodes(body []byte) ([]Node, bool) {
	var all []json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		return nil, false
	}
	nodes := []Node{}
	for _, raw := range all[:min(len(all), maxNodes)] {
		if n, ok := decodeNode(raw); ok {
			nodes = append(nodes, n)
		}
	}
	return nodes, len(nodes) > 0 || len(all) == 0
}

func decodeNode(b []byte) (n Node, ok bool) {
	var w wire
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) || json.Unmarshal(b, &w) != nil {
		return n, false
	}
	n = Node{ExtendedAddress: capitals(w.ExtAddress, 8), RLOC16: w.RLOC16, Timeout: w.Timeout, Connectivity: w.Connectivity, Leader: w.Leader,
		NetworkData: capitals(w.NetworkData, maxHex), MAC: w.MAC, MaxChildTimeout: w.MaxChildTimeout, Version: w.Version,
		VendorName: text(w.VendorName), VendorModel: text(w.VendorModel), VendorSoftware: text(w.VendorSoftware), Stack: text(w.Stack),
		BatteryLevel: w.BatteryLevel, SupplyVoltage: w.SupplyVoltage}
	if len(n.ExtendedAddress) != 16 && n.RLOC16 == nil {
		return n, false // it could be anybody
	}
	if w.Version == nil {
		n.Version = w.VersionBefore
	}
	if w.Mode != nil {
		m := w.Mode.mode()
		n.Mode = &m
	}
	if r := w.Route; r != nil {
		n.Route = &Route{Sequence: r.Sequence, Entries: []RouteEntry{}}
		for _, e := range r.Entries[:min(len(r.Entries), maxRoutes)] {
			n.Route.Entries = append(n.Route.Entries, RouteEntry{e.Router, e.In, e.Out, e.Cost})
		}
	}
	if w.Addresses == nil {
		w.Addresses = w.AddressesFirst
	}
	for _, a := range w.Addresses[:min(len(w.Addresses), maxAddresses)] {
		if ip, err := netip.ParseAddr(a); err == nil && ip.Is6() {
			octets := ip.As16()
			n.Addresses = append(n.Addresses, strings.ToUpper(hex.EncodeToString(octets[:])))
		}
	}
	if w.Children != nil {
		n.Children = []Child{}
	}
	for _, c := range w.Children[:min(len(w.Children), maxChildren)] {
		n.Children = append(n.Children, Child{c.Timeout, seconds(c.Timeout), c.Quality, c.ID, c.Mode.mode()})
	}
	if pages, err := hex.DecodeString(w.ChannelPages); err == nil && len(pages) <= maxHex {
		for _, p := range pages {
			n.ChannelPages = append(n.ChannelPages, int(p))
		}
	}
	if m := w.MLE; m != nil {
		n.MLE = &MLECounters{m.Disabled, m.Detached, m.Child, m.Router, m.Leader, m.Attaches, m.PartitionChanges, m.BetterPartitions, m.ParentChanges,
			m.Tracked, m.DisabledTime, m.DetachedTime, m.ChildTime, m.RouterTime, m.LeaderTime}
	}
	return n, true
}

// seconds is a child's timeout, which is told as 2^(exponent-4).
func seconds(exponent Number) Number {
	return Number(math.Exp2(float64(min(exponent, 31)) - 4))
}

// capitals is hex of at most so many octets; what is none is empty.
func capitals(s string, most int) string {
	if b, err := hex.DecodeString(s); err != nil || len(b) > most {
		return ""
	}
	return strings.ToUpper(s)
}

// text is what a node wrote of itself; too long, it is empty.
func text(s string) string {
	if len(s) > maxText || !utf8.ValidString(s) {
		return ""
	}
	return s
}
