package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gatehouse/cluster/backup"
	"gatehouse/cluster/durable"
	"gatehouse/commissioner"
	"gatehouse/fabric/seal"
)

type kitCmds struct {
	Check kitCheckCmd `cmd:"" help:"Open the recovery kit, as a drill."`
	Split kitSplitCmd `cmd:"" help:"Split the recovery kit into three shares, any two of which open it without a passphrase."`
}

func kitUnusable(err error, remedy string) error {
	return &commissioner.Failure{Code: "kit-unusable", Message: err.Error(), Remedy: remedy}
}

// openKit opens a kit from its file or from two or three of its shares, every
// two of which must open it. Erase its key.
func openKit(files []string, passphraseFile string) (*seal.Kit, error) {
	var shares []*seal.Share
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if !seal.IsShare(data) && len(files) == 1 {
			return openWhole(data, passphraseFile)
		}
		s, err := seal.ParseShare(data)
		if err != nil {
			return nil, kitUnusable(fmt.Errorf("%s: %w", name, err), "compare it with what was written or printed, or take another two shares")
		}
		shares = append(shares, s)
	}
	if len(shares) < 2 {
		return nil, kitUnusable(errors.New("one share opens nothing"), "give another of the three with it")
	}
	var kit *seal.Kit
	for i, a := range shares {
		for _, b := range shares[i+1:] {
			opened, err := seal.JoinShares(a, b)
			if err != nil {
				return nil, kitUnusable(err, "give two shares that were written together")
			}
			if kit != nil {
				kit.Key.Erase()
			}
			kit = opened
		}
	}
	return kit, nil
}

func openWhole(data []byte, passphraseFile string) (*seal.Kit, error) {
	passphrase, err := readPassphrase(passphraseFile, "the recovery kit", false)
	if err != nil {
		return nil, err
	}
	kit, err := seal.OpenKit(data, passphrase)
	if err != nil {
		return nil, kitUnusable(err, "try the passphrase again, or make a new kit while the home still runs")
	}
	return kit, nil
}

type kitCheckCmd struct {
	Files          []string `arg:"" name:"file" help:"The recovery kit, or two or three of its shares." type:"existingfile"`
	PassphraseFile string   `help:"File whose first line is the kit's passphrase." type:"existingfile"`
	Backup         string   `help:"Try the kit on this backup; else on the home of the gateway that runs here, if one does." type:"existingfile"`
}

// checkedKit is what a drill tells.
type checkedKit struct {
	Home    string    `json:"home"`
	Fabric  string    `json:"fabric_id"`
	Made    time.Time `json:"made"`
	Files   []string  `json:"files"`
	Opens   string    `json:"opens,omitempty"` // what of the home it was tried on: gateway, or backup; empty: nothing
	TakenAt time.Time `json:"taken,omitzero"`  // the backup
}

func (c *kitCheckCmd) Run(ctx context.Context, g *globals) error {
	kit, err := openKit(c.Files, c.PassphraseFile)
	if err != nil {
		return err
	}
	kit.Key.Erase()
	checked := checkedKit{Home: kit.Home, Fabric: kit.FabricID.String(), Made: kit.Made, Files: c.Files, Opens: "backup"}
	var data []byte
	if c.Backup != "" {
		data, err = os.ReadFile(c.Backup)
	} else if data, _, err = g.fetchBackup(ctx); errors.Is(err, errNoDaemon) {
		checked.Opens, err = "", nil
	} else {
		checked.Opens = "gateway"
	}
	if err != nil {
		return err
	}
	if checked.Opens != "" {
		b, err := tryKit(ctx, kit, data)
		if err != nil {
			return err
		}
		checked.TakenAt = b.Taken
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(checked)
	}
	fmt.Printf("the kit opens: home %s, fabric %s, made %s\n", checked.Home, checked.Fabric, kit.Made.Format(time.DateOnly))
	switch checked.Opens {
	case "backup":
		fmt.Printf("it opens the backup of %s\n", checked.TakenAt.Local().Format(time.DateTime))
	case "gateway":
		fmt.Println("it opens what the gateway here would back up now")
	default:
		fmt.Println("it was not tried on the home: no gateway runs here, and no --backup was given")
	}
	return nil
}

// tryKit opens a backup, and what is sealed in it.
func tryKit(ctx context.Context, kit *seal.Kit, data []byte) (*backup.Backup, error) {
	b, err := backup.Open(bytes.NewReader(data), kit)
	if err != nil {
		return nil, backupFailure(err)
	}
	secrets, err := b.Secrets(ctx, kit)
	if err != nil {
		return nil, backupFailure(fmt.Errorf("%w: %w", backup.ErrKit, err))
	}
	secrets.Erase()
	return b, nil
}

type kitSplitCmd struct {
	Kit            string `arg:"" help:"The recovery kit." type:"existingfile"`
	One            string `arg:"" help:"File of the first share." type:"path"`
	Two            string `arg:"" help:"File of the second." type:"path"`
	Three          string `arg:"" help:"File of the third." type:"path"`
	PassphraseFile string `help:"File whose first line is the kit's passphrase." type:"existingfile"`
}

func (c *kitSplitCmd) Run(g *globals) error {
	files := []string{c.One, c.Two, c.Three}
	if c.One == c.Two || c.One == c.Three || c.Two == c.Three {
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("three files are needed"))
	}
	for _, name := range files {
		if err := mustNotExist(name, "a share of a recovery kit"); err != nil {
			return err
		}
	}
	kit, err := openKit([]string{c.Kit}, c.PassphraseFile)
	if err != nil {
		return err
	}
	defer kit.Key.Erase()
	texts, err := seal.SplitKit(rand.Reader, *kit)
	if err != nil {
		return err
	}
	for i, name := range files {
		if err := durable.WriteFile(nil, name, texts[i]); err != nil {
			return err
		}
	}
	again, err := openKit(files, "") // every two of them, as they were written
	if err != nil {
		return err
	}
	again.Key.Erase()
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(checkedKit{Home: kit.Home, Fabric: kit.FabricID.String(), Made: kit.Made, Files: files})
	}
	fmt.Printf("split the kit of %s into three shares; every two of them open it\nkeep them in three places: whoever has two has the home, and no passphrase stops them\n", kit.Home)
	return nil
}

// mustNotExist refuses to overwrite what cannot be made again.
func mustNotExist(path, what string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &commissioner.Failure{Code: "file-exists", Message: fmt.Sprintf("%s is there already: %s is never overwritten", path, what), Remedy: "name another file"}
	}
	return nil
}
