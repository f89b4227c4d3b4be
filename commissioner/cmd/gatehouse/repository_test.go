package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/fabric/seal"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"
	"gatehouse/firmware/otaimage"
)

// repository publishes, in a directory, that version 7 of the script's light
// must not run, and an image of version 8: repository DIR [OCTETS].
func repository(ts *testscript.TestScript, _ bool, args []string) {
	dir, seed := ts.MkAbs(args[0]), sha256.Sum256([]byte(args[0]))
	size := 50_000
	if len(args) > 1 {
		var err error
		size, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	key := ed25519.NewKeyFromSeed(seed[:])
	keys := publish.Keys{Threshold: 1, Public: []crypto.PublicKey{key.Public()}}
	r, err := publish.Init(dir, publish.Setup{Name: "House", Root: keys, Targets: keys, Snapshot: keys, Timestamp: keys}, time.Now, rand.Reader)
	ts.Check(err)
	var image bytes.Buffer
	ts.Check(otaimage.Write(&image, otaimage.Header{VendorID: 0xFFF1, ProductID: 0x8001, Version: 8, VersionString: "8.0"}, bytes.Repeat([]byte("x"), size)))
	ts.Check(r.AddRelease("targets", 0xFFF1, 0x8001, manifest.Release{Version: 8, Name: "8.0"}, &image))
	ts.Check(r.MarkBad("targets", 0xFFF1, 0x8001, manifest.Bad{From: 7, To: 7, Reason: "it burns"}))
	for _, role := range []string{"root", "targets"} {
		ts.Check(r.Sign(role, key))
	}
	ts.Check(r.Publish(key))
}

// image writes an image of the light's vendor: image FILE PRODUCT VERSION.
func image(ts *testscript.TestScript, _ bool, args []string) {
	product, err1 := strconv.ParseUint(args[1], 0, 16)
	version, err2 := strconv.ParseUint(args[2], 0, 32)
	ts.Check(errors.Join(err1, err2))
	least, most := uint32(5), uint32(version)+1
	h := otaimage.Header{VendorID: 0xFFF1, ProductID: uint16(product), Version: uint32(version), VersionString: args[2] + ".0",
		MinApplicable: &least, MaxApplicable: &most, ReleaseNotes: "https://example.org/" + args[2]}
	var b bytes.Buffer
	ts.Check(otaimage.Write(&b, h, bytes.Repeat([]byte("x"), 50_000)))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

// signKeysLeak fails if the passphrase in a file, or a key that it opens, is
// anywhere else in plain: signkeysleak PASSPHRASE-FILE KEY-FILE... looks at all
// files of the script and at the state directory.
func signKeysLeak(ts *testscript.TestScript, _ bool, args []string) {
	passphrase, _, _ := strings.Cut(ts.ReadFile(args[0]), "\n")
	ts.Check(os.Remove(ts.MkAbs(args[0])))
	forms := []string{passphrase}
	for _, name := range args[1:] {
		var k struct{ Ed25519 string }
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(name)), &k))
		seed, err := seal.Unlock([]byte(k.Ed25519), passphrase, ed25519.SeedSize)
		ts.Check(err)
		for _, s := range [][]byte{seed, ed25519.NewKeyFromSeed(seed)} {
			forms = append(forms, string(s), hex.EncodeToString(s), strings.ToUpper(hex.EncodeToString(s)), base64.StdEncoding.EncodeToString(s[:30]),
				base64.RawURLEncoding.EncodeToString(s[:30]), strings.Trim(fmt.Sprint(s), "[]"))
		}
	}
	for _, root := range []string{ts.Getenv("WORK"), ts.Getenv("STATE")} {
		lacks(ts, root, forms...)
	}
}
