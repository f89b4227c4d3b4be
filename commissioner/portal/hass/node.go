package hass

import (
	"strconv"
	"time"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// Facts of the data model that a node's rendering needs.
const (
	descriptor       interaction.ClusterID   = 29
	deviceTypeList   interaction.AttributeID = 0
	aggregator                               = 14
	basicInformation interaction.ClusterID   = 40
	specification    interaction.AttributeID = 21
)

// interviewVersion is of the way in which nodes are read.
const interviewVersion = 6

// naive is a time as Python's datetime.fromisoformat takes it.
const naive = "2006-01-02T15:04:05.000000"

func stamp(t time.Time) string { return t.UTC().Format(naive) }

// appendNode renders a node with all its attributes.
func appendNode(b []byte, n *Node) []byte {
	bridge := false
	b = strconv.AppendUint(append(b, `{"node_id":`...), uint64(n.ID), 10)
	b = append(append(append(b, `,"date_commissioned":"`...), stamp(n.Commissioned)...), '"')
	b = append(append(append(b, `,"last_interview":"`...), stamp(n.Interviewed)...), '"')
	b = strconv.AppendInt(append(b, `,"interview_version":`...), interviewVersion, 10)
	b = strconv.AppendBool(append(b, `,"available":`...), n.Available)
	b = append(b, `,"attributes":{`...)
	for i, a := range n.Attributes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), a.Path.String()...), '"', ':')
		b = appendValue(b, a.Value)
		if a.Path.Cluster == descriptor && a.Path.Attribute == deviceTypeList {
			bridge = bridge || isBridge(a.Value)
		}
	}
	b = strconv.AppendBool(append(b, `},"attribute_subscriptions":[],"is_bridge":`...), bridge)
	if v := version(n.value(0, basicInformation, specification)); v != "" {
		b = append(append(append(b, `,"matter_version":"`...), v...), '"')
	}
	return append(b, '}')
}

// isBridge reports whether a list of device types has that of a bridge.
func isBridge(v tlv.Raw) bool {
	var types []struct {
		Type uint32 `tlv:"0"`
	}
	if tlv.Unmarshal(v, &types) != nil {
		return false
	}
	for _, t := range types {
		if t.Type == aggregator {
			return true
		}
	}
	return false
}

// version is how a node's specification version is written; empty: it has none.
func version(v tlv.Raw) string {
	n, ok := number(v)
	if !ok || n>>24 == 0 {
		return ""
	}
	text := strconv.FormatUint(n>>24&0xff, 10) + "." + strconv.FormatUint(n>>16&0xff, 10)
	return text + "." + strconv.FormatUint(n>>8&0xff, 10)
}

// number is an unsigned value.
func number(v tlv.Raw) (uint64, bool) {
	r := tlv.NewReader(v)
	if len(v) == 0 || !r.Next() {
		return 0, false
	}
	n, err := r.Uint()
	return n, err == nil
}
