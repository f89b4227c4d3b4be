package lab

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"path/filepath"
	"time"

	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"
	"gatehouse/firmware/otaimage"
)

// Products of the lights' vendor.
const (
	VendorID        = 0xFFF1
	MatterjsProduct = 0x8000
	VirtualProduct  = 0x8001
)

// Versions of the lights' software.
const (
	OldVersion = 1
	NewVersion = 2
)

// Image is an image of the new version of a product, with a payload of size
// octets.
func Image(product uint16, size int) ([]byte, error) {
	payload := make([]byte, size)
	rand.Read(payload)
	var b bytes.Buffer
	err := otaimage.Write(&b, otaimage.Header{VendorID: VendorID, ProductID: product, Version: NewVersion, VersionString: "2.0"}, payload)
	return b.Bytes(), err
}

// Recall has the gateway believe a repository that says that the old version
// of a product must not run, and has an image of the new one.
func (g *Gateway) Recall(ctx context.Context, product uint16, image []byte) error {
	dir, seed := filepath.Join(g.host.Dir, "house"), sha256.Sum256([]byte("house"))
	key := ed25519.NewKeyFromSeed(seed[:])
	keys := publish.Keys{Threshold: 1, Public: []crypto.PublicKey{key.Public()}}
	r, err := publish.Init(dir, publish.Setup{Name: "House", Root: keys, Targets: keys, Snapshot: keys, Timestamp: keys}, time.Now, rand.Reader)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error {
			return r.AddRelease("targets", VendorID, product, manifest.Release{Version: NewVersion, Name: "2.0"}, bytes.NewReader(image))
		},
		func() error {
			return r.MarkBad("targets", VendorID, product, manifest.Bad{From: OldVersion, To: OldVersion, Reason: "it burns"})
		},
		func() error { return r.Sign("root", key) },
		func() error { return r.Sign("targets", key) },
		func() error { return r.Publish(key) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if _, err = g.Run(ctx, "firmware", "policy", "--updates", "none"); err != nil { // but when they are asked for
		return err
	}
	_, err = g.Run(ctx, "firmware", "source", "add", "house", dir, "--root", filepath.Join(dir, "metadata", "1.root.json"))
	return err
}

// Standing is what the gateway decided of a device's software.
type Standing struct {
	Verdict  string
	Version  uint32
	Enforced bool
}

// Certificate is what the gateway knows of a device's.
type Certificate struct {
	Serial  string `json:"certificate_serial"`
	ZoneTag bool   `json:"certificate_zone_tag"`
}

// Certificate asks for a device's.
func (g *Gateway) Certificate(ctx context.Context, device string) (c Certificate, err error) {
	line, err := g.Run(ctx, "device", "show", device)
	if err == nil {
		err = json.Unmarshal(line, &c)
	}
	return c, err
}

// Standing asks for a device's.
func (g *Gateway) Standing(ctx context.Context, device string) (Standing, error) {
	var v struct{ Firmware Standing }
	line, err := g.Run(ctx, "device", "show", device)
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	return v.Firmware, err
}
