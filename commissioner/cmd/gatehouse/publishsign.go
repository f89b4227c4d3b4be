package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/firmware/manifest/publish"
)

// codeUnsigned is of what too few have signed.
const codeUnsigned commissioner.Code = "signatures-missing"

type firmwareSignCmd struct {
	repositoryDir
	Key            string `help:"Key file." required:"" placeholder:"FILE" type:"existingfile"`
	PassphraseFile string `help:"File whose first line is the key's passphrase; asked for if there is none." type:"existingfile"`
	TPM            string `name:"tpm" help:"Where the TPM is that has the key, if one does." default:"auto" env:"GATEHOUSE_TPM"`
	Role           string `help:"Sign for this role alone; else for all that the key has a say in."`
}

func (c *firmwareSignCmd) Run(ctx context.Context, g *globals) error {
	k, err := readKey(c.Key)
	if err != nil {
		return err
	}
	id, err := publish.KeyID(k.Public())
	if err != nil {
		return err
	}
	r, release, err := c.repositoryDir.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	roles, err := r.Roles()
	if err != nil {
		return c.failure(err)
	}
	mine, err := c.mine(roles, id)
	if err != nil {
		return err
	}
	// Whoever signs sees it before the passphrase is asked for.
	if !g.JSON {
		for _, role := range mine {
			showStaged(role)
		}
	}
	key := signingKeys{TPM: c.TPM}
	signer, err := key.open(c.Key, k, c.PassphraseFile)
	if err != nil {
		return err
	}
	defer signer.Erase()
	var signed []string
	for _, role := range mine {
		if err := r.Sign(role.Name, signer); err != nil {
			return c.failure(err)
		}
		signed = append(signed, role.Name)
	}
	return c.tell(g, r, fmt.Sprintf("signed %s with key %s", strings.Join(signed, ", "), publish.ShortID(id)), signed)
}

// mine are the staged roles that the key may sign for.
func (c *firmwareSignCmd) mine(roles []publish.Role, id string) (mine []publish.Role, err error) {
	staged := 0
	for _, role := range roles {
		if role.Staged == nil || c.Role != "" && c.Role != role.Name {
			continue
		}
		if staged++; slices.Contains(role.Staged.May, id) {
			mine = append(mine, role)
		}
	}
	switch {
	case staged == 0:
		return nil, &commissioner.Failure{Code: "nothing-staged", Message: "nothing is staged that could be signed", Remedy: "change something first, or `gatehouse firmware extend` a role"}
	case len(mine) == 0:
		return nil, &commissioner.Failure{Code: "key-without-say", Message: fmt.Sprintf("the key %s has no say in what is staged", publish.ShortID(id)),
			Remedy: fmt.Sprintf("see `gatehouse firmware show %s` for whose signatures are missing", c.Dir)}
	}
	return mine, nil
}

type firmwarePublishCmd struct {
	repositoryDir
	signingKeys
	SignedOnly bool `help:"Publish what has its signatures, and leave the rest staged."`
}

func (*firmwarePublishCmd) Help() string {
	return "It takes the keys of the snapshot and of the timestamp. The repository is then in the directory's metadata and targets: put these behind https, or copy the directory onto a stick."
}

func (c *firmwarePublishCmd) Run(ctx context.Context, g *globals) error {
	r, release, err := c.repositoryDir.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	roles, err := r.Roles()
	if err != nil {
		return c.failure(err)
	}
	if missing := unsigned(roles); len(missing) > 0 && !c.SignedOnly {
		return &commissioner.Failure{Code: codeUnsigned, Message: "too few have signed what is staged", Reasons: missing,
			Remedy: fmt.Sprintf("have them sign with `gatehouse firmware sign %s`, or publish the rest with --signed-only", c.Dir)}
	}
	signers, erase, err := c.unlock()
	if err != nil {
		return err
	}
	defer erase()
	if err := r.Publish(signers...); err != nil {
		return c.failure(err)
	}
	return c.tell(g, r, "published", nil)
}

// unsigned says whose signatures the staged roles lack.
func unsigned(roles []publish.Role) (reasons []commissioner.Reason) {
	for _, role := range roles {
		if role.Staged != nil && role.Staged.Lacks() > 0 {
			reasons = append(reasons, commissioner.Reason{Code: string(codeUnsigned), Message: fmt.Sprintf("%s, version %d, %s", role.Name, role.Staged.Version, lacking(role.Staged))})
		}
	}
	return reasons
}

type firmwareRenewCmd struct {
	repositoryDir
	signingKeys
}

func (c *firmwareRenewCmd) Run(ctx context.Context, g *globals) error {
	r, release, err := c.repositoryDir.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	signers, erase, err := c.unlock()
	if err != nil {
		return err
	}
	defer erase()
	if err := r.Renew(signers...); err != nil {
		return c.failure(err)
	}
	roles, err := r.Roles()
	if err != nil {
		return c.failure(err)
	}
	// Of the others, people have to sign the one that expires first.
	timestamp, first := roles[len(roles)-1], roles[0]
	for _, role := range roles[:len(roles)-1] {
		if role.Version > 0 && role.Expires.Before(first.Expires) {
			first = role
		}
	}
	return present(g, renewed{timestamp.Version, timestamp.Expires, first.Name, first.Expires}, func() {
		fmt.Printf("the timestamp holds until %s; of the others, %s expires first, on %s\n", timestamp.Expires.Local().Format(time.DateTime), first.Name, day(&first.Expires))
	})
}

// renewed is what renew tells.
type renewed struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Next    string    `json:"next"` // the role that expires first, of those that people sign
	NextAt  time.Time `json:"next_expires"`
}
