package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/commissioner"
	"gatehouse/firmware/manifest/publish"
)

// publisherCmds make, sign and publish a repository of statements. They need no
// gateway: the repository is a directory, the keys are files or in a TPM.
type publisherCmds struct {
	Key     firmwareKeyCmds    `cmd:"" group:"Publishing:" help:"Keys that sign statements."`
	Init    firmwareInitCmd    `cmd:"" group:"Publishing:" help:"Begin a repository. It is still to be signed and published, as every change is."`
	Add     firmwareAddCmd     `cmd:"" group:"Publishing:" help:"Add a release: an image as the vendor ships it (Matter OTA file)."`
	Minimum firmwareMinimumCmd `cmd:"" group:"Publishing:" help:"Say the lowest software version that may run."`
	Bad     firmwareBadCmd     `cmd:"" group:"Publishing:" help:"Say that software versions must not run."`
	Vendor  firmwareVendorCmds `cmd:"" group:"Publishing:" help:"Vendors that speak of their own products."`
	Rotate  firmwareRotateCmd  `cmd:"" group:"Publishing:" help:"Give a role other keys, or another threshold."`
	Extend  firmwareExtendCmd  `cmd:"" group:"Publishing:" help:"Stage a role as it is, to be signed before it expires."`
	Discard firmwareDiscardCmd `cmd:"" group:"Publishing:" help:"Forget what is staged for a role."`
	Show    firmwareShowCmd    `cmd:"" group:"Publishing:" help:"Show who signs, until when that holds, what is staged, and whose signatures it lacks."`
	Sign    firmwareSignCmd    `cmd:"" group:"Publishing:" help:"Sign what is staged, with one key."`
	Publish firmwarePublishCmd `cmd:"" group:"Publishing:" help:"Publish what is staged and signed."`
	Renew   firmwareRenewCmd   `cmd:"" group:"Publishing:" help:"Say that nothing has changed: signs the timestamp, which holds for a week. A daily timer does this."`
	Root    firmwareRootCmd    `cmd:"" group:"Publishing:" help:"Write the root of trust (root.json), which a home needs to believe the repository: gatehouse firmware source add."`
}

// keySet is who signs for a role.
type keySet struct {
	Key       []string `help:"Key that signs: its key file, or its public half as key show prints it. Repeat it for each." placeholder:"KEY" sep:"none"`
	Threshold int      `help:"How many of the keys it takes; to be given where there are several." placeholder:"N"`
}

func (s keySet) keys(role string) (k publish.Keys, err error) {
	switch {
	case len(s.Key) == 0:
		return k, invalid("no key is given for %s", role)
	case s.Threshold == 0 && len(s.Key) > 1:
		return k, invalid("%s has %d keys: say how many of them it takes", role, len(s.Key))
	}
	k.Threshold = max(s.Threshold, 1)
	for _, word := range s.Key {
		public, err := publicKey(word)
		if err != nil {
			return k, err
		}
		k.Public = append(k.Public, public)
	}
	return k, nil
}

func invalid(format string, args ...any) error {
	return commissioner.Fail(commissioner.CodeInvalidArgument, fmt.Errorf(format, args...))
}

type firmwareInitCmd struct {
	repositoryDir
	Name      string `help:"What people call it." required:""`
	Root      keySet `embed:"" prefix:"root-"`
	Targets   keySet `embed:"" prefix:"targets-"`
	Snapshot  keySet `embed:"" prefix:"snapshot-"`
	Timestamp keySet `embed:"" prefix:"timestamp-"`
}

func (*firmwareInitCmd) Help() string {
	return "The root's keys say who signs for all other roles: keep them in safes, of several people. The targets' say what may run. The timestamp's is used daily, by a timer. " +
		"The snapshot's is used by whoever publishes; without --snapshot-key it is the timestamp's."
}

func (c *firmwareInitCmd) Run(ctx context.Context, g *globals) error {
	if len(c.Snapshot.Key) == 0 {
		c.Snapshot = c.Timestamp
	}
	s := publish.Setup{Name: c.Name}
	for _, role := range []struct {
		name string
		set  keySet
		keys *publish.Keys
	}{{"root", c.Root, &s.Root}, {"targets", c.Targets, &s.Targets}, {"snapshot", c.Snapshot, &s.Snapshot}, {"timestamp", c.Timestamp, &s.Timestamp}} {
		var err error
		if *role.keys, err = role.set.keys(role.name); err != nil {
			return err
		}
	}
	r, release, err := c.begin(ctx, s)
	if err != nil {
		return err
	}
	defer release()
	return c.tell(g, r, fmt.Sprintf("began %q in %s", c.Name, c.Dir), nil)
}

type firmwareRootCmd struct {
	repositoryDir
	File string `arg:"" optional:"" help:"File to write; else it is printed." type:"path"`
}

// exported is what root tells.
type exported struct {
	File string `json:"file"`
	Name string `json:"name"`
}

func (c *firmwareRootCmd) Run(ctx context.Context, g *globals) error {
	r, release, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	root, err1 := r.Root()
	name, err2 := r.Name()
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return c.failure(err)
	case root == nil:
		return &commissioner.Failure{Code: "nothing-published", Message: "the repository's first root is not published yet", Remedy: "sign it, and run `gatehouse firmware publish`"}
	case c.File == "":
		fmt.Println(strings.TrimSpace(string(root)))
		return nil
	}
	if err := os.WriteFile(c.File, root, 0o644); err != nil {
		return commissioner.Fail(commissioner.CodeInvalidArgument, err)
	}
	return present(g, exported{c.File, name}, func() {
		fmt.Printf("wrote the root of trust of %q to %s: give it to whom should believe the repository, on a way that nobody else writes on\n", name, filepath.Base(c.File))
	})
}
