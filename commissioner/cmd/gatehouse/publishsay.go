package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"gatehouse/commissioner"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"
	"gatehouse/firmware/otaimage"
)

// spoken says for whom a statement is.
type spoken struct {
	Role string `help:"Who says so: targets, or a vendor's role. Else the vendor's, where it has one." placeholder:"ROLE"`
}

func (s spoken) role(r *publish.Repository, vendor uint16) string {
	if s.Role != "" {
		return s.Role
	}
	if role := publish.VendorRole(vendor); second(r.Keys(role)) == nil {
		return role
	}
	return "targets"
}

func second[T any](_ T, err error) error { return err }

type firmwareAddCmd struct {
	repositoryDir
	spoken
	Image    string `arg:"" help:"The image." type:"existingfile"`
	Vendor   uint16 `help:"Vendor, of an image that names none."`
	Product  uint16 `help:"Product, of an image that names none."`
	Hardware string `help:"Hardware versions that it is for, ends included; else any." placeholder:"MIN-MAX"`
	Notes    string `help:"https address of the release notes, of an image that names none."`
}

func (c *firmwareAddCmd) Run(ctx context.Context, g *globals) error {
	f, err := os.Open(c.Image)
	if err != nil {
		return commissioner.Fail(commissioner.CodeInvalidArgument, err)
	}
	defer f.Close()
	h, err := otaimage.Verify(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return &commissioner.Failure{Code: "image-unusable", Message: fmt.Sprintf("%s: %v", c.Image, err), Remedy: "take the vendor's file again"}
	}
	release, err := c.release(h)
	if err != nil {
		return err
	}
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		role := c.role(r, h.VendorID)
		done := fmt.Sprintf("added version %d (%s) of product %04X/%04X, to be signed for %s", h.Version, h.VersionString, h.VendorID, h.ProductID, role)
		return done, r.AddRelease(role, h.VendorID, h.ProductID, release, f)
	})
}

// release is what the image says of itself, in the words of the manifest. What
// the image leaves open is filled in, in h too.
func (c *firmwareAddCmd) release(h *otaimage.Header) (manifest.Release, error) {
	r := manifest.Release{Version: h.Version, Name: h.VersionString, Notes: h.ReleaseNotes}
	for _, v := range []struct {
		name  string
		said  *uint16
		given uint16
	}{{"vendor", &h.VendorID, c.Vendor}, {"product", &h.ProductID, c.Product}} {
		switch {
		case *v.said == 0 && v.given == 0:
			return r, invalid("the image names no %s: --%s is needed", v.name, v.name)
		case *v.said != 0 && v.given != 0 && *v.said != v.given:
			return r, invalid("the image is for %s 0x%04X", v.name, *v.said)
		case *v.said == 0:
			*v.said = v.given
		}
	}
	switch {
	case r.Notes == "":
		r.Notes = c.Notes
	case c.Notes != "" && c.Notes != r.Notes:
		return r, invalid("the image says that its release notes are at %q", r.Notes)
	}
	if c.Hardware != "" {
		from, to, err := versions(c.Hardware, 16)
		if err != nil {
			return r, err
		}
		r.Hardware = &manifest.Hardware{Min: uint16(from), Max: uint16(to)}
	}
	if h.MinApplicable == nil && h.MaxApplicable == nil {
		return r, nil
	}
	// No image leads back, whatever it says it applies to.
	if h.Version == 0 {
		return r, invalid("the image is of version 0, and applies to others")
	}
	r.Applies = &manifest.Range{Max: h.Version - 1}
	if h.MinApplicable != nil {
		r.Applies.Min = *h.MinApplicable
	}
	if h.MaxApplicable != nil {
		r.Applies.Max = min(r.Applies.Max, *h.MaxApplicable)
	}
	return r, nil
}

// versions reads one version, or a range.
func versions(text string, bits int) (from, to uint32, err error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 0, bits)
	b, err2 := strconv.ParseUint(last, 0, bits)
	if errors.Join(err1, err2) != nil || a > b {
		return 0, 0, invalid("%q is no version, nor a range like 3-5", text)
	}
	return uint32(a), uint32(b), nil
}

// product is one, as in the compliance ledger.
type product struct {
	Vendor  uint16 `arg:"" help:"Vendor, as 0xFFF1."`
	Product uint16 `arg:"" help:"Product, as 0x8000."`
}

func (p product) String() string { return fmt.Sprintf("product %04X/%04X", p.Vendor, p.Product) }

type firmwareMinimumCmd struct {
	repositoryDir
	spoken
	product
	Version uint32 `arg:"" help:"The lowest software version that may run, 0 for any."`
}

func (c *firmwareMinimumCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		role := c.role(r, c.Vendor)
		return fmt.Sprintf("version %d is the lowest of %s, to be signed for %s", c.Version, c.product, role), r.SetMinimum(role, c.Vendor, c.Product, c.Version)
	})
}

type firmwareBadCmd struct {
	repositoryDir
	spoken
	product
	Versions string `arg:"" help:"Software version, or a range like 3-5."`
	Reason   string `help:"Why; shown with every device that runs them." required:""`
}

func (c *firmwareBadCmd) Run(ctx context.Context, g *globals) error {
	from, to, err := versions(c.Versions, 32)
	if err != nil {
		return err
	}
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		role := c.role(r, c.Vendor)
		return fmt.Sprintf("version %s of %s must not run, to be signed for %s", c.Versions, c.product, role),
			r.MarkBad(role, c.Vendor, c.Product, manifest.Bad{From: from, To: to, Reason: c.Reason})
	})
}
