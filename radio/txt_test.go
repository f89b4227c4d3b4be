package radio

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSetTXT(t *testing.T) {
	long := strings.Repeat("x", 129)
	tests := []struct {
		name string
		kind Kind
		txt  []string
		want Advertisement
	}{
		{"a matter.js light", Commissionable,
			[]string{"SAI=400", "SAT=4001", "DN=Lamp", "DT=257", "D=3840", "CM=1", "PH=33", "PI=", "VP=65521+32768", "ICD=0"},
			Advertisement{Session: Session{ActiveInterval: 400 * time.Millisecond, ActiveThreshold: 4001 * time.Millisecond},
				DeviceName: "Lamp", DeviceType: 257, Discriminator: 3840, HasDiscriminator: true, Mode: BasicCommissioning,
				PairingHint: 33, Vendor: 65521, Product: 32768, ICD: ShortIdle}},
		{"keys in any case, the first of two holds", Commissionable,
			[]string{"d=1", "D=2", "cm=2", "Vp=1"},
			Advertisement{Discriminator: 1, HasDiscriminator: true, Mode: EnhancedCommissioning, Vendor: 1}},
		{"the first holds though it is malformed", Commissionable, []string{"D=x", "D=2"}, Advertisement{}},
		{"out of range", Commissionable,
			[]string{"D=4096", "CM=4", "VP=65536+1", "SII=3600001", "SAT=65536", "T=256", "ICD=2", "JF=256", "DT=4294967296"},
			Advertisement{}},
		{"not numbers", Commissionable,
			[]string{"D=", "CM=+1", "VP=1+", "SII=-1", "SAI=1e3", "SAT= 5", "T=0x6", "ICD=true", "DT=010", "PH=99999999999999999999"},
			Advertisement{}},
		{"not pairs", Commissionable, []string{"", "=", "=5", "D", "DD=5", "junk"}, Advertisement{}},
		{"text", Commissionable,
			[]string{"DN=Küche", "PI=hold for 5 s", "RI=00Aaff"},
			Advertisement{DeviceName: "Küche", PairingInstruction: "hold for 5 s", RotatingID: []byte{0, 0xaa, 0xff}}},
		{"bad text", Commissionable,
			[]string{"DN=" + long[:33], "PI=a\x1b[31mred", "RI=" + strings.Repeat("00", 51)}, Advertisement{}},
		{"bad text of other kinds", Commissionable, []string{"DN=\xff\xfe", "PI=" + long, "RI=abc"}, Advertisement{}},
		{"operational, where D means nothing", Operational,
			[]string{"SII=500", "T=6", "ICD=1", "D=7", "CM=1", "DN=no"},
			Advertisement{Session: Session{IdleInterval: 500 * time.Millisecond}, TCPClient: true, TCPServer: true, ICD: LongIdle}},
		{"reserved bit of T", Operational, []string{"T=1"}, Advertisement{}},
		{"joint fabric", Commissionable, []string{"JF=6", "CM=3"},
			Advertisement{JointFabric: JointFabricAdministrator | JointFabricAnchor, Mode: JointFabricMode}},
		{"border router", BorderRouter,
			[]string{"rv=1", "nn=Home", "xp=\x01\x02\x03\x04\x05\x06\x07\x08", "pt=\x00\x00\x01\x00", "sb=\x00\x00\x01\xb1", "tv=1.4.0",
				"vn=OpenThread", "omr=\x40\xfd\x00\xaa\xbb\x00\x00\x00\x01", "xa=short", "D=5"},
			Advertisement{Thread: ThreadRouter{NetworkName: "Home", ExtendedPANID: 0x0102030405060708, Partition: 256, State: 0x1b1,
				ThreadVersion: "1.4.0", Vendor: "OpenThread", Mesh: netip.MustParsePrefix("fd00:aabb:0:1::/64")}}},
		{"bad mesh prefix", BorderRouter, []string{"omr=\x40\xfd\x00"}, Advertisement{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Advertisement{Kind: tt.kind}
			got.SetTXT(tt.txt)
			tt.want.Kind = tt.kind
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestShortDiscriminator(t *testing.T) {
	a := Advertisement{Discriminator: 0xf00}
	if got := a.ShortDiscriminator(); got != 15 {
		t.Errorf("of 0xf00: %d", got)
	}
}

func TestOperationalInstance(t *testing.T) {
	const name = "87E1B004E235A130-000000000000ABCD"
	if got := OperationalInstance(0x87e1b004e235a130, 0xabcd); got != name {
		t.Errorf("got %s", got)
	}
	for _, s := range []string{name, strings.ToLower(name)} {
		if f, n, err := ParseOperationalInstance(s); f != 0x87e1b004e235a130 || n != 0xabcd || err != nil {
			t.Errorf("%s: %x, %x, %v", s, f, n, err)
		}
	}
	for _, bad := range []string{"", name[1:], name + "0", strings.Replace(name, "-", "_", 1), strings.Replace(name, "E", "G", 1), "+7E1B004E235A130-000000000000ABCD"} {
		if _, _, err := ParseOperationalInstance(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// Whatever SetTXT takes, TXT gives back in a form that SetTXT reads alike.
func FuzzTXT(f *testing.F) {
	for _, seed := range []string{"D=3840\nVP=1+2\nCM=1\nDN=Lamp\nRI=00ff\nPH=33\nPI=press\nJF=3\nSII=1\nSAI=2\nSAT=3\nT=6\nICD=1\nDT=257",
		"D=0\nCM=0", "VP=0+5", "nn=Home\nxp=01234567\nomr=\x40\xfd0000000", "=\n==\nD==", "T=7\nICD=0"} {
		f.Add(seed, uint8(1))
		f.Add(seed, uint8(2))
		f.Add(seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, txt string, kind uint8) {
		if len(txt) > 4096 {
			return
		}
		a := Advertisement{Kind: Kind(kind)}
		a.SetTXT(strings.Split(txt, "\n"))
		if len(a.DeviceName) > maxDeviceName || len(a.RotatingID) > maxRotatingID || len(a.PairingInstruction) > maxInstruction ||
			a.Discriminator > 0xfff || a.Mode > JointFabricMode || a.Session.IdleInterval > time.Hour {
			t.Fatalf("out of its range: %+v", a)
		}
		if a.Kind == BorderRouter || a.Kind == Commissionable && !a.HasDiscriminator || a.Vendor == 0 && a.Product != 0 {
			return
		}
		again := Advertisement{Kind: a.Kind}
		again.SetTXT(a.TXT())
		if !reflect.DeepEqual(a, again) {
			t.Errorf("%+v\nbecame %+v\nby way of %q", a, again, a.TXT())
		}
	})
}
