package setup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPasscodeValid(t *testing.T) {
	for _, v := range []uint32{0, 11111111, 22222222, 33333333, 44444444, 55555555, 66666666, 77777777,
		88888888, 99999999, 12345678, 87654321, 100000000, 1<<27 - 1} {
		if NewPasscode(v).Valid() {
			t.Errorf("%d is valid", v)
		}
	}
	for _, v := range []uint32{1, 99999998, 20202021, 11111112} {
		if !NewPasscode(v).Valid() {
			t.Errorf("%d is not valid", v)
		}
	}
	if (Passcode{}).Valid() {
		t.Error("no passcode is valid")
	}
}

// TestPasscodeNeverShows prints a passcode in every way that has leaked one
// somewhere: directly, inside exported and unexported fields, and as text.
func TestPasscodeNeverShows(t *testing.T) {
	const code = "MT:Y.K9042C00KA0648G00"
	p := one(t, code)
	hidden := struct{ p Payload }{p}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("pairing", "passcode", p.Passcode, "payload", p, "hidden", hidden)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("pairing", "passcode", p.Passcode, "payload", p, "hidden", hidden)
	out := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%x", "%s", "%q"} {
		out += fmt.Sprintf(verb+verb+verb+verb, p.Passcode, p, &p, hidden)
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out += string(encoded)
	for _, digits := range []string{"20202021", "1344225"} { // decimal, hexadecimal
		if strings.Contains(out, digits) {
			t.Errorf("the passcode shows: %s", out)
		}
	}
	if !strings.Contains(out, redacted) {
		t.Error("nothing was printed")
	}
}

// TestErrorsHoldNoDigits spoils valid codes in every place and looks for what
// is left of them in the errors.
func TestErrorsHoldNoDigits(t *testing.T) {
	for _, code := range []string{"34970112332", "MT:Y.K9042C00KA0648G00", "749701123365535655356"} {
		for i := range code {
			_, err := Parse(code[:i] + "_" + code[i+1:])
			if err == nil {
				t.Fatalf("%s is accepted without octet %d", code, i)
			}
			for at := 0; at+4 <= len(code); at++ {
				if strings.Contains(err.Error(), code[at:at+4]) {
					t.Errorf("an error repeats part of the code: %v", err)
				}
			}
		}
	}
}

func TestRandomPasscode(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for range 10000 {
		p, err := RandomPasscode(random)
		if err != nil || !p.Valid() {
			t.Fatal("an invalid passcode was drawn", err)
		}
	}
	if _, err := RandomPasscode(bytes.NewReader(nil)); err == nil {
		t.Error("a passcode without randomness")
	}
}
