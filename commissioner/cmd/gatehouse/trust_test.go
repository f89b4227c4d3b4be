package main

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/fabric/attest/attesttest"
)

func TestReadTrust(t *testing.T) {
	paa, signer := attesttest.New("test").PAA(), attesttest.New("test").Signer()
	block := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	dir := t.TempDir()
	for _, file := range []struct {
		path string
		data []byte
		kind string // empty: none is read
	}{
		{"paa-root-certs/a.der", paa, "paa"},
		{"paa-root-certs/b.PEM", block(paa), "paa"},
		{"signer.der", signer, "cd-signer"},
		{"Test-CD-Cert.der", paa, "cd-signer"}, // the SDK's has the form of a PAA
		{"cd-certs/root.crt", paa, "cd-signer"},
		{"paa-root-certs/a-Key.der", []byte("a key"), ""},
		{"paa-root-certs/README", []byte("text"), ""},
	} {
		path := filepath.Join(dir, t.Name(), file.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.data, 0o600); err != nil {
			t.Fatal(err)
		}
		anchors, _, err := readTrust(filepath.Join(dir, t.Name()), true)
		switch {
		case file.kind == "":
			if len(anchors) != 0 || err == nil {
				t.Errorf("%s: read as %+v", file.path, anchors)
			}
		case err != nil || len(anchors) != 1 || anchors[0].Kind != file.kind || !anchors[0].Test:
			t.Errorf("%s: %+v, %v", file.path, anchors, err)
		}
		os.Remove(path)
	}
}
