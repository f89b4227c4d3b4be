package proxy

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble"
)

func TestUUIDs(t *testing.T) {
	for _, same := range [][]string{
		{"fff6", "FFF6", "0000fff6", "0000FFF6-0000-1000-8000-00805F9B34FB", "0000fff600001000800000805f9b34fb"},
		{ble.C1UUID, "18EE2EF5263D4559959F4F9C429F9D11"},
		{"1234fff6", "1234fff6-0000-1000-8000-00805f9b34fb"},
		{"18ee2ef5-0000-1000-8000-00805f9b34fb", "18ee2ef5"},
		{""}, {"6"},
	} {
		for _, uuid := range same {
			if !sameUUID(uuid, same[0]) {
				t.Errorf("%s is not %s", uuid, same[0])
			}
			if sameUUID(uuid, ble.C2UUID) || sameUUID(uuid, "fff7") || uuid != "6" && sameUUID(uuid, "6") {
				t.Errorf("%s is what it is not", uuid)
			}
		}
	}
}

func TestDiscovered(t *testing.T) {
	data := base64.StdEncoding.EncodeToString(ble.Advertising(radio.Advertisement{Discriminator: 0xabc, Vendor: 0xfff1, Product: 0x8001})[7:])
	tests := []struct {
		name, json string
		rssi       int8
		ok         bool
	}{
		{"as Python sends it", `{"address":"AA:BB:CC:DD:EE:FF","name":null,"rssi":-60,"connectable":true,"service_data":{"0000fff6-0000-1000-8000-00805f9b34fb":"` + data + `"},"manufacturer_data":{"76":"AA=="},"service_uuids":["x"]}`, -60, true},
		{"of a Mac", `{"address":"6E400001-B5A3-F393-E0A9-E50E24DCCA9E","rssi":-60.0,"service_data":{"FFF6":"` + data + `"}}`, -60, true},
		{"behind other data", `{"address":"AA:BB:CC:DD:EE:FF","service_data":{"fff5":"AA","180f":"%","fff6":"` + data + `"}}`, 0, true},
		{"no strength", `{"address":"AA:BB:CC:DD:EE:FF","rssi":null,"service_data":{"fff6":"` + data + `"}}`, 0, true},
		{"a strength that is none", `{"address":"AA:BB:CC:DD:EE:FF","rssi":127,"service_data":{"fff6":"` + data + `"}}`, 0, true},
		{"beyond all strengths", `{"address":"AA:BB:CC:DD:EE:FF","rssi":-1e300,"service_data":{"fff6":"` + data + `"}}`, 0, true},
		{"nobody can connect", `{"address":"AA:BB:CC:DD:EE:FF","connectable":false,"service_data":{"fff6":"` + data + `"}}`, 0, false},
		{"no address", `{"service_data":{"fff6":"` + data + `"}}`, 0, false},
		{"another service", `{"address":"AA:BB:CC:DD:EE:FF","service_data":{"fff7":"` + data + `"}}`, 0, false},
		{"cut short", `{"address":"AA:BB:CC:DD:EE:FF","service_data":{"fff6":"ALwK8Q=="}}`, 0, false},
	}
	for _, tt := range tests {
		ad, ok := discovered([]byte(tt.json))
		if ok != tt.ok || ok && (ad.Discriminator != 0xabc || ad.Vendor != 0xfff1 || ad.RSSI != tt.rssi || ad.Kind != radio.Commissionable || len(ad.Addrs) != 1) {
			t.Errorf("%s: %v, %+v", tt.name, ok, ad)
		}
	}
}

func TestAllowance(t *testing.T) {
	now := time.Unix(1, 0)
	a := newAllowance(10, now)
	for i := range 10 {
		if wait := a.take(now); wait != 0 {
			t.Errorf("%d: wait %v", i, wait)
		}
	}
	if wait := a.take(now); wait.Round(time.Millisecond) != 100*time.Millisecond {
		t.Errorf("wait %v", wait)
	}
	if a.take(now.Add(101*time.Millisecond)) != 0 || a.take(now.Add(150*time.Millisecond)) == 0 || a.take(now.Add(time.Hour)) != 0 {
		t.Error("it does not keep to its rate")
	}
}

// FuzzParse reads any text message; what comes out is in bounds.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"id":1,"success":true,"result":{"mtu":23}}`, `{"id":1,"success":false,"error":"timeout","message":"m"}`,
		`{"event":"device_discovered","data":{"address":"AA:BB:CC:DD:EE:FF","rssi":-60,"service_data":{"fff6":"ALwK8f8BgAA="}}}`,
		`{"event":"disconnected","data":{"connection_handle":1,"reason":"r"}}`, `{"event":"scan_stopped","data":{"reason":"r"}}`,
		`{"event":"characteristic_notification","data":{"connection_handle":1,"characteristic_uuid":"u","value":"AAEC"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil && (m != nil || len(err.Error()) > 400) {
			t.Errorf("%v, %v", m, err)
		}
		check(t, m)
		if n, ok := m.(notification); ok { // a binary message says the same
			again, err := parseBinary(append([]byte{opcodeNotification, byte(n.handle >> 8), byte(n.handle)}, n.value...))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
				t.Errorf("%v became %v, %v", m, again, err)
			}
		}
	})
}

// FuzzBinary reads any binary message.
func FuzzBinary(f *testing.F) {
	f.Add([]byte{2, 0, 1, 0x65, 0x6c})
	f.Add([]byte{3, 0, 1})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseBinary(data)
		check(t, m)
		if n, ok := m.(notification); ok && (err != nil || len(n.value) != len(data)-binaryHeader) {
			t.Errorf("%v, %v", m, err)
		}
	})
}

func check(t *testing.T, m any) {
	switch m := m.(type) {
	case reply:
		if m.err != nil && len(m.err.Error()) > 4*maxText {
			t.Errorf("%d bytes of failure", len(m.err.Error()))
		}
	case notification:
		if len(m.value) > maxValue {
			t.Errorf("%d bytes are indicated", len(m.value))
		}
	case heard:
		if len(m.ad.Addrs) != 1 || !plausible(m.ad.Addrs[0].Peer) || m.ad.Discriminator > 0xfff {
			t.Errorf("heard %+v", m.ad)
		}
	}
}
