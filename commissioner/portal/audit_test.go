package portal

import (
	"testing"

	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// TestAuditFilter asks for what is about somebody, by a name of now or of then,
// or by the node id.
func TestAuditFilter(t *testing.T) {
	s := &fabric.State{Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, Name: "lamp"}}, Gateways: map[cert.NodeID]*fabric.Gateway{0xA1: {Node: 0xA1, Name: "hall"}}}
	records := []audit.Record{
		{What: "device-admitted", Time: 1, Device: 7, Gateway: 0xA1, Name: "former lamp"},
		{What: "device-removed", Time: 2, Device: 8, Name: "lamp"},
		{What: "devices-taken-over", Time: 3, By: 0xA2, Gateway: 0xA2, Details: audit.Object(nil).Texts("devices", []string{cert.NodeID(7).String()})},
		{What: "device-renamed", Time: 4, Device: 9, Gateway: 0xA2, Name: `"0000000000000007"`},
		{What: "zone-added", Time: 5, By: 0xA1},
	}
	for _, test := range []struct {
		f    filter
		want string
	}{
		{filter{}, "01234"},
		{filter{what: "device-removed"}, "1"},
		{filter{since: 3}, "234"},
		{filter{device: about("lamp", s)}, "012"},
		{filter{device: about("0000000000000007", s)}, "02"},
		{filter{device: about("former lamp", s)}, "0"},
		{filter{device: about("nobody", s)}, ""},
		{filter{gateway: about("hall", s)}, "04"},
		{filter{gateway: about("00000000000000A2", s), device: about("lamp", s)}, "2"},
	} {
		got := ""
		for i, r := range records {
			if test.f.takes(r.Append(nil)) {
				got += string(rune('0' + i))
			}
		}
		if got != test.want {
			t.Errorf("%+v: %s, not %s", test.f, got, test.want)
		}
	}
}
