package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric/attest"
)

type trustCmds struct {
	Import   trustImportCmd   `cmd:"" help:"Trust the certificates in a directory: roots of device attestation (PAA), signers of certification declarations, a revocation set."`
	List     trustListCmd     `cmd:"" help:"List what is trusted."`
	Remove   trustRemoveCmd   `cmd:"" help:"Trust a certificate no more."`
	Except   trustExceptCmd   `cmd:"" help:"Accept devices that only a test root vouches for, for a while."`
	Unexcept trustUnexceptCmd `cmd:"" help:"End an exception."`
}

type trustImportCmd struct {
	Dir  string `arg:"" help:"Directory; everything below it is read." type:"existingdir"`
	Test bool   `help:"These vouch for test devices: they count only under an exception."`
}

// revocationFile is the name a revocation set goes by.
const revocationFile = "revocation-set.json"

func (c *trustImportCmd) Run(ctx context.Context, g *globals) error {
	anchors, revocations, err := readTrust(c.Dir, c.Test)
	if err != nil {
		return commissioner.Fail(commissioner.CodeInvalidArgument, err)
	}
	if len(anchors) > 0 {
		err := ask(ctx, g, "POST", "trust/anchors", portal.AddAnchors{Anchors: anchors}, func(a portal.Added) {
			fmt.Printf("%d certificates added, %d known already\n", a.Added, a.Known)
		})
		if err != nil {
			return err
		}
	}
	if revocations == nil {
		return nil
	}
	return ask(ctx, g, "PUT", "trust/revocations", portal.SetRevocations{Set: revocations}, func(a portal.Added) {
		fmt.Printf("revocation set with %d entries\n", a.Added)
	})
}

// signerNames are parts of the names of files and directories with signers of
// declarations. Some signers are as good a PAA as any, were it not for that.
var signerNames = []string{"cd-cert", "cd-signer"}

// readTrust reads the certificates below a directory. One whose path says so,
// or that is no proper PAA, is a signer of declarations.
func readTrust(dir string, test bool) (anchors []portal.Anchor, revocations []byte, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, ext := entry.Name(), strings.ToLower(filepath.Ext(entry.Name()))
		if name != revocationFile && ext != ".der" && ext != ".pem" && ext != ".crt" && ext != ".cer" {
			return nil
		}
		if strings.Contains(strings.ToLower(name), "-key.") {
			return nil // the SDK keeps test keys beside their certificates
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if name == revocationFile {
			revocations = data
			return nil
		}
		for _, der := range certificates(data) {
			c, err := attest.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			kind := "cd-signer"
			if c.CheckPAA() == nil && !namesSigner(dir, path) {
				kind = "paa"
			}
			anchors = append(anchors, portal.Anchor{Kind: kind, DER: der, Test: test, Source: name})
		}
		return nil
	})
	if err == nil && len(anchors) == 0 && revocations == nil {
		err = errors.New("no certificate (.der, .pem, .crt, .cer) and no " + revocationFile + " is in " + dir)
	}
	return anchors, revocations, err
}

func namesSigner(dir, path string) bool {
	below, err := filepath.Rel(filepath.Dir(dir), path)
	if err != nil {
		return false
	}
	below = strings.ToLower(below)
	return slices.ContainsFunc(signerNames, func(name string) bool { return strings.Contains(below, name) })
}

func certificates(data []byte) [][]byte {
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		return [][]byte{data}
	}
	var ders [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
	return ders
}

type trustListCmd struct{}

func (*trustListCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "trust", nil, func(t portal.Trust) {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KIND\tTEST\tSUBJECT\tKEY ID\tADDED\tID")
		for _, a := range t.Anchors {
			fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%s\t%.16s\n", a.Kind, a.Test, a.Subject, a.KeyID, a.AddedAt.Local().Format(time.DateOnly), a.ID)
		}
		w.Flush()
		for _, x := range t.Exceptions {
			state := "until " + x.Expires.Local().Format(time.DateTime)
			if x.Expired {
				state = "expired"
			}
			fmt.Printf("exception %q, vendor %#x, product %#x: %s\n", x.Name, x.VendorID, x.ProductID, state)
		}
		if t.Revocations < 0 {
			fmt.Println("no revocation set: revoked devices are not recognized")
		} else {
			fmt.Printf("revocation set with %d entries\n", t.Revocations)
		}
	})
}

type trustRemoveCmd struct {
	ID string `arg:"" help:"As trust list --json shows it."`
}

func (c *trustRemoveCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", "trust/anchors/"+url.PathEscape(c.ID), nil, func(r portal.Removed) { fmt.Println("removed", r.Removed) })
}

type trustExceptCmd struct {
	Name    string        `arg:"" help:"Why; shown with every device it lets in."`
	For     time.Duration `help:"How long." default:"24h"`
	Vendor  uint16        `help:"Only this vendor."`
	Product uint16        `help:"Only this product of the vendor."`
}

func (c *trustExceptCmd) Run(ctx context.Context, g *globals) error {
	x := portal.Exception{Name: c.Name, VendorID: c.Vendor, ProductID: c.Product, Expires: clock().Add(c.For).UTC().Truncate(time.Second)}
	return ask(ctx, g, "POST", "trust/exceptions", x, func(x portal.Exception) {
		fmt.Printf("exception %q until %s\n", x.Name, x.Expires.Local().Format(time.DateTime))
	})
}

type trustUnexceptCmd struct {
	Name string `arg:"" help:"Name of the exception."`
}

func (c *trustUnexceptCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", "trust/exceptions/"+url.PathEscape(c.Name), nil, func(r portal.Removed) { fmt.Println("ended", r.Removed) })
}
