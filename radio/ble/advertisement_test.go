package ble

import (
	"bytes"
	"encoding/hex"
	"testing"

	"gatehouse/radio"
)

func TestCommissionable(t *testing.T) {
	lamp := radio.Advertisement{Kind: radio.Commissionable, Discriminator: 0xabc, HasDiscriminator: true, Vendor: 0xfff1, Product: 0x8001}
	more := lamp
	more.AdditionalData = true
	extended := lamp
	extended.Extended = true
	tests := []struct {
		name, data string
		want       *radio.Advertisement
	}{
		{"flags, then service data", "020106 0b16f6ff00bc0af1ff018000", &lamp},
		{"service data alone", "0b16f6ff00bc0af1ff018000", &lamp},
		{"behind another service's", "0516 0f18 6363 0b16f6ff00bc0af1ff018000", &lamp},
		{"behind Matter's for network recovery", "0c16f6ff010102030405060708 0b16f6ff00bc0af1ff018000", &lamp},
		{"behind Matter's cut short", "0a16f6ff00bc0af1ff0180 0b16f6ff00bc0af1ff018000", &lamp},
		{"a version that is not zero", "0b16f6ff00bc5af1ff018000", &lamp},
		{"longer service data", "0d16f6ff00bc0af1ff0180000909", &lamp},
		{"additional data", "0b16f6ff00bc0af1ff018001", &more},
		{"extended announcement", "0b16f6ff00bc0af1ff018002", &extended},
		{"padding behind", "0b16f6ff00bc0af1ff018000 000000", &lamp},
		{"empty", "", nil},
		{"no service data", "020106", nil},
		{"padding before", "00 0b16f6ff00bc0af1ff018000", nil},
		{"a structure longer than the data", "0c16f6ff00bc0af1ff018000", nil},
		{"a length and nothing", "ff", nil},
		{"the service among a list of services", "0302f6ff", nil},
		{"another service", "0b16f5ff00bc0af1ff018000", nil},
		{"service data of 128 bits", "0b21f6ff00bc0af1ff018000", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(tt.data), []byte(" "), nil)))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := Commissionable(data)
			if ok != (tt.want != nil) {
				t.Fatalf("ok is %v: %+v", ok, got)
			}
			if ok && !same(got, *tt.want) {
				t.Errorf("got %+v, want %+v", got, *tt.want)
			}
		})
	}
	if n := testing.AllocsPerRun(100, func() { Commissionable(Advertising(lamp)[:10]) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func same(a, b radio.Advertisement) bool {
	return a.Kind == b.Kind && a.Discriminator == b.Discriminator && a.HasDiscriminator == b.HasDiscriminator && a.Vendor == b.Vendor &&
		a.Product == b.Product && a.AdditionalData == b.AdditionalData && a.Extended == b.Extended
}

func FuzzCommissionable(f *testing.F) {
	f.Add([]byte{2, 1, 6, 0x0b, 0x16, 0xf6, 0xff, 0, 0xbc, 0x0a, 0xf1, 0xff, 1, 0x80, 0})
	f.Add([]byte{0x0b, 0x16, 0xf6, 0xff, 0, 0xbc, 0xfa, 0xf1, 0xff, 1, 0x80, 0xff})
	f.Add([]byte{1, 0x16, 2, 0x16, 0xf6, 3, 0x16, 0xf6, 0xff})
	f.Add([]byte{0xff, 0x16})
	f.Fuzz(func(t *testing.T, data []byte) {
		ad, ok := Commissionable(data)
		if !ok {
			return
		}
		if again, ok := Commissionable(Advertising(ad)); !ok || !same(ad, again) {
			t.Fatalf("%+v became %+v", ad, again)
		}
	})
}
