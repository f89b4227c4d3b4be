package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric"
	"gatehouse/firmware"
	"gatehouse/firmware/library"
)

type firmwareCmds struct {
	Status  firmwareStatusCmd  `cmd:"" help:"Show what is settled, what is known and how old that is, and which devices are in quarantine."`
	Policy  firmwarePolicyCmd  `cmd:"" help:"Say what becomes of devices whose software is unknown, recalled, outdated or not certified."`
	Source  firmwareSourceCmds `cmd:"" help:"Whose statements are believed."`
	Refresh firmwareRefreshCmd `cmd:"" help:"Fetch what is new from all sources."`
	Ledger  firmwareLedgerCmds `cmd:"" help:"The compliance ledger."`
	Update  firmwareUpdateCmd  `cmd:"" help:"Have a device fetch and install its newer software."`
	Rollout rolloutCmds        `cmd:"" help:"Images on their way to all devices of a product."`
	publisherCmds
}

type firmwareUpdateCmd struct{ target }

func (c *firmwareUpdateCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/update"), nil, func(u portal.Update) {
		switch {
		case u.Error != "":
			fmt.Printf("%s: %s\n", u.State, u.Error)
		case u.Size > 0:
			fmt.Printf("%s: %d of %d octets\n", u.State, u.Done, u.Size)
		case u.State == ota.Announced:
			fmt.Printf("the device was told to ask for version %d, which may take it ten minutes\n", u.Version)
		default:
			fmt.Printf("%s version %d\n", u.State, u.Version)
		}
	})
}

type firmwareStatusCmd struct{}

func (*firmwareStatusCmd) Run(ctx context.Context, g *globals) error {
	if err := ask(ctx, g, "GET", "firmware", nil, showFirmware); err != nil {
		return err
	}
	return ask(ctx, g, "GET", "devices", nil, func(list portal.Devices) {
		for _, d := range list.Devices {
			if s := d.Standing; s != nil && (s.Verdict != fabric.AdmitDevice.String() || len(s.Reasons) > 0) {
				showStanding(d.Name, d.Node, s)
			}
		}
	})
}

// showStanding tells why a device is where it is, and what can be done.
func showStanding(name, node string, s *portal.Standing) {
	fmt.Printf("%s (%s), version %d: %s", name, node, s.Version, s.Verdict)
	if !s.Enforced {
		fmt.Print(", once the device can be told")
	}
	if s.Attested {
		fmt.Print("; its attestation says so")
	}
	fmt.Println()
	for _, r := range s.Reasons {
		fmt.Printf("  %s: %s\n", r.Code, r.Text)
	}
	switch {
	case s.Update != "" && s.Deadline != nil:
		fmt.Printf("  cure: version %s, until %s: gatehouse firmware update %q\n", s.Update, s.Deadline.Local().Format(time.DateTime), name)
	case s.Update != "":
		fmt.Printf("  cure: version %s: gatehouse firmware update %q\n", s.Update, name)
	case s.Verdict != fabric.AdmitDevice.String():
		fmt.Println("  cure: none is known; ask its maker")
	}
}

func showFirmware(f portal.Firmware) {
	showPolicy("the home", f.Policy)
	for zone, p := range f.Zones {
		showPolicy("zone "+zone, *p)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tWHERE\tPRODUCTS\tSIGNED\tHOLDS UNTIL\tREFRESHED")
	for _, s := range f.Sources {
		until := day(s.Expires)
		if s.Expired {
			until += " (over)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", s.Name, s.Where, s.Products, day(s.Signed), until, day(s.Refreshed))
	}
	w.Flush()
	for _, s := range f.Sources {
		if s.Error != "" {
			fmt.Printf("%s: %s\n", s.Name, s.Error)
		}
	}
	known := fmt.Sprintf("%d records are known", f.Records)
	if f.Oldest != nil {
		known += ", the oldest of " + day(f.Oldest)
	}
	if f.Ledger == "" {
		fmt.Println("the compliance ledger is not asked;", known)
	} else {
		fmt.Printf("the compliance ledger is asked at %s; %s\n", f.Ledger, known)
	}
	if f.LedgerError != "" {
		fmt.Println("the compliance ledger:", f.LedgerError)
	}
}

func showPolicy(whose string, p fabric.FirmwarePolicy) {
	p = firmware.Effective(p)
	fmt.Printf("%s: unknown %v, recalled %v, outdated %v, uncertified %v, grace %v, updates %v\n", whose, p.Unknown, p.Recalled, p.Outdated, p.Uncertified, time.Duration(p.Grace)*time.Millisecond, p.Updates)
}

func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.DateOnly)
}

type firmwarePolicyCmd struct {
	Zone        string         `help:"Of this zone, instead of the whole home."`
	Unknown     fabric.Verdict `help:"Product that nobody speaks of: default, admit, quarantine or refuse." default:"default"`
	Recalled    fabric.Verdict `help:"Version that must not run." default:"default"`
	Outdated    fabric.Verdict `help:"Version below the least that may run." default:"default"`
	Uncertified fabric.Verdict `help:"Version that the compliance ledger knows, and not as certified." default:"default"`
	Grace       time.Duration  `help:"For which a device of the home may go on outdated."`
	Updates     fabric.Updates `help:"Devices that are updated without being told: default, none, required or all." default:"default"`
	Reset       bool           `help:"Back to the default, or for a zone, to the home's."`
}

func (c *firmwarePolicyCmd) Run(ctx context.Context, g *globals) error {
	req := portal.SetFirmwarePolicy{Zone: c.Zone}
	if !c.Reset {
		req.Policy = &fabric.FirmwarePolicy{Unknown: c.Unknown, Recalled: c.Recalled, Outdated: c.Outdated, Uncertified: c.Uncertified, Grace: c.Grace.Milliseconds(), Updates: c.Updates}
	}
	return ask(ctx, g, "PUT", "firmware/policy", req, showFirmware)
}

type firmwareSourceCmds struct {
	Add    firmwareSourceAddCmd    `cmd:"" help:"Believe a repository."`
	Remove firmwareSourceRemoveCmd `cmd:"" help:"Believe it no more."`
}

type firmwareSourceAddCmd struct {
	Name  string `arg:"" help:"What the home calls it. Of two that speak of a product, the name that comes first is believed first."`
	Where string `arg:"" help:"https address, or a directory on the gateway."`
	Root  string `help:"File with the repository's root of trust (root.json), got from somebody you trust." required:"" type:"existingfile"`
}

func (c *firmwareSourceAddCmd) Run(ctx context.Context, g *globals) error {
	root, err := os.ReadFile(c.Root)
	if err != nil {
		return commissioner.Fail(commissioner.CodeInvalidArgument, err)
	}
	return ask(ctx, g, "PUT", "firmware/sources/"+url.PathEscape(c.Name), portal.FirmwareSource{Where: c.Where, Root: root}, showFirmware)
}

type firmwareSourceRemoveCmd struct {
	Name string `arg:""`
}

func (c *firmwareSourceRemoveCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", "firmware/sources/"+url.PathEscape(c.Name), nil, func(r portal.Removed) { fmt.Println("removed", c.Name) })
}

type firmwareRefreshCmd struct{}

func (*firmwareRefreshCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", "firmware/refresh", nil, showFirmware)
}

type firmwareLedgerCmds struct {
	Allow  firmwareLedgerAllowCmd  `cmd:"" help:"Let the gateways ask a node of the ledger about the home's products."`
	Forbid firmwareLedgerForbidCmd `cmd:"" help:"Do not let them ask."`
	Import firmwareLedgerImportCmd `cmd:"" help:"Take a saved snapshot."`
}

type firmwareLedgerAllowCmd struct {
	URL string `arg:"" help:"The node's address." default:"${ledger}"`
}

func (c *firmwareLedgerAllowCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "PUT", "firmware/ledger", portal.SetFirmwareLedger{URL: c.URL}, showFirmware)
}

type firmwareLedgerForbidCmd struct{}

func (*firmwareLedgerForbidCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "PUT", "firmware/ledger", portal.SetFirmwareLedger{}, showFirmware)
}

type firmwareLedgerImportCmd struct {
	File string `arg:"" help:"The snapshot." type:"existingfile"`
}

func (c *firmwareLedgerImportCmd) Run(ctx context.Context, g *globals) error {
	b, err := os.ReadFile(c.File)
	if err == nil && !json.Valid(b) {
		err = fmt.Errorf("%s is no snapshot of the compliance ledger", c.File)
	}
	if err != nil {
		return commissioner.Fail(commissioner.CodeInvalidArgument, err)
	}
	return ask(ctx, g, "POST", "firmware/ledger/import", json.RawMessage(b), func(a portal.Added) { fmt.Printf("records of %d products\n", a.Added) })
}

const (
	refreshEvery = 24 * time.Hour
	refreshRetry = time.Hour
	recordsEvery = 10 * time.Minute // between looks at what other gateways know of the ledger
)

// learn asks the ledger, where the home lets it, for the products of its
// devices, from the oldest version that runs on.
func learn(ctx context.Context, l *library.Library, s *fabric.State) error {
	type product struct{ vendor, id uint16 }
	oldest := make(map[product]uint32)
	for _, d := range s.Devices {
		of := product{d.Facts.VendorID, d.Facts.ProductID}
		if v, ok := oldest[of]; !ok || d.Facts.SoftwareVersion < v {
			oldest[of] = d.Facts.SoftwareVersion
		}
	}
	var failed error
	for of, version := range oldest {
		if err := l.Learn(ctx, of.vendor, of.id, version); err != nil {
			failed = fmt.Errorf("ask the compliance ledger for %04X/%04X: %w", of.vendor, of.id, err)
		}
	}
	return failed
}

// keepLibrary keeps what the gateway knows of firmware in line with what the
// home has settled, and new, until ctx ends.
func keepLibrary(ctx context.Context, p *portal.Portal, gateway *gateway, log *slog.Logger) {
	changed := gateway.Watch(ctx)
	records := time.NewTicker(recordsEvery)
	defer records.Stop()
	refresh := time.NewTimer(0)
	defer refresh.Stop()
	for {
		if p.L.Follow(gateway.State().Firmware) {
			refresh.Reset(0) // another gateway was told of it
		}
		select {
		case <-changed:
		case <-records.C:
			if err := p.Records(ctx); err != nil {
				log.Debug("another gateway's records of the compliance ledger are not known", "err", err)
			}
		case <-refresh.C:
			wait := refreshEvery
			if err := errors.Join(p.RefreshFirmware(ctx), learn(ctx, p.L, gateway.State())); err != nil {
				log.Info("not all that is known of firmware is new", "err", err)
				wait = refreshRetry
			}
			refresh.Reset(wait)
		case <-ctx.Done():
			return
		}
	}
}
