package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"
	"gatehouse/firmware/otaimage"
)

// repository publishes, in a directory, that version 7 of the script's light
// must not run, and an image of version 8.
func repository(ts *testscript.TestScript, _ bool, args []string) {
	dir, seed := ts.MkAbs(args[0]), sha256.Sum256([]byte(args[0]))
	key := ed25519.NewKeyFromSeed(seed[:])
	keys := publish.Keys{Threshold: 1, Public: []crypto.PublicKey{key.Public()}}
	r, err := publish.Init(dir, publish.Setup{Name: "House", Root: keys, Targets: keys, Snapshot: keys, Timestamp: keys}, time.Now, rand.Reader)
	ts.Check(err)
	var image bytes.Buffer
	ts.Check(otaimage.Write(&image, otaimage.Header{VendorID: 0xFFF1, ProductID: 0x8001, Version: 8, VersionString: "8.0"}, bytes.Repeat([]byte("x"), 50_000)))
	ts.Check(r.AddRelease("targets", 0xFFF1, 0x8001, manifest.Release{Version: 8, Name: "8.0"}, &image))
	ts.Check(r.MarkBad("targets", 0xFFF1, 0x8001, manifest.Bad{From: 7, To: 7, Reason: "it burns"}))
	for _, role := range []string{"root", "targets"} {
		ts.Check(r.Sign(role, key))
	}
	ts.Check(r.Publish(key))
}
