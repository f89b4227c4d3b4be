package main

import (
	"context"
	"crypto"
	"fmt"
	"slices"

	"gatehouse/firmware/manifest/publish"
)

type firmwareVendorCmds struct {
	Add    firmwareVendorAddCmd    `cmd:"" help:"Entrust a vendor with speaking of its own products, and of nothing else."`
	Remove firmwareVendorRemoveCmd `cmd:"" help:"Take that away."`
}

type vendorArg struct {
	repositoryDir
	Vendor uint16 `arg:"" help:"Vendor, as 0xFFF1."`
}

type firmwareVendorAddCmd struct {
	vendorArg
	keySet
}

func (c *firmwareVendorAddCmd) Run(ctx context.Context, g *globals) error {
	role := publish.VendorRole(c.Vendor)
	keys, err := c.keys(role)
	if err != nil {
		return err
	}
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		return fmt.Sprintf("%s speaks of vendor %04X's products, once it and targets are signed", role, c.Vendor), r.AddVendor(c.Vendor, keys)
	})
}

type firmwareVendorRemoveCmd struct{ vendorArg }

func (c *firmwareVendorRemoveCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		return fmt.Sprintf("%s speaks no more, once targets is signed", publish.VendorRole(c.Vendor)), r.RemoveVendor(c.Vendor)
	})
}

type roleArg struct {
	repositoryDir
	Role string `arg:"" help:"Role: root, targets, a vendor's (vendor-FFF1), for rotate also snapshot or timestamp."`
}

type firmwareRotateCmd struct {
	roleArg
	Add       []string `help:"Key that signs from now on: its key file, or its public half." placeholder:"KEY" sep:"none"`
	Remove    []string `help:"Key that does so no more; as its id, too." placeholder:"KEY" sep:"none"`
	Threshold int      `help:"How many of the keys it takes; else as it is." placeholder:"N"`
}

func (*firmwareRotateCmd) Help() string {
	return "A new root is signed by the old keys and the new. Who publishes other keys of the snapshot or the timestamp gives the old ones too, unless they are lost or stolen: " +
		"then gateways find nothing amiss meanwhile."
}

func (c *firmwareRotateCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		keys, err := r.Keys(c.Role)
		if err != nil {
			return "", err
		}
		for _, word := range c.Remove {
			id, err := keyID(word, keys)
			if err != nil {
				return "", err
			}
			left := slices.DeleteFunc(slices.Clone(keys.Public), func(p crypto.PublicKey) bool { known, err := publish.KeyID(p); return err == nil && known == id })
			if len(left) == len(keys.Public) {
				return "", invalid("%s is no key of %s", word, c.Role)
			}
			keys.Public = left
		}
		for _, word := range c.Add {
			public, err := publicKey(word)
			if err != nil {
				return "", err
			}
			keys.Public = append(keys.Public, public)
		}
		if c.Threshold != 0 {
			keys.Threshold = c.Threshold
		}
		return fmt.Sprintf("%s has %s, %d of which sign", c.Role, count(len(keys.Public), "key"), keys.Threshold), r.Rotate(c.Role, keys)
	})
}

type firmwareExtendCmd struct{ roleArg }

func (c *firmwareExtendCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		return c.Role + " is to be signed again", r.Extend(c.Role)
	})
}

type firmwareDiscardCmd struct{ roleArg }

func (c *firmwareDiscardCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, func(r *publish.Repository) (string, error) {
		return "forgot what was staged for " + c.Role, r.Discard(c.Role)
	})
}
