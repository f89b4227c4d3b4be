package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// product is times by another way: polynomials, then the remainder.
func product(a, b byte) byte {
	var wide uint16
	for i := range 8 {
		if b>>i&1 == 1 {
			wide ^= uint16(a) << i
		}
	}
	for i := 15; i >= 8; i-- {
		if wide>>i&1 == 1 {
			wide ^= 0x11B << (i - 8)
		}
	}
	return byte(wide)
}

func TestField(t *testing.T) {
	if times(0x57, 0x83) != 0xC1 || times(0x57, 0x13) != 0xFE || inverse(0x53) != 0xCA { // FIPS 197, 4.2, and its S-box
		t.Error("the field is another")
	}
	for a := range 256 {
		for b := range 256 {
			if times(byte(a), byte(b)) != product(byte(a), byte(b)) {
				t.Fatalf("%#x times %#x is %#x", a, b, times(byte(a), byte(b)))
			}
		}
		if a != 0 && times(byte(a), inverse(byte(a))) != 1 {
			t.Errorf("1/%#x is %#x", a, inverse(byte(a)))
		}
	}
}

// TestLine holds the scheme to shares worked out by hand with the products of
// FIPS 197: 0x57·2 = 0xAE, 0x57·3 = 0xF9.
func TestLine(t *testing.T) {
	secret, slope := []byte{0x00, 0x01, 0xFF}, []byte{0x57, 0x57, 0x57}
	want := [shares][]byte{{0x57, 0x56, 0xA8}, {0xAE, 0xAF, 0x51}, {0xF9, 0xF8, 0x06}}
	for i, w := range want {
		if got := height(secret, slope, byte(i+1)); !bytes.Equal(got, w) {
			t.Errorf("share %d is %x, not %x", i+1, got, w)
		}
		for j, v := range want {
			if i != j && !bytes.Equal(origin(byte(i+1), w, byte(j+1), v), secret) {
				t.Errorf("shares %d and %d give another secret", i+1, j+1)
			}
		}
	}
}

// TestOneShareTellsNothing sees every height equally often, whatever the
// secret is.
func TestOneShareTellsNothing(t *testing.T) {
	for x := byte(1); x <= shares; x++ {
		for secret := range 256 {
			var seen [256]bool
			for slope := range 256 {
				seen[height([]byte{byte(secret)}, []byte{byte(slope)}, x)[0]] = true
			}
			if seen != [256]bool(bytes256()) {
				t.Fatalf("share %d of %#x cannot be everything", x, secret)
			}
		}
	}
}

func bytes256() []bool {
	all := make([]bool, 256)
	for i := range all {
		all[i] = true
	}
	return all
}

func split(t testing.TB, seed byte) (Kit, [shares][]byte) {
	t.Helper()
	k, _ := kit(t)
	k.Home = "Zoë's \"home\"\n"
	k.Sealing = sealingKey(t, 9)
	texts, err := SplitKit(seeded(seed), k)
	if err != nil {
		t.Fatal(err)
	}
	return k, texts
}

func parsed(t testing.TB, text []byte) *Share {
	t.Helper()
	s, err := ParseShare(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s
}

func TestShares(t *testing.T) {
	k, texts := split(t, 1)
	for i := range texts {
		s := parsed(t, texts[i])
		if s.Number != i+1 || s.Home != k.Home || s.FabricID != k.FabricID || !IsShare(texts[i]) {
			t.Errorf("%+v", s)
		}
		for j := range texts {
			if i == j {
				continue
			}
			got, err := JoinShares(s, parsed(t, texts[j]))
			if err != nil {
				t.Fatalf("shares %d and %d: %v", i+1, j+1, err)
			}
			if got.Home != k.Home || !bytes.Equal(got.Root, k.Root) || !bytes.Equal(got.Key.Reveal(), k.Key.Reveal()) ||
				!bytes.Equal(got.Sealing.Public(), k.Sealing.Public()) {
				t.Errorf("shares %d and %d: %+v", i+1, j+1, got)
			}
		}
		// What is on one share does not open its kit.
		if _, err := Open(s.key, "gatehouse recovery kit in shares, fabric "+k.FabricID.String(), s.kit); !errors.Is(err, ErrOpen) {
			t.Errorf("share %d alone: %v", i+1, err)
		}
		if bytes.Contains(texts[i], []byte(hex.EncodeToString(k.Key.Reveal()))) {
			t.Errorf("the root key is on share %d", i+1)
		}
		// As mail, another system or a printer leaves it.
		parsed(t, bytes.ReplaceAll(texts[i], []byte("\n"), []byte("  \r\n\r\n")))
	}
	again, texts2 := split(t, 2)
	if bytes.Equal(texts[0], texts2[0]) || again.FabricID != k.FabricID {
		t.Error("two sets are the same")
	}
}

func TestJoinRefusals(t *testing.T) {
	_, texts := split(t, 1)
	_, others := split(t, 2)
	foreign := parsed(t, others[1])
	foreign.FabricID++
	swapped := parsed(t, texts[1])
	swapped.key = parsed(t, others[1]).key
	for name, c := range map[string]struct {
		b    *Share
		want string
	}{
		"the same share":    {parsed(t, texts[0]), "both are share 1"},
		"another set":       {parsed(t, others[1]), "two sets"},
		"another home":      {foreign, "two homes"},
		"another set's key": {swapped, "do not open the kit"},
	} {
		if _, err := JoinShares(parsed(t, texts[0]), c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMistyped changes every letter of a share.
func TestMistyped(t *testing.T) {
	_, texts := split(t, 1)
	text := texts[1]
	for i, b := range text {
		for _, wrong := range []byte{b ^ 1, 'x', '\n'} {
			bad := bytes.Clone(text)
			bad[i] = wrong
			s, err := ParseShare(bad)
			if err == nil && !bytes.Equal(s.text(), text) {
				t.Fatalf("octet %d, %q, became %q: accepted", i, b, wrong)
			}
		}
		if i < len(text)-1 {
			if _, err := ParseShare(text[:i]); err == nil {
				t.Fatalf("cut off at %d: accepted", i)
			}
		}
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i := range lines[:len(lines)-1] {
		without := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
		twice := strings.Join(append(append([]string{}, lines[:i+1]...), lines[i:]...), "")
		for _, bad := range []string{without, twice} {
			if _, err := ParseShare([]byte(bad)); err == nil {
				t.Errorf("line %d left out or twice: accepted", i)
			}
		}
	}
	newer := bytes.Replace(text, []byte("SHARE 1-"), []byte("SHARE 2-"), 1)
	if _, err := ParseShare(newer); err == nil || !strings.Contains(err.Error(), "another release") {
		t.Errorf("of a later release: %v", err)
	}
	if _, err := ParseShare([]byte("-----BEGIN AGE ENCRYPTED FILE-----")); err == nil || !strings.Contains(err.Error(), "no share") {
		t.Errorf("a kit: %v", err)
	}
}

func FuzzParseShare(f *testing.F) {
	_, texts := split(f, 1)
	for _, text := range texts {
		f.Add(text)
	}
	f.Add([]byte(shareBegin + "\nkit AAAA\n" + shareEnd))
	other := parsed(f, texts[2])
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := ParseShare(b)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20+64*uint64(len(b)) {
			t.Fatalf("%d octets allocated for %d", used, len(b))
		}
		if err != nil {
			return
		}
		if again := parsed(t, s.text()); !bytes.Equal(again.text(), s.text()) {
			t.Error("another share was written than was read")
		}
		if k, err := JoinShares(s, other); (err == nil) != (k != nil) {
			t.Error("neither a kit nor an error")
		}
	})
}
