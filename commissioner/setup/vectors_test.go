package setup

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

const vectorFile = "../../../shared/vectors/matter-sdk/derived/onboarding_payloads.json"

// vector is one line of the file; what it does not say is nil.
type vector struct {
	Text, Note         string
	Digits             string
	Valid              *bool
	Payloads           int
	VendorID           *uint16 `json:"vendor_id"`
	ProductID          *uint16 `json:"product_id"`
	Flow               *uint8
	Rendezvous         *uint8
	Discriminator      *uint16
	ShortDiscriminator *uint8 `json:"short_discriminator"`
	Passcode           *uint32
	BytesHex           string `json:"bytes_hex"`
}

func (v vector) check(t *testing.T, name string, p Payload) {
	t.Helper()
	full, _ := p.Discriminator.Full()
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"vendor", v.VendorID == nil || *v.VendorID == p.VendorID},
		{"product", v.ProductID == nil || *v.ProductID == p.ProductID},
		{"flow", v.Flow == nil || Flow(*v.Flow) == p.Flow},
		{"discovery", v.Rendezvous == nil || Discovery(*v.Rendezvous) == p.Discovery},
		{"discriminator", v.Discriminator == nil || *v.Discriminator == full},
		{"short discriminator", v.ShortDiscriminator == nil || *v.ShortDiscriminator == p.Discriminator.Upper() && p.Discriminator.IsShort()},
		{"passcode", v.Passcode == nil || *v.Passcode == p.Passcode.Reveal()},
	} {
		if !c.ok {
			t.Errorf("%s: %s is %+v", name, c.what, p)
		}
	}
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile(vectorFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the Matter SDK's vectors are not beside the repository (../shared/vectors)")
	} else if err != nil {
		t.Fatal(err)
	}
	var file struct {
		QR      []vector
		Base38  []vector
		Manual  []vector `json:"manual_without_check_digit"`
		Printed []vector `json:"manual_full"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.QR {
		payloads, err := Parse(v.Text)
		if bad := v.Valid != nil || strings.Contains(v.Note, "invalid") || strings.Contains(v.Note, "throw"); bad {
			if err == nil {
				t.Errorf("%s is accepted: %s", v.Text, v.Note)
			}
			continue
		}
		if err != nil || len(payloads) != max(v.Payloads, 1) {
			t.Errorf("%s: %d payloads, %v", v.Text, len(payloads), err)
			continue
		}
		v.check(t, v.Text, payloads[0])
		if back, err := QR(payloads...); err != nil || back != v.Text {
			t.Errorf("%s encodes as %s, %v", v.Text, back, err)
		}
	}
	for _, v := range file.Base38 {
		b, err := decode38(v.Text)
		if err != nil || hex.EncodeToString(b) != v.BytesHex || encode38(b) != v.Text {
			t.Errorf("%s: %x, %v, back to %s", v.Text, b, err, encode38(b))
		}
	}
	for _, v := range file.Manual {
		testManualVector(t, v, checked(v.Digits))
	}
	for _, v := range file.Printed {
		testManualVector(t, v, v.Digits)
	}
}

func testManualVector(t *testing.T, v vector, code string) {
	payloads, err := Parse(code)
	if v.Passcode != nil && *v.Passcode > maxPasscode { // well-formed, but no device may have it
		wantCode(t, code, err, CodePasscode)
		return
	}
	if err != nil {
		t.Errorf("%s: %v", code, err)
		return
	}
	v.check(t, code, payloads[0])
	if back, err := payloads[0].Manual(); err != nil || back != code {
		t.Errorf("%s encodes as %s, %v", code, back, err)
	}
}
