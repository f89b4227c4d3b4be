package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/backup"
	"gatehouse/cluster/durable"
	"gatehouse/cluster/found"
	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

type backupCmd struct {
	File string `arg:"" help:"File to write; it must not exist." type:"path"`
	TPM  string `name:"tpm" help:"Where the TPM is that has the gateway's keys, as for serve; for a gateway that does not run." default:"auto" env:"GATEHOUSE_TPM"`
}

// backedUp is what backup tells.
type backedUp struct {
	File string `json:"file"`
	portal.BackupInfo
}

func (c *backupCmd) Run(ctx context.Context, g *globals) error {
	if err := mustNotExist(c.File, "a backup"); err != nil {
		return err
	}
	data, info, err := g.fetchBackup(ctx)
	if errors.Is(err, errNoDaemon) {
		data, info, err = g.readBackup(c.TPM)
	}
	if err != nil {
		return err
	}
	if err := durable.WriteFile(nil, c.File, data); err != nil {
		return err
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(backedUp{c.File, info})
	}
	fmt.Printf("backed up fabric %s, %s, to %s; only the recovery kit opens it\n", info.Fabric, count(info.Devices, "device"), c.File)
	if info.Behind {
		fmt.Println("no gateway leads the others: this is what the gateway here knew last")
	}
	return nil
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// readBackup is a backup of the home of a gateway that does not run: of all
// that has reached it. The other gateways may know more; what only this one
// knows may never have been committed, and does no harm.
func (g *globals) readBackup(tpm string) (data []byte, info portal.BackupInfo, err error) {
	if !cluster.Exists(cluster.Config{Dir: found.LogDir(g.State)}) {
		return nil, info, errNoHome
	}
	keys, err := loadKeys(g.State, tpm)
	if err != nil {
		return nil, info, err
	}
	config := clusterConfig(slog.New(slog.DiscardHandler))
	config.Dir, config.Node = found.LogDir(g.State), keys.Node
	s, records, err := cluster.ReadTrail(config)
	if err != nil {
		return nil, info, err
	}
	return portal.Backup(s, clock(), len(s.Members()) > 1, records)
}

// fetchBackup is a backup of the home of the gateway that runs here.
func (g *globals) fetchBackup(ctx context.Context) (data []byte, info portal.BackupInfo, err error) {
	resp, err := g.request(ctx, http.MethodGet, "backup", nil)
	if err != nil {
		return nil, info, err
	}
	defer resp.Body.Close()
	if data, err = io.ReadAll(io.LimitReader(resp.Body, backup.MaxFile)); err != nil {
		return nil, info, err
	}
	if resp.StatusCode != http.StatusOK {
		var failed struct{ Error *commissioner.Failure }
		if err := json.Unmarshal(data, &failed); err != nil || failed.Error == nil {
			return nil, info, fmt.Errorf("the gateway's answer: %s", resp.Status)
		}
		return nil, info, failed.Error
	}
	return data, info, json.Unmarshal([]byte(resp.Header.Get(portal.BackupHeader)), &info)
}

type restoreCmd struct {
	File           string   `arg:"" help:"The backup." type:"existingfile"`
	Kit            string   `help:"The recovery kit." type:"existingfile" xor:"kit" required:""`
	Share          []string `help:"Two shares of the recovery kit, instead of --kit." type:"existingfile" xor:"kit" required:"" placeholder:"FILE"`
	PassphraseFile string   `help:"File whose first line is the kit's passphrase." type:"existingfile"`
	DryRun         bool     `help:"Say what is in the backup and what would change, and do nothing."`
	Gateway        string   `help:"Name of this gateway." default:"gateway"`
	TPM            string   `name:"tpm" help:"What keeps the gateway's keys, as for setup." default:"auto" env:"GATEHOUSE_TPM"`
}

// restored is what restore tells.
type restored struct {
	DryRun bool `json:"dry_run,omitempty"`
	*backup.Plan
}

func (c *restoreCmd) Run(ctx context.Context, g *globals) error {
	kit, err := c.openKit()
	if err != nil {
		return err
	}
	defer kit.Key.Erase()
	data, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	b, err := backup.Open(bytes.NewReader(data), kit)
	if err != nil {
		return backupFailure(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config := found.Config{Dir: g.State, Gateway: c.Gateway, Now: clock(), TPM: c.TPM, Cluster: clusterConfig(log)}
	told := restored{DryRun: c.DryRun}
	if c.DryRun {
		if cluster.Exists(cluster.Config{Dir: found.LogDir(g.State)}) {
			return errFounded
		}
		told.Plan, err = backup.NewPlan(ctx, config, b, kit)
	} else {
		var s *fabric.State
		if s, err = backup.Restore(ctx, config, b, kit); err == nil {
			told.Plan = b.Compare(s)
		}
	}
	if err != nil {
		return backupFailure(err)
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(told)
	}
	told.show(g)
	return nil
}

func (c *restoreCmd) openKit() (*seal.Kit, error) {
	if c.Kit != "" {
		return openKit([]string{c.Kit}, c.PassphraseFile)
	}
	return openKit(c.Share, "")
}

func (r *restored) show(g *globals) {
	fmt.Printf("home %s, fabric %s, backed up %s\n", r.Home, r.Fabric, r.Taken.Local().Format(time.DateTime))
	fmt.Printf("it has %s, the zones %s, %s; %d former devices and gateways stay sent away\n", count(len(r.Devices), "device"), strings.Join(r.Zones, ", "),
		count(len(r.Networks), "network"), r.Former-len(r.Lost))
	for _, d := range r.Devices {
		fmt.Printf("  %s  %s, %s\n", d.Node, d.Name, d.Zone)
	}
	if r.DryRun {
		fmt.Println("a restore would change:")
	} else {
		fmt.Println("changed:")
	}
	if len(r.Lost) > 0 {
		fmt.Printf("  the gateways of then are sent away for ever: %s\n", strings.Join(r.Lost, ", "))
	}
	for _, d := range r.Abandoned {
		fmt.Printf("  %s (%s) was being paired; it has to be paired again\n", d.Name, d.Node)
	}
	fmt.Printf("  %s to be told by the new gateway not to trust those of then any more\n", count(r.Trusting, "device"))
	fmt.Printf("  certificates come from a new generation, after %d; the gateways' tag is of version %d, after %d\n", r.Generation.Before, r.Tag.After, r.Tag.Before)
	fmt.Printf("  node ids are given from %s on, so that none is given twice; restore %d of at most %d\n", r.NodeIDs, r.Restores, fabric.MaxRestores)
	for _, n := range r.Networks {
		fmt.Printf("  the gateways of then know the credentials of network %q: if they may be in wrong hands, change them\n", n)
	}
	if r.DryRun {
		fmt.Println("nothing was written")
		return
	}
	fmt.Printf("restored as gateway %s; start it with `gatehouse serve --state %s`, and switch no gateway of then on again\n", r.Gateway, g.State)
}

// backupFailure gives what a backup or its restore fails with a code.
func backupFailure(err error) error {
	f := &commissioner.Failure{Message: err.Error()}
	switch {
	case errors.Is(err, found.ErrFounded):
		return errFounded
	case errors.Is(err, backup.ErrKit):
		f.Code, f.Remedy = "kit-of-another-backup", "take the recovery kit that the home had when the backup was taken"
	case errors.Is(err, backup.ErrNoBackup):
		f.Code, f.Remedy = "backup-unusable", "take another copy, or an older backup"
	case errors.Is(err, backup.ErrClock):
		f.Code, f.Remedy = "clock-behind", "set this machine's clock, then restore again"
	default:
		return err
	}
	return f
}
