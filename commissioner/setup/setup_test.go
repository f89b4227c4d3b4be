package setup

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// same compares payloads, passcodes by value.
var same = cmp.Options{
	cmp.Comparer(func(a, b Passcode) bool { return a.Reveal() == b.Reveal() }),
	cmp.AllowUnexported(Discriminator{}),
}

func one(t *testing.T, code string) Payload {
	t.Helper()
	payloads, err := Parse(code)
	if err != nil {
		t.Fatalf("Parse(%q): %v", code, err)
	}
	if len(payloads) != 1 {
		t.Fatalf("Parse(%q): %d payloads", code, len(payloads))
	}
	return payloads[0]
}

func wantCode(t *testing.T, what string, err error, want Code) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: error %v, want %s", what, err, want)
		return
	}
	if e.Code != want {
		t.Errorf("%s: %s (%v), want %s", what, e.Code, err, want)
	}
	if e.Message == "" || e.Remedy == "" {
		t.Errorf("%s: %s has no explanation", what, e.Code)
	}
}

func TestParse(t *testing.T) {
	light := Payload{VendorID: 0xFFF1, ProductID: 0x8000, Discovery: DiscoverBLE,
		Discriminator: Long(3840), Passcode: NewPasscode(20202021)}
	first := Payload{VendorID: 12, ProductID: 1, Discovery: DiscoverSoftAP,
		Discriminator: Long(128), Passcode: NewPasscode(2048)}
	short := Payload{Discriminator: Short(15), Passcode: NewPasscode(20202021)}
	for _, c := range []struct {
		code string
		want Payload
	}{
		{"MT:Y.K9042C00KA0648G00", light},
		{"  mt:y.k9042c00ka0648g00\n", light},
		{"MT:M5L90MP500K64J00000", first},
		{"HTTPS://EXAMPLE.ORG/%MT:M5L90MP500K64J00000%X:1", first},
		{"34970112332", short},
		{"3497-011-2332", short},
		{" 3497 011\u00a02332 ", short},
		{"3497\u2013011\u20132332", short},
	} {
		if diff := cmp.Diff(c.want, one(t, c.code), same); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", c.code, diff)
		}
	}
}

func TestParseSeveralDevices(t *testing.T) {
	const code = "MT:M5L90MP500K64J00000*M5L90U.D010K4J00000*M5L900CM02IX4J00000*M5L908OU03-85J00000"
	payloads, err := Parse(code)
	if err != nil || len(payloads) != 4 {
		t.Fatalf("%d payloads, %v", len(payloads), err)
	}
	for i, p := range payloads {
		d, _ := p.Discriminator.Full()
		if d != uint16(128+i) || p.Passcode.Reveal() != uint32(2048+i) {
			t.Errorf("device %d: discriminator %d or passcode is wrong", i, d)
		}
	}
	back, err := QR(payloads...)
	if err != nil || back != code {
		t.Errorf("encodes as %q, %v", back, err)
	}
}

func TestMalformedCodes(t *testing.T) {
	const good = "MT:M5L90MP500K64J00000"
	for _, c := range []struct {
		what, code string
		want       Code
		index      int
	}{
		{"nothing", " \n", CodeEmpty, 0},
		{"too long", good + strings.Repeat("0", maxCodeLength), CodeTooLong, 0},
		{"a word", "hello", CodeUnknown, 0},
		{"a web address", "https://example.org/1", CodeUnknown, 0},
		{"another scheme", "AT:M5L90MP500K64J00000", CodeUnknown, 0},
		{"HomeKit", "X-HM://0023ISYWY23PE", CodeUnknown, 0},
		{"QR prefix alone", "MT:", CodeLength, 0},
		{"QR cut off", good[:len(good)-1], CodeLength, 0},
		{"QR cut to a whole group", good[:13], CodeLength, 0},
		{"QR with a letter outside the alphabet", "MT:M5L90MP5_0K64J00000", CodeCharacter, 0},
		{"QR with a space inside", "MT:M5L90 MP500K64J00000", CodeCharacter, 0},
		{"QR with a dotless i", "MT:M5L90MP500K64J0000\u0131", CodeCharacter, 0},
		{"QR group too large", "MT:.....MP500K64J00000", CodeCharacter, 0},
		{"second device bad", good + "*" + good[3:12], CodeLength, 1},
		{"empty second device", good + "*", CodeLength, 1},
		{"manual, check digit", "34970112331", CodeChecksum, 0},
		{"manual, digit wrong", "34970112432", CodeChecksum, 0},
		{"manual, digits swapped", "34907112332", CodeChecksum, 0},
		{"manual, digit missing", "3497011233", CodeLength, 0},
		{"manual, digit too many", "349701123320", CodeLength, 0},
		{"manual, letter", "3497O112332", CodeCharacter, 0},
		{"manual, long flag on a short code", checked("6412950753"), CodeLength, 0},
		{"manual, long code without the flag", checked("23456789123456785610"), CodeLength, 0},
		{"manual, of a later version", checked("8497011233"), CodeVersion, 0},
		{"manual, no passcode", checked("2327680000"), CodePasscode, 0},
		{"manual, vendor too large", checked("64129507536552600001"), CodeVendor, 0},
		{"manual, product too large", checked("64129507530000165536"), CodeProduct, 0},
		{"manual, vendor without product", checked("64129507530000100000"), CodeProduct, 0},
		{"manual, bits over", checked("2999990753"), CodePadding, 0},
		{"QR, passcode 12345678", "MT:YNJV7VSC00ANG46Y900", CodePasscode, 0},
		{"QR, passcode too large", "MT:M5L90MP500W-GT68D20", CodePasscode, 0},
		{"QR, vendor reserved", "MT:U34J029Q00KA0648G00", CodeVendor, 0},
		{"QR, vendor without product", "MT:Y.K904KP00KA0648G00", CodeProduct, 0},
		{"QR, version 1", "MT:ZNJV7VSC00CMVH7SR00", CodeVersion, 0},
		{"QR, flow 3", "MT:" + encode38(bits(3<<35, 20202021)), CodeFlow, 0},
		{"QR, padding", "MT:" + encode38(append(bits(0, 20202021)[:10], 0x10)), CodePadding, 0},
		{"QR, octets behind", "MT:" + encode38(append(bits(0, 20202021), 0)), CodeExtension, 0},
	} {
		payloads, err := Parse(c.code)
		if err == nil {
			t.Errorf("%s: accepted as %+v", c.what, payloads)
			continue
		}
		wantCode(t, c.what, err, c.want)
		if e := (*Error)(nil); errors.As(err, &e) && e.Index != c.index {
			t.Errorf("%s: blames device %d", c.what, e.Index)
		}
	}
}

// checked is digits with their check digit.
func checked(digits string) string { return digits + string(verhoeffDigit(digits)) }

// bits is a payload with the low fields given as they lie.
func bits(low uint64, passcode uint32) []byte {
	p := Payload{Passcode: NewPasscode(passcode)}
	b, err := p.pack()
	if err != nil {
		panic(err)
	}
	for i := range 8 {
		b[i] |= byte(low >> (8 * i))
	}
	return b
}

func TestVerhoeffFindsEverySlip(t *testing.T) {
	const code = "34970112332"
	for i := range code {
		for d := byte('0'); d <= '9'; d++ {
			if wrong := code[:i] + string(d) + code[i+1:]; d != code[i] && verhoeffValid(wrong) {
				t.Errorf("%s passes", wrong)
			}
		}
		if i > 0 && code[i] != code[i-1] {
			if wrong := code[:i-1] + code[i:i+1] + code[i-1:i] + code[i+1:]; verhoeffValid(wrong) {
				t.Errorf("%s passes", wrong)
			}
		}
	}
}

func TestDiscriminatorMatches(t *testing.T) {
	for _, c := range []struct {
		d    Discriminator
		v    uint16
		want bool
	}{
		{Long(3840), 3840, true}, {Long(3840), 3841, false},
		{Short(15), 3840, true}, {Short(15), 0xFFF, true}, {Short(15), 0xEFF, false}, {Short(0), 0, true},
	} {
		if got := c.d.Matches(c.v); got != c.want {
			t.Errorf("%v matches %d: %v", c.d, c.v, got)
		}
	}
	if _, ok := Short(3).Full(); ok {
		t.Error("a short discriminator claims to be full")
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := one(t, "MT:Y.K9042C00KA0648G00")
	for _, c := range []struct {
		what  string
		spoil func(*Payload)
		want  Code
	}{
		{"version", func(p *Payload) { p.Version = 1 }, CodeVersion},
		{"flow", func(p *Payload) { p.Flow = 3 }, CodeFlow},
		{"vendor", func(p *Payload) { p.VendorID = 0xFFF5 }, CodeVendor},
		{"product", func(p *Payload) { p.ProductID = 0 }, CodeProduct},
		{"no passcode", func(p *Payload) { p.Passcode = Passcode{} }, CodePasscode},
		{"short discriminator", func(p *Payload) { p.Discriminator = Short(1) }, CodeDiscriminator},
		{"salt", func(p *Payload) { p.Extension.Salt = []byte{1} }, CodeExtension},
		{"too long", func(p *Payload) { p.Extension.SerialNumber = strings.Repeat("x", 200) }, CodeTooLong},
	} {
		p := good
		c.spoil(&p)
		_, err := p.QR()
		wantCode(t, c.what, err, c.want)
	}
	if _, err := QR(); err == nil {
		t.Error("a code for no device")
	}
	several := make([]Payload, 300)
	for i := range several {
		several[i] = good
	}
	_, err := QR(several...)
	wantCode(t, "300 devices", err, CodeTooLong)
}
