package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"gatehouse/cluster/found"
	"gatehouse/commissioner"
	"gatehouse/fabric/seal"
)

// testVendor is the vendor id of administrators without one of their own.
const testVendor = 0xFFF1

type setupCmd struct {
	Name           string `help:"Name of the home." default:"home"`
	Gateway        string `help:"Name of this gateway." default:"gateway"`
	Kit            string `help:"File of the recovery kit, which brings the root key back. Keep it elsewhere." required:"" type:"path"`
	PassphraseFile string `help:"File whose first line is the kit's passphrase; asked for if there is none." type:"existingfile"`
	TPM            string `name:"tpm" help:"What keeps the gateway's keys: a TPM 2.0, given as a device or a unix socket, or none, a file. auto is /dev/tpmrm0 if it opens, else a file." default:"auto" env:"GATEHOUSE_TPM"`
}

// founded is what setup tells.
type founded struct {
	Home    string `json:"home"`
	Fabric  string `json:"fabric_id"`
	Gateway string `json:"gateway"`
	Kit     string `json:"kit"`
}

func (c *setupCmd) Run(ctx context.Context, g *globals) error {
	return c.found(ctx, g, testVendor, nil)
}

// found founds the home, on a fabric that there is if i is not nil.
func (c *setupCmd) found(ctx context.Context, g *globals, vendor uint16, i *found.Inheritance) error {
	passphrase, err := readPassphrase(c.PassphraseFile, "the recovery kit", true)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := found.Found(ctx, found.Config{Dir: g.State, Kit: c.Kit, Passphrase: passphrase, Home: c.Name, Gateway: c.Gateway,
		VendorID: vendor, Inherit: i, Now: clock(), TPM: c.TPM, Cluster: clusterConfig(log)})
	if errors.Is(err, found.ErrFounded) {
		return errFounded
	} else if err != nil {
		return err
	}
	f := founded{Home: s.Home.Name, Fabric: s.Home.FabricID.String(), Kit: c.Kit}
	for n := range s.Gateways {
		f.Gateway = n.String()
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(f)
	}
	fmt.Printf("founded %s: fabric %s, gateway %s\nrecovery kit: %s — keep it elsewhere, with its passphrase\n", f.Home, f.Fabric, f.Gateway, f.Kit)
	return nil
}

// readPassphrase reads the one of what from a file, or asks for it, twice if it
// is new.
func readPassphrase(file, what string, fresh bool) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		line, err := bufio.NewReader(f).ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", commissioner.Fail(commissioner.CodeInvalidArgument, errors.Join(errors.New("the passphrase file is empty"), err))
		}
		return checked(line, fresh)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("there is no terminal to ask for the passphrase: use --passphrase-file"))
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	one, err := ask(fmt.Sprintf("passphrase of %s: ", what))
	if err != nil {
		return "", err
	}
	if fresh {
		if two, err := ask("once more: "); err != nil || two != one {
			return "", commissioner.Fail(commissioner.CodeInvalidArgument, errors.Join(errors.New("the two differ"), err))
		}
	}
	return checked(one, fresh)
}

func checked(passphrase string, fresh bool) (string, error) {
	if !fresh {
		return passphrase, nil
	}
	if err := seal.CheckPassphrase(passphrase); err != nil {
		return "", &commissioner.Failure{Code: "passphrase-weak", Message: err.Error(), Remedy: "choose several words that have nothing to do with each other"}
	}
	return passphrase, nil
}
