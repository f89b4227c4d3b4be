package otaimage

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func image(t testing.TB, h Header, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, h, []byte(payload)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func lamp() Header {
	least, most := uint32(1), uint32(6)
	return Header{VendorID: 0xFFF1, ProductID: 0x8000, Version: 7, VersionString: "7.0", MinApplicable: &least, MaxApplicable: &most, ReleaseNotes: "https://example.org/7"}
}

// known is a file as the Matter SDK's ota_image_tool.py makes it: vendor 0xFFF1,
// product 0x8000, version 2 "2.0", payload "hello".
const known = "1ef1ee1b" + "5100000000000000" + "3c000000" +
	"152500f1ff250100802402022c0303322e302404052408013009202cf24dba5f" +
	"b0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b98241868656c6c" +
	"6f"

func TestKnown(t *testing.T) {
	b, err := hex.DecodeString(known)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Verify(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	want := Header{VendorID: 0xFFF1, ProductID: 0x8000, Version: 2, VersionString: "2.0", PayloadSize: 5, DigestType: SHA256, Digest: h.Digest}
	if d := cmp.Diff(want, *h); d != "" {
		t.Error(d)
	}
	if got := image(t, *h, "hello"); !bytes.Equal(got, b) {
		t.Errorf("wrote %x", got)
	}
}

func TestRoundTrip(t *testing.T) {
	want := lamp()
	h, err := Verify(iotest.OneByteReader(bytes.NewReader(image(t, want, strings.Repeat("payload", 1000)))))
	if err != nil {
		t.Fatal(err)
	}
	want.PayloadSize, want.DigestType, want.Digest = 7000, SHA256, h.Digest
	if d := cmp.Diff(want, *h); d != "" {
		t.Error(d)
	}
}

func TestRefused(t *testing.T) {
	good := image(t, lamp(), "some payload")
	change := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	errDisk := errors.New("the disk is gone")
	for name, c := range map[string]struct {
		in   io.Reader
		want string
	}{
		"another file":      {strings.NewReader("PK\x03\x04 and what else a zip has in it"), "no Matter OTA image"},
		"empty":             {strings.NewReader(""), "ends early"},
		"header cut":        {bytes.NewReader(good[:40]), "ends early"},
		"payload cut":       {bytes.NewReader(good[:len(good)-1]), "ends early"},
		"longer":            {bytes.NewReader(append(bytes.Clone(good), 0)), "goes on behind"},
		"payload tampered":  {bytes.NewReader(change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })), "digest is wrong"},
		"size of the file":  {bytes.NewReader(change(func(b []byte) []byte { b[4]++; return b })), "do not agree"},
		"endless":           {bytes.NewReader(change(func(b []byte) []byte { b[11] = 1; return b })), "are the limit"},
		"header's size":     {bytes.NewReader(change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 1<<20); return b })), "are the limit"},
		"header is not TLV": {bytes.NewReader(change(func(b []byte) []byte { b[16] = 0xFF; return b })), "header"},
		"the disk fails":    {io.MultiReader(bytes.NewReader(good[:len(good)-3]), iotest.ErrReader(errDisk)), "disk is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Verify(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	one, two := uint32(1), uint32(2)
	for name, change := range map[string]func(*Header){
		"no version string":      func(h *Header) { h.VersionString = "" },
		"long version string":    func(h *Header) { h.VersionString = strings.Repeat("7", 65) },
		"insecure release notes": func(h *Header) { h.ReleaseNotes = "http://example.org" },
		"long release notes":     func(h *Header) { h.ReleaseNotes = "https://" + strings.Repeat("a", 249) },
		"for no version":         func(h *Header) { h.MinApplicable, h.MaxApplicable = &two, &one },
	} {
		h := lamp()
		if change(&h); Write(io.Discard, h, nil) == nil {
			t.Errorf("%s: was written", name)
		}
	}
}

func TestDigests(t *testing.T) {
	for kind, d := range digests {
		h := lamp()
		sum := d.new()
		sum.Write([]byte("payload"))
		h.PayloadSize, h.DigestType, h.Digest = 7, kind, sum.Sum(nil)[:d.size]
		if err := h.check(); err != nil {
			t.Errorf("type %d: %v", kind, err)
		}
	}
	h := lamp()
	if h.DigestType, h.Digest = 13, make([]byte, 32); h.check() == nil {
		t.Error("an unknown digest is accepted")
	}
}

func TestApplies(t *testing.T) {
	h := lamp()
	for version, want := range map[uint32]bool{0: false, 1: true, 6: true, 7: false, 8: false} {
		if got := h.Updates(version); got != want {
			t.Errorf("updates %d: %v", version, got)
		}
	}
	if !h.For(0xFFF1, 0x8000) || h.For(0xFFF2, 0x8000) || h.For(0xFFF1, 0x8001) {
		t.Error("is for another product")
	}
	if h.VendorID, h.ProductID = 0, 0; !h.For(0xFFF2, 0x8001) {
		t.Error("is not for every product")
	}
}

func FuzzVerify(f *testing.F) {
	b, err := hex.DecodeString(known)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(image(f, lamp(), "some payload"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Verify(bytes.NewReader(b))
		if err != nil {
			return
		}
		payload := b[len(b)-int(h.PayloadSize):]
		again, err := Verify(bytes.NewReader(image(t, *h, string(payload))))
		if err != nil {
			t.Fatal(err)
		}
		h.DigestType, h.Digest = again.DigestType, again.Digest
		if d := cmp.Diff(h, again); d != "" {
			t.Error(d)
		}
	})
}
