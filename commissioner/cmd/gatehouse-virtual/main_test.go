package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/commissioner/setup"
	"gatehouse/fabric/attest"
	"gatehouse/fabric/attest/attesttest"
)

func TestReadyAndPress(t *testing.T) {
	discriminator := uint16(4095)
	c := cli{Count: 2, Name: "Lamp", Discriminator: &discriminator, Vendor: 0xFFF1, Product: 0x8001, Serial: "S", Interface: []string{"lo"}}
	var out bytes.Buffer
	h, err := c.start(attesttest.New("test"), &lines{enc: json.NewEncoder(&out)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h.commands(strings.NewReader("press 2\n\nnonsense\npress 3\ncertificates\n"))
	h.close()
	in := json.NewDecoder(&out)
	for i, want := range []readyLine{{Ready: "Lamp 1", Serial: "S-1", Discriminator: 4095}, {Ready: "Lamp 2", Serial: "S-2", Discriminator: 0}} {
		var got readyLine
		if err := in.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Ready != want.Ready || got.Serial != want.Serial || got.Discriminator != want.Discriminator || got.Number != i+1 || got.Port == 0 {
			t.Errorf("%+v", got)
		}
		qr, err := setup.Parse(got.QR)
		if err != nil {
			t.Fatal(err)
		}
		manual, err := setup.Parse(got.Manual)
		if err != nil || manual[0].Passcode.Reveal() != qr[0].Passcode.Reveal() || !manual[0].Discriminator.Matches(want.Discriminator) {
			t.Errorf("the codes %s and %s differ", got.QR, got.Manual)
		}
	}
	var got switchLine
	if err := in.Decode(&got); err != nil || got != (switchLine{"Lamp 2", 2, true}) {
		t.Errorf("%+v, %v", got, err)
	}
	var none certificatesLine
	if err := in.Decode(&none); err != nil || none.Certificates != "Lamp 1" || none.Number != 1 || len(none.Received)+len(none.Kept) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	if err := in.Decode(&got); err != io.EOF {
		t.Errorf("and %+v", got)
	}
}

func TestPasscode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passcode")
	for _, test := range []struct {
		cli  cli
		line string
		ok   bool
	}{
		{cli{Passcode: 20202021}, "", true},
		{cli{Passcode: 11111111}, "", false},
		{cli{PasscodeFile: file}, "20202021\n", true},
		{cli{PasscodeFile: file}, "12345678\n", false},
		{cli{PasscodeFile: file}, "secret\n", false},
		{cli{PasscodeFile: file}, "", false},
	} {
		if err := os.WriteFile(file, []byte(test.line), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := test.cli.firstPayload()
		if (err == nil) != test.ok || test.ok && p.Passcode.Reveal() != 20202021 {
			t.Errorf("%d, %q: %v", test.cli.Passcode, test.line, err)
		}
		if err != nil && test.line != "" && strings.Contains(err.Error(), strings.TrimSpace(test.line)) {
			t.Errorf("the error shows the passcode: %v", err)
		}
	}
}

// TestTrustOut holds that an importer can tell the two certificates apart.
func TestTrustOut(t *testing.T) {
	c := cli{TrustOut: filepath.Join(t.TempDir(), "trust")}
	if err := c.writeTrust(attesttest.New("test")); err != nil {
		t.Fatal(err)
	}
	for name, isPAA := range map[string]bool{"test-paa.der": true, "test-cd-signer.der": false} {
		der, err := os.ReadFile(filepath.Join(c.TrustOut, name))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := attest.ParseCertificate(der)
		if err != nil || (parsed.CheckPAA() == nil) != isPAA {
			t.Errorf("%s: %v", name, err)
		}
	}
}
