package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/commissioner"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/otaimage"
)

// What an image says of itself is said of it; flags fill in what it leaves open.
func TestRelease(t *testing.T) {
	n := func(v uint32) *uint32 { return &v }
	image := func(change func(*otaimage.Header)) otaimage.Header {
		h := otaimage.Header{VendorID: 0xFFF1, ProductID: 0x8001, Version: 8, VersionString: "8.0"}
		if change != nil {
			change(&h)
		}
		return h
	}
	plain := manifest.Release{Version: 8, Name: "8.0"}
	with := func(change func(*manifest.Release)) manifest.Release { r := plain; change(&r); return r }
	everybody := func(h *otaimage.Header) { h.VendorID, h.ProductID = 0, 0 }
	noted := func(h *otaimage.Header) { h.ReleaseNotes = "https://example.org/8" }
	for name, c := range map[string]struct {
		image otaimage.Header
		flags firmwareAddCmd
		want  manifest.Release
		err   string
	}{
		"plain":            {image: image(nil), want: plain},
		"all of it":        {image: image(nil), flags: firmwareAddCmd{Vendor: 0xFFF1, Product: 0x8001}, want: plain},
		"for everybody":    {image: image(everybody), flags: firmwareAddCmd{Vendor: 0xFFF1, Product: 0x8001}, want: plain},
		"for whom":         {image: image(everybody), flags: firmwareAddCmd{Vendor: 0xFFF1}, err: "--product is needed"},
		"another vendor":   {image: image(nil), flags: firmwareAddCmd{Vendor: 0xFFF2}, err: "is for vendor 0xFFF1"},
		"another product":  {image: image(nil), flags: firmwareAddCmd{Product: 1}, err: "is for product 0x8001"},
		"notes":            {image: image(nil), flags: firmwareAddCmd{Notes: "https://example.org"}, want: with(func(r *manifest.Release) { r.Notes = "https://example.org" })},
		"its notes":        {image: image(noted), want: with(func(r *manifest.Release) { r.Notes = "https://example.org/8" })},
		"other notes":      {image: image(noted), flags: firmwareAddCmd{Notes: "https://example.org"}, err: "release notes are at"},
		"hardware":         {image: image(nil), flags: firmwareAddCmd{Hardware: "2-3"}, want: with(func(r *manifest.Release) { r.Hardware = &manifest.Hardware{Min: 2, Max: 3} })},
		"one hardware":     {image: image(nil), flags: firmwareAddCmd{Hardware: "2"}, want: with(func(r *manifest.Release) { r.Hardware = &manifest.Hardware{Min: 2, Max: 2} })},
		"no hardware":      {image: image(nil), flags: firmwareAddCmd{Hardware: "3-2"}, err: "no version"},
		"large hardware":   {image: image(nil), flags: firmwareAddCmd{Hardware: "65536"}, err: "no version"},
		"applies":          {image: image(func(h *otaimage.Header) { h.MinApplicable, h.MaxApplicable = n(2), n(5) }), want: with(func(r *manifest.Release) { r.Applies = &manifest.Range{Min: 2, Max: 5} })},
		"applies from":     {image: image(func(h *otaimage.Header) { h.MinApplicable = n(2) }), want: with(func(r *manifest.Release) { r.Applies = &manifest.Range{Min: 2, Max: 7} })},
		"applies up to":    {image: image(func(h *otaimage.Header) { h.MaxApplicable = n(5) }), want: with(func(r *manifest.Release) { r.Applies = &manifest.Range{Max: 5} })},
		"applies to newer": {image: image(func(h *otaimage.Header) { h.MaxApplicable = n(9) }), want: with(func(r *manifest.Release) { r.Applies = &manifest.Range{Max: 7} })},
		"version 0":        {image: image(func(h *otaimage.Header) { h.Version, h.MaxApplicable = 0, n(9) }), err: "of version 0"},
	} {
		h := c.image
		got, err := c.flags.release(&h)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case h.VendorID != 0xFFF1 || h.ProductID != 0x8001:
			t.Errorf("%s: for product %04X/%04X", name, h.VendorID, h.ProductID)
		default:
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
}

// A timer and a person do not work on one repository at once.
func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	release, err := lockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = lockDir(ctx, dir)
	if f := (*commissioner.Failure)(nil); !errors.As(err, &f) || f.Code != "repository-busy" {
		t.Errorf("two at once: %v", err)
	}
	release()
	if release, err = lockDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	release()
}
