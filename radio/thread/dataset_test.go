package thread

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const vectorDir = "../../../shared/vectors/thread"

func vectorFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Skipf("the captured %s in shared/vectors/thread is not beside this checkout", name)
	}
	return string(b)
}

// demo is OpenThread's documented example network, with an active timestamp of 1.
const demo = "0e080000000000010000000300000f35060004001fffe0020811111111222222220708fdad70bfe5aa15dd" +
	"051000112233445566778899aabbccddeeff030e4f70656e54687265616444656d6f010212340410445f2b5ca6f2a93a55ce570a70efeecb0c0402a0f7f8"

func mustParse(t testing.TB, s string) Dataset {
	t.Helper()
	d, err := ParseHex(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// describe lists a dataset the way ot-ctl does.
func describe(d Dataset) string {
	var b strings.Builder
	line := func(ok bool, format string, args ...any) {
		if ok {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	pending, ok := d.PendingTimestamp()
	line(ok, "Pending Timestamp: %d", pending.Seconds)
	active, ok := d.ActiveTimestamp()
	line(ok, "Active Timestamp: %d", active.Seconds)
	channel, ok := d.Channel()
	line(ok, "Channel: %d", channel.Number)
	wakeup, ok := d.WakeupChannel()
	line(ok, "Wake-up Channel: %d", wakeup.Number)
	mask, ok := d.ChannelMask()
	line(ok, "Channel Mask: 0x%08x", mask)
	delay, ok := d.Delay()
	line(ok, "Delay: %d", delay.Milliseconds())
	xpanid, ok := d.ExtendedPANID()
	line(ok, "Ext PAN ID: %016x", xpanid)
	prefix, ok := d.MeshLocalPrefix()
	line(ok, "Mesh Local Prefix: %v", prefix)
	key, ok := d.NetworkKey()
	line(ok, "Network Key: %x", key.Reveal())
	name, ok := d.Name()
	line(ok, "Network Name: %s", name)
	panid, ok := d.PANID()
	line(ok, "PAN ID: 0x%04x", panid)
	pskc, ok := d.PSKc()
	line(ok, "PSKc: %x", pskc.Reveal())
	policy, ok := d.SecurityPolicy()
	line(ok, "Security Policy: %v", policy.Rotation.Hours())
	return b.String()
}

// TestVectors reads the datasets that OpenThread made and explained.
func TestVectors(t *testing.T) {
	var explained strings.Builder
	explaining, datasets := false, 0
	lines := bufio.NewScanner(strings.NewReader(vectorFile(t, "vectors-dataset.txt")))
	for lines.Scan() {
		s := lines.Text()
		switch {
		case strings.HasPrefix(s, "## "):
			explained.Reset()
			explaining = strings.HasPrefix(s, "## random dataset") || strings.HasPrefix(s, "## with pending")
		case !explaining:
		case strings.Contains(s, ":"):
			if policy, ok := strings.CutPrefix(s, "Security Policy: "); ok { // the hours; its flags are letters
				s = "Security Policy: " + strings.Fields(policy)[0]
			}
			fmt.Fprintln(&explained, s)
		default:
			d, err := ParseHex(s)
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			if got := describe(d); got != explained.String() {
				t.Errorf("%s:\n%swant\n%s", s, got, explained.String())
			}
			if hex.EncodeToString(d.Reveal()) != s {
				t.Errorf("%s came back as %x", s, d.Reveal())
			}
			if err := d.Complete(); err != nil {
				t.Error(err)
			}
			datasets++
		}
	}
	if datasets < 6 {
		t.Errorf("only %d datasets were found", datasets)
	}
}

// TestInvalidVectors wants what OpenThread refuses refused.
func TestInvalidVectors(t *testing.T) {
	_, rest, ok := strings.Cut(vectorFile(t, "vectors-dataset.txt"), "## invalid dataset hex")
	if !ok {
		t.Fatal("the section is missing")
	}
	cases := 0
	for _, line := range strings.Split(rest, "\n")[1:] {
		s, answer, ok := strings.Cut(line, " -> ")
		if !ok || strings.HasPrefix(line, "##") {
			break
		}
		if _, err := ParseHex(s); (err == nil) != (answer == "Done") {
			t.Errorf("%s: %v; OpenThread says %s", s, err, answer)
		}
		cases++
	}
	if cases < 8 {
		t.Errorf("only %d cases were found", cases)
	}
}

func TestParseErrors(t *testing.T) {
	secret := "0510" + strings.Repeat("ab", 15)
	tests := []struct{ hex, err string }{
		{"", "nothing is there"},
		{" \n", "nothing is there"},
		{"0e0x", "digit 4 is 'x'"},
		{"0300é", "digit 5 is 'é'"},
		{"030", "3 hex digits"},
		{strings.Repeat("0", 509), "509 hex digits, 508"},
		{"03", "byte 0: network name: its length is missing"},
		{"0300" + "c8", "byte 2: type 200: its length is missing"},
		{"0300" + "c8ff0001", "byte 2: type 200: it has an extended length"},
		{"c80300", "byte 0: type 200: it has 3 bytes, of which 1 are there"},
		{"03000300", "byte 2: network name: it is there twice"},
		{"c800c800", "type 200: it is there twice"},
		{"00020019", "channel: it has 2 bytes and should have 3"},
		{"000300000a", "there is no channel 10"},
		{"000300001b", "there is no channel 27"},
		{"4a0300001b", "wake-up channel: there is no channel 27"},
		{"0311" + strings.Repeat("41", 17), "network name: it has 17 bytes and should have 0 to 16"},
		{"0302ff41", "network name: it is not UTF-8"},
		{"0c020001", "security policy: it has 2 bytes and should have 3 to 4"},
		{"34040f731401", "delay: 259200001 ms are more than 72 hours"},
		{"3500", "channel mask: it has 0 bytes"},
		{"35020004", "channel mask: an entry is cut off"},
		{"3503000400", "channel mask: an entry is cut off"},
		{"350300" + "0100", "channel mask: the mask of the 2.4 GHz band has 1 bytes"},
		{"3507" + "0004001fffe002", "channel mask: an entry is cut off"},
		{secret, "network key: it has 16 bytes, of which 15 are there"},
	}
	for _, tt := range tests {
		_, err := ParseHex(tt.hex)
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want it to say %q", tt.hex, err, tt.err)
		}
		if err != nil && strings.Contains(err.Error(), "abab") {
			t.Errorf("%q: the error shows a key: %v", tt.hex, err)
		}
	}
	if _, err := Parse(make([]byte, 255)); err == nil || !strings.Contains(err.Error(), "255 bytes, 254") {
		t.Errorf("255 bytes: %v", err)
	}
}

func TestUnknownIsKept(t *testing.T) {
	const s = "c803010203" + "0102abcd" + "fd00" + "350c01040000000100040000ffff"
	d := mustParse(t, "  "+strings.ToUpper(s)+"\n")
	if got := hex.EncodeToString(d.Reveal()); got != s {
		t.Errorf("%s came back as %s", s, got)
	}
	if mask, ok := d.ChannelMask(); !ok || mask != 0xffff0000 {
		t.Errorf("channel mask behind one of another page: %x", mask)
	}
	if c, ok := mustParse(t, "000302012c").Channel(); !ok || c != (Channel{2, 300}) {
		t.Errorf("channel of another page: %v", c)
	}
	if _, ok := mustParse(t, "3506010400000001").ChannelMask(); ok {
		t.Error("a mask of another page was taken for one of page 0")
	}
	if d.Reveal()[0] = 1; d.Reveal()[0] != 0xc8 {
		t.Error("the dataset was changed from outside")
	}
}

func TestEqual(t *testing.T) {
	d := mustParse(t, demo)
	tlvs := func(d Dataset) (out [][]byte) {
		for b := d.Reveal(); len(b) > 0; b = b[2+b[1]:] {
			out = append(out, b[:2+b[1]])
		}
		return out
	}
	for seed := range uint64(10) {
		shuffled := tlvs(d)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		other, err := Parse(bytes.Join(shuffled, nil))
		if err != nil || !d.Equal(other) || !other.Equal(d) {
			t.Errorf("in another order: %v, %v", d.Equal(other), err)
		}
	}
	for i, tlv := range tlvs(d) {
		less, _ := Parse(bytes.Replace(d.Reveal(), tlv, nil, 1))
		if d.Equal(less) || less.Equal(d) || !d.Covers(less) || less.Covers(d) {
			t.Errorf("without TLV %d it is the same", i)
		}
		changed := d.Reveal()
		changed[bytes.Index(changed, tlv)+len(tlv)-1] ^= 1
		if other, err := Parse(changed); err != nil || d.Equal(other) || d.Covers(other) {
			t.Errorf("with TLV %d changed it is the same (%v)", i, err)
		}
	}
	if !(Dataset{}).Equal(Dataset{}) || (Dataset{}).Equal(d) {
		t.Error("the empty dataset")
	}
}

func TestComplete(t *testing.T) {
	if err := mustParse(t, demo).Complete(); err != nil {
		t.Error(err)
	}
	err := mustParse(t, "030141"+"01021234").Complete()
	if err == nil || !strings.Contains(err.Error(), "network key") || strings.Contains(err.Error(), "network name") {
		t.Errorf("of two TLVs it says %v", err)
	}
}

// TestSecretsStaySecret prints and marshals keys and datasets in all the ways
// that could happen by accident.
func TestSecretsStaySecret(t *testing.T) {
	d := mustParse(t, demo)
	key, _ := d.NetworkKey()
	type holder struct {
		D Dataset
		K Key
		p *Dataset
	}
	for _, v := range []any{d, &d, key, &key, holder{d, key, &d}, &holder{d, key, &d}, []any{d, key}, map[string]any{"d": d, "k": key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			noSecret(t, fmt.Sprintf(verb, v))
		}
		b, err := json.Marshal(v)
		if err == nil {
			t.Errorf("%T was marshalled as %s", v, b)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		noSecret(t, log.String())
	}
	if s := d.String(); !strings.Contains(s, "OpenThreadDemo") || !strings.Contains(s, "1111111122222222") {
		t.Errorf("its string is %q", s)
	}
	if s := mustParse(t, "01021234").String(); !strings.Contains(s, "part") {
		t.Errorf("a part's string is %q", s)
	}
}

func noSecret(t *testing.T, s string) {
	t.Helper()
	plain := strings.ToLower(s)
	for _, secret := range []string{"00112233445566", "[0 17 34 51", "445f2b5ca6", "[68 95 43", "\x00\x11\x22\x33", "abeiz1vm"} {
		if strings.Contains(plain, secret) {
			t.Errorf("a key is in %q", s)
		}
	}
}

func TestKeyEqual(t *testing.T) {
	a, b := NewKey([16]byte{1}), NewKey([16]byte{2})
	if !a.Equal(NewKey([16]byte{1})) || a.Equal(b) || a.Equal(Key{}) || !(Key{}).Equal(Key{}) {
		t.Error("keys compare wrongly")
	}
	if (Key{}).Reveal() != nil {
		t.Error("no key is revealed as one")
	}
	if a.Reveal()[0] = 9; a.Reveal()[0] != 1 {
		t.Error("the key was changed from outside")
	}
}

func TestTimestamp(t *testing.T) {
	for _, ts := range []Timestamp{{1, 0, false}, {1795346133, 32767, true}, {1<<48 - 1, 1, false}} {
		if got := ParseTimestamp(ts.Uint64()); got != ts {
			t.Errorf("%v became %v", ts, got)
		}
	}
	if (Timestamp{2, 0, false}).Compare(Timestamp{1, 9, true}) != 1 || (Timestamp{1, 1, false}).Compare(Timestamp{1, 2, false}) != -1 || (Timestamp{1, 1, true}).Compare(Timestamp{1, 1, true}) != 0 {
		t.Error("timestamps are ordered wrongly")
	}
}

func TestNew(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	channels := map[uint16]bool{}
	networks := map[uint64]bool{}
	for range 200 {
		d, err := New(random, "Küche", now)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Complete(); err != nil {
			t.Fatal(err)
		}
		name, _ := d.Name()
		at, _ := d.ActiveTimestamp()
		panid, _ := d.PANID()
		prefix, _ := d.MeshLocalPrefix()
		mask, _ := d.ChannelMask()
		policy, _ := d.SecurityPolicy()
		key, _ := d.NetworkKey()
		pskc, _ := d.PSKc()
		if name != "Küche" || at != (Timestamp{Seconds: uint64(now.Unix())}) || panid == 0xffff || prefix.Addr().As16()[0] != 0xfd ||
			mask != 0x07fff800 || policy != (SecurityPolicy{672 * time.Hour, 0xf7f8}) || key.Equal(pskc) {
			t.Fatalf("made\n%s", describe(d))
		}
		c, _ := d.Channel()
		id, _ := d.ExtendedPANID()
		channels[c.Number], networks[id] = true, true
	}
	if len(channels) != len(quietChannels) || len(networks) != 200 {
		t.Errorf("%d channels and %d identities in 200 datasets", len(channels), len(networks))
	}
	for _, bad := range []string{"", strings.Repeat("x", 17), "\xff"} {
		if _, err := New(random, bad, now); err == nil {
			t.Errorf("the name %q was taken", bad)
		}
	}
	if _, err := New(strings.NewReader("too little"), "x", now); err == nil {
		t.Error("a source that runs dry was enough")
	}
}

// TestDerivePSKc has OpenThread's vectors, and lengths around AES's block.
func TestDerivePSKc(t *testing.T) {
	if got := pskc(t, "12SECRETPASSWORD34", "Test Network", 0x0001020304050607); got != "c3f59368445a1b6106be420a706d4cc9" {
		t.Errorf("of the specification's example: %s", got)
	}
	for _, n := range []int{0, 5, 256} {
		if _, err := DerivePSKc(strings.Repeat("x", n), "", 1); err == nil {
			t.Errorf("a passphrase of %d bytes was taken", n)
		}
	}
	if _, err := DerivePSKc("passphrase", strings.Repeat("x", 17), 1); err == nil {
		t.Error("a name of 17 bytes was taken")
	}
}

func pskc(t *testing.T, passphrase, name string, id uint64) string {
	t.Helper()
	k, err := DerivePSKc(passphrase, name, id)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(k.Reveal())
}

func TestPSKcVectors(t *testing.T) {
	cases := 0
	for _, line := range strings.Split(vectorFile(t, "vectors-dataset.txt"), "\n") {
		s, ok := strings.CutPrefix(line, "## PSKc passphrase=")
		if !ok {
			continue
		}
		s, want, _ := strings.Cut(s, " : ")
		s, id, _ := strings.Cut(s, " xpanid=")
		passphrase, name, _ := strings.Cut(s, " name=")
		passphrase, _, _ = strings.Cut(passphrase, " (")
		if strings.HasPrefix(name, `""`) {
			name = ""
		}
		var xpanid uint64
		fmt.Sscanf(id, "%x", &xpanid)
		if got := pskc(t, passphrase, name, xpanid); got != want {
			t.Errorf("%s: %s", line, got)
		}
		cases++
	}
	if cases < 7 {
		t.Errorf("only %d cases were found", cases)
	}
}

// TestCMAC has the examples of RFC 4493.
func TestCMAC(t *testing.T) {
	key, _ := hex.DecodeString("2b7e151628aed2a6abf7158809cf4f3c")
	message, _ := hex.DecodeString("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		if got := newCMAC([16]byte(key)).sum(message[:n]); hex.EncodeToString(got[:]) != want {
			t.Errorf("of %d bytes: %x, want %s", n, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{demo, "c803010203fd00", "350c01040000000100040000ffff", "33080000000000010000340400009c40", "03ff", "0300"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil || len(b) == 0 {
			return
		}
		if !bytes.Equal(d.Reveal(), b) || !d.Equal(d) || len(b) > MaxDataset {
			t.Fatalf("%x came back as %x", b, d.Reveal())
		}
		if n := testing.AllocsPerRun(1, func() { Parse(b) }); n > 2 { // the copy, the closure
			t.Fatalf("%v allocations", n)
		}
		describe(d)
		d.Complete()
		if again, err := ParseHex(fmt.Sprintf("%X", d.Reveal())); err != nil || !again.Equal(d) {
			t.Fatalf("by way of hex: %v", err)
		}
	})
}

func FuzzParseHex(f *testing.F) {
	for _, s := range []string{demo, strings.ToUpper(demo), "", " 0300\r\n", "0x0300", "03 00", "030"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseHex(s)
		if err == nil && fmt.Sprintf("%x", d.Reveal()) != strings.ToLower(strings.TrimSpace(s)) {
			t.Fatalf("%q came back as %x", s, d.Reveal())
		}
	})
}

func BenchmarkDerivePSKc(b *testing.B) {
	for b.Loop() {
		DerivePSKc("a long passphrase", "Home", 1)
	}
}
