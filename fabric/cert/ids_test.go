package cert

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNodeID(t *testing.T) {
	for _, c := range []struct {
		id   NodeID
		want bool
	}{{0, false}, {1, true}, {0xFFFFFFEFFFFFFFFF, true}, {0xFFFFFFF000000000, false}, {0xFFFFFFFD00010001, false},
		{0xFFFFFFFFFFFF0001, false}} {
		if got := c.id.Operational(); got != c.want {
			t.Errorf("%v operational: %v", c.id, got)
		}
	}
	if c, ok := NodeID(0xFFFFFFFDABCD0002).CAT(); !ok || c != NewCAT(0xABCD, 2) || c.Subject() != 0xFFFFFFFDABCD0002 {
		t.Errorf("%v, %v", c, ok)
	}
	for _, id := range []NodeID{0x1234, 0xFFFFFFFDABCD0000, 0xFFFFFFFC00010001} {
		if c, ok := id.CAT(); ok {
			t.Errorf("%v is taken for CAT %v", id, c)
		}
	}
}

func TestCATSatisfies(t *testing.T) {
	for _, c := range []struct {
		have, want CAT
		ok         bool
	}{
		{NewCAT(1, 2), NewCAT(1, 2), true},
		{NewCAT(1, 3), NewCAT(1, 2), true},
		{NewCAT(1, 1), NewCAT(1, 2), false}, // evicted
		{NewCAT(2, 2), NewCAT(1, 2), false},
		{NewCAT(1, 2), NewCAT(1, 0), false},
		{NewCAT(1, 0), NewCAT(1, 0), false},
	} {
		if got := c.have.Satisfies(c.want); got != c.ok {
			t.Errorf("%v satisfies %v: %v", c.have, c.want, got)
		}
	}
}

func TestCheckCATs(t *testing.T) {
	for _, c := range []struct {
		cats []CAT
		ok   bool
	}{
		{nil, true},
		{[]CAT{NewCAT(1, 1), NewCAT(2, 1), NewCAT(3, 9)}, true},
		{[]CAT{NewCAT(1, 1), NewCAT(2, 1), NewCAT(3, 9), NewCAT(4, 1)}, false},
		{[]CAT{NewCAT(1, 1), NewCAT(1, 2)}, false},
		{[]CAT{NewCAT(1, 0)}, false},
	} {
		if err := CheckCATs(c.cats); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.cats, err)
		}
	}
}

// The compressed ids are those TestChipCert.cpp expects.
func TestCompressFabric(t *testing.T) {
	for root, want := range map[string]CompressedFabricID{"Root01": 0x3893C4324526C775, "Root02": 0x89E8911178DAC089} {
		if got := CompressFabric(sdk(t, root).PublicKey, 0xFAB000000000001D); got != want {
			t.Errorf("%s: %v, want %v", root, got, want)
		}
	}
}

// The keys are those TestGroupOperationalCredentials.cpp expects.
func TestGroupKey(t *testing.T) {
	for epochKey, want := range map[string]string{
		"00000000000000000000000000000000": "c5f2690187115150c356ad93b385bb0f",
		"101112131415161718191a1b1c1d1e1f": "aed95695f375d2ce78556a41730c3f43",
		"202122232425262728292a2b2c2d2e2f": "35ca346e5e24bbbe889cf4d35c5e820a",
	} {
		b, err := hex.DecodeString(epochKey)
		if err != nil {
			t.Fatal(err)
		}
		got := NewEpochKey([16]byte(b)).Operational(0x87E1B004E235A130).Reveal()
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("%s: %x, want %s", epochKey, got, want)
		}
	}
}

func TestKeysNeverShow(t *testing.T) {
	k, err := RandomEpochKey(strings.NewReader("Gatehouse canary"))
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct{ k any }
	var log bytes.Buffer
	values := []any{k, &k, struct{ k EpochKey }{k}, hidden{k}, k.Operational(1)}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "k", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(b)
	}
	out := strings.ToLower(log.String())
	derived := k.Operational(1).Reveal()
	for _, b := range [][]byte{[]byte("Gatehouse canary"), derived[:]} {
		for _, s := range []string{string(b), hex.EncodeToString(b), strings.Trim(fmt.Sprint(b), "[]")} {
			if strings.Contains(out, strings.ToLower(s)) {
				t.Errorf("a key shows as %q", s)
			}
		}
	}
	k.Erase()
	if k.Reveal() != [16]byte{} {
		t.Error("an erased key is still there")
	}
	if _, err := RandomEpochKey(strings.NewReader("short")); err == nil {
		t.Error("a key without randomness")
	}
}
