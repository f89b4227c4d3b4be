package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"gatehouse/fabric/attest"
	"gatehouse/fabric/attest/attesttest"
)

// entry is a revocation list of issuer, signed by itself unless delegated.
func entry(t *testing.T, issuer []byte, serials ...string) map[string]any {
	t.Helper()
	c, err := attest.ParseCertificate(issuer)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"type":                   "revocation_set",
		"issuer_subject_key_id":  fmt.Sprintf("%X", c.SubjectKeyID[:]),
		"issuer_name":            base64.StdEncoding.EncodeToString(c.Subject),
		"revoked_serial_numbers": serials,
		"crl_signer_cert":        base64.StdEncoding.EncodeToString(issuer),
	}
}

func parseSet(t *testing.T, entries ...map[string]any) (*attest.RevocationSet, error) {
	t.Helper()
	b, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return attest.ParseRevocationSet(b)
}

func TestRevocation(t *testing.T) {
	device := maker.Device(lamp())
	dac, err := attest.ParseCertificate(device.DAC)
	if err != nil {
		t.Fatal(err)
	}
	pai, err := attest.ParseCertificate(device.PAI)
	if err != nil {
		t.Fatal(err)
	}
	stranger := attesttest.New("stranger").Device(lamp())
	serial := fmt.Sprintf("%X", dac.Serial)
	renamed := lamp()
	renamed.PAI = func(t *attesttest.Template) { t.Subject.CommonName = "another name for the same key" }
	with := func(e map[string]any, key string, value any) map[string]any {
		e[key] = value
		return e
	}
	b64 := base64.StdEncoding.EncodeToString
	for what, c := range map[string]struct {
		entry    map[string]any
		want     []attest.Code
		readable bool
	}{
		"the DAC":             {entry(t, device.PAI, "01", serial), []attest.Code{attest.DACRevoked}, true},
		"with leading zeros":  {entry(t, device.PAI, "0000"+serial), []attest.Code{attest.DACRevoked}, true},
		"in lower case":       {entry(t, device.PAI, fmt.Sprintf("%x", dac.Serial)), []attest.Code{attest.DACRevoked}, true},
		"the PAI":             {entry(t, maker.PAA(), fmt.Sprintf("%X", pai.Serial)), []attest.Code{attest.PAIRevoked}, true},
		"another serial":      {entry(t, device.PAI, "01"), nil, true},
		"another issuer":      {entry(t, stranger.PAI, serial), nil, true},
		"another name":        {entry(t, maker.Device(renamed).PAI, serial), nil, true},
		"signed by delegate":  {with(with(entry(t, device.PAI, serial), "crl_signer_cert", b64(stranger.DAC)), "crl_signer_delegator", b64(device.PAI)), []attest.Code{attest.DACRevoked}, true},
		"signed by stranger":  {with(entry(t, device.PAI, serial), "crl_signer_cert", b64(stranger.PAI)), nil, false},
		"stranger delegating": {with(entry(t, device.PAI, serial), "crl_signer_delegator", b64(stranger.PAI)), nil, false},
		"signer missing":      {with(entry(t, device.PAI, serial), "crl_signer_cert", ""), nil, false},
		"signer not base 64":  {with(entry(t, device.PAI, serial), "crl_signer_cert", "?"), nil, false},
		"issuer not base 64":  {with(entry(t, device.PAI, serial), "issuer_name", "?"), nil, false},
		"another issuer name": {with(entry(t, device.PAI, serial), "issuer_name", b64(dac.Subject)), nil, false},
		"key id too short":    {with(entry(t, device.PAI, serial), "issuer_subject_key_id", "00"), nil, false},
		"serial not hex":      {with(entry(t, device.PAI, serial), "revoked_serial_numbers", []string{"x"}), nil, false},
		"serials not a list":  {with(entry(t, device.PAI, serial), "revoked_serial_numbers", 1), nil, false},
		"another type":        {with(entry(t, device.PAI, serial), "type", "crl"), nil, false},
	} {
		good := entry(t, maker.PAA(), "FF")
		set, err := parseSet(t, good, c.entry, good)
		if set == nil || set.Len() < 2 || (err == nil) != c.readable {
			t.Errorf("%s: %v", what, err)
			continue
		}
		r := rules()
		r.Revoked = set
		if got := against(attest.Evaluate(evidence(device), r)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	for _, bad := range []string{"", "{}", "[", `[1]x`} {
		if set, err := attest.ParseRevocationSet([]byte(bad)); err == nil || set != nil {
			t.Errorf("%q is read", bad)
		}
	}
	if set, err := attest.ParseRevocationSet([]byte("[1]")); err == nil || set == nil || set.Len() != 0 {
		t.Error("an entry that is no object is read")
	}
}

// TestRootsOfOneKey shows that of two certificates for one key, the one that
// is no test root is preferred, in either order.
func TestRootsOfOneKey(t *testing.T) {
	e, _ := official(t, nil)
	test, real := attest.Trusted{Data: maker.PAA(), Test: true}, attest.Trusted{Data: maker.PAA()}
	for _, roots := range [][]attest.Trusted{{test, real}, {real, test}} {
		store, err := attest.NewTrustStore(roots, []attest.Trusted{{Data: maker.Signer()}})
		if err != nil {
			t.Fatal(err)
		}
		if v := attest.Evaluate(e, attest.Rules{Trust: store, Now: now}); !v.OK() {
			t.Errorf("%v", v.Reasons)
		}
	}
}

func TestTrustStoreRefuses(t *testing.T) {
	device := maker.Device(lamp())
	for what, data := range map[string][]byte{
		"a PAI":        device.PAI,
		"a DAC":        device.DAC,
		"nothing":      nil,
		"broken PEM":   []byte("-----BEGIN CERTIFICATE-----\nAAAA\n"),
		"a key in PEM": []byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"),
		"cut":          maker.PAA()[:100],
		"and more":     append(bytes.Clone(maker.PAA()), 0),
	} {
		store, err := attest.NewTrustStore([]attest.Trusted{{Data: data}}, nil)
		if _, all := store.PAAs(); err == nil || all != 0 {
			t.Errorf("%s is trusted", what)
		}
	}
}
