package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/commissioner"
	"gatehouse/commissioner/inherit"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

type importCmd struct {
	Dir            string `arg:"" help:"Data folder of python-matter-server or of matter.js's matter-server, switched off, or a copy of it." type:"existingdir"`
	Fabric         string `help:"Compressed id (16 hex digits) of the fabric, if the folder has several."`
	DryRun         bool   `help:"Say what there is and what would happen. Nothing is changed, and nobody is talked to."`
	Name           string `help:"Name of the home." default:"home"`
	Gateway        string `help:"Name of this gateway." default:"gateway"`
	Kit            string `help:"File of the recovery kit, which the root key goes into. Keep it elsewhere." type:"path"`
	PassphraseFile string `help:"File whose first line is the kit's passphrase; asked for if there is none." type:"existingfile"`
	TPM            string `name:"tpm" help:"What keeps the gateway's keys; as of setup." default:"auto" env:"GATEHOUSE_TPM"`
}

func (c *importCmd) Run(ctx context.Context, g *globals) error {
	homes, err := inherit.Read(c.Dir)
	if err != nil {
		return storageFailure(err)
	}
	defer func() {
		for _, h := range homes {
			h.Erase()
		}
	}()
	id := uint64(0)
	if c.Fabric != "" {
		if id, err = strconv.ParseUint(c.Fabric, 16, 64); err != nil || id == 0 {
			return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("a compressed fabric id has 16 hex digits"))
		}
	}
	home, err := inherit.Choose(homes, cert.CompressedFabricID(id))
	if c.DryRun {
		if home != nil {
			homes = []*inherit.Home{home}
		}
		return errors.Join(c.show(g, homes), storageFailure(err))
	}
	if err == nil {
		err = home.Usable()
	}
	if err != nil {
		return storageFailure(err)
	}
	return c.found(ctx, g, home)
}

// found founds a home on a fabric. The devices are met by the gateway, when it
// runs.
func (c *importCmd) found(ctx context.Context, g *globals, h *inherit.Home) error {
	if c.Kit == "" {
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("a file for the recovery kit is needed (--kit), or --dry-run"))
	}
	i := &found.Inheritance{FabricID: h.FabricID, Root: h.Root, RootKey: h.RootKey, IPK: h.IPK, Import: fabric.Import{Controller: h.Controller, Published: h.Published}}
	if h.Published {
		i.IPK = cert.EpochKey{}
	}
	for _, n := range h.Nodes {
		i.Devices = append(i.Devices, fabric.Inherited{Node: n.ID, Name: n.Name, Facts: n.Facts, Serial: n.Serial, NOCHash: n.NOCHash, PublicKey: n.PublicKey})
	}
	s := setupCmd{Name: c.Name, Gateway: c.Gateway, Kit: c.Kit, PassphraseFile: c.PassphraseFile, TPM: c.TPM}
	if err := s.found(ctx, g, cmp.Or(h.VendorID, testVendor), i); err != nil || g.JSON {
		return err
	}
	fmt.Printf("taken over: %d devices. Leave the old server off, start the gateway (gatehouse serve), and see with `gatehouse devices` how far it is\n", len(i.Devices))
	fmt.Println("the root's key is in the recovery kit now, and in the old server's files: destroy all copies of these once the devices are met")
	return nil
}

// storageFailure is a Problem in the words of the command line.
func storageFailure(err error) error {
	var p *inherit.Problem
	if errors.As(err, &p) {
		return &commissioner.Failure{Code: commissioner.Code(p.Code), Message: p.Message, Remedy: p.Remedy}
	}
	return err
}

// show prints the plans of fabrics, and fails if none is of use.
func (c *importCmd) show(g *globals, homes []*inherit.Home) (err error) {
	for _, h := range homes {
		p := h.Plan()
		if g.JSON {
			err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(p))
		} else {
			showPlan(p)
		}
	}
	if len(homes) == 1 {
		err = errors.Join(err, storageFailure(homes[0].Usable()))
	}
	return err
}

var ipkSays = map[string]string{
	"published": `the one that is printed in the Matter SDK's source ("temporary ipk 01"): it is to be replaced`,
	"own":       "drawn for this fabric: it is kept",
	"unknown":   "not there",
}

func showPlan(p inherit.Plan) {
	fmt.Printf("fabric %s, compressed id %s: %s, %s\n", p.Fabric, p.Compressed, p.Source, p.Path)
	key := "its private key is there and fits"
	if !p.RootKey {
		key = "its private key is not there"
	}
	ends := "without an end"
	if !p.RootEnds.IsZero() {
		ends = "until " + p.RootEnds.Format(time.DateOnly)
	}
	fmt.Printf("  root certificate: valid %s; %s\n", ends, key)
	fmt.Printf("  identity protection key: %s\n", ipkSays[p.IPK])
	fmt.Printf("  old controller: node %s, vendor %04X, label %q\n", cmp.Or(p.Controller, "unknown"), p.VendorID, p.Label)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n  NODE ID\tNAME\tVENDOR\tPRODUCT\tLAST SEEN\tALSO\n")
	for _, d := range p.Devices {
		seen := "not told"
		if !d.Seen.IsZero() {
			seen = d.Seen.Format(time.DateOnly)
		}
		fmt.Fprintf(w, "  %s\t%s\t%04X %s\t%04X %s\t%s\t%s\n", d.Node, d.Name, d.VendorID, d.Vendor, d.ProductID, d.Product, seen, also(d))
	}
	w.Flush()
	sentences := func(title string, l []string) {
		fmt.Printf("\n%s\n", title)
		for _, s := range l {
			fmt.Printf("  - %s\n", s)
		}
	}
	sentences("What happens:", p.Happens)
	sentences("What does not:", p.Stays)
	var problems []string
	for _, q := range p.Problems {
		problems = append(problems, fmt.Sprintf("%s: %s. %s", q.Code, q.Message, q.Remedy))
	}
	if len(problems) > 0 {
		sentences("What is wrong:", problems)
	}
	fmt.Println()
}

// also is what else there is to a device.
func also(d inherit.Device) (s string) {
	add := func(n int, what string) {
		if n > 0 {
			if s != "" {
				s += ", "
			}
			s += fmt.Sprintf("%d %s", n, what)
		}
	}
	add(d.OtherFabric, "other fabrics")
	add(d.Groups, "groups")
	add(d.Bindings, "bindings")
	add(d.Access, "access entries")
	if !d.KeyKnown {
		add(1, "key to be learnt")
	}
	return s
}
