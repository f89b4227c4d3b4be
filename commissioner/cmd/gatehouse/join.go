package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"gatehouse/cluster"
	"gatehouse/cluster/durable"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/commissioner"
	"gatehouse/commissioner/enroll"
	"gatehouse/fabric"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/udp"
)

type joinCmd struct {
	Name      string   `help:"Name of this gateway." default:"gateway"`
	Interface []string `help:"Network interface to be found on; all if none is named." placeholder:"NAME"`
	Port      uint16   `help:"UDP port; 0 takes any." default:"0"`
	TPM       string   `name:"tpm" help:"What keeps the gateway's keys: a TPM 2.0, given as a device or a unix socket, or none, a file. auto is /dev/tpmrm0 if it opens, else a file." default:"auto" env:"GATEHOUSE_TPM"`
}

// joinedHome is what join tells in the end.
type joinedHome struct {
	Gateway string `json:"joined"`
}

var errFounded = &commissioner.Failure{Code: "fabric-already-founded", Message: "this gateway is part of a home already",
	Remedy: "start it with `gatehouse serve`, or choose another --state"}

// Run shows a setup code until a member of a home has let this gateway in.
func (c *joinCmd) Run(ctx context.Context, g *globals) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config := found.Config{Dir: g.State, TPM: c.TPM, Cluster: clusterConfig(log)}
	if cluster.Exists(cluster.Config{Dir: found.LogDir(g.State)}) {
		return errFounded
	}
	keys, err := c.keys(g.State)
	if err != nil {
		return err
	}
	link, err := udp.Listen(udp.Config{Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), c.Port)})
	if err != nil {
		return fmt.Errorf("listen for Matter: %w", err)
	}
	discovery, err := dnssd.Open(dnssd.Config{Interfaces: c.Interface, Now: clock, Rand: rand.Reader, Log: log})
	if err != nil {
		return errors.Join(fmt.Errorf("listen for multicast DNS: %w", err), link.Close())
	}
	defer discovery.Close()
	box := &enroll.Candidate{Name: c.Name, Keys: keys, Offer: g.offer, Link: link, Port: link.LocalAddr().Port(), Now: clock, Random: rand.Reader, Log: log,
		Accept: func(_ context.Context, m found.Membership) error { return found.Join(config, m) },
		Advertise: func(ctx context.Context, s dnssd.Service) (func(), error) {
			r, err := discovery.Advertise(ctx, s)
			if err != nil {
				return nil, err
			}
			return r.Close, nil
		}}
	if _, err := box.Run(ctx); err != nil {
		return err
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(joinedHome{keys.Node.String()})
	}
	fmt.Printf("joined as gateway %v; start it with `gatehouse serve --state %s`\n", keys.Node, g.State)
	return nil
}

// keys are those of a join that was interrupted, or new ones.
func (c *joinCmd) keys(dir string) (keyfile.Keys, error) {
	keys, err := loadKeys(dir, c.TPM)
	if !errors.Is(err, errNoHome) {
		return keys, err
	}
	if err := durable.MakeDir(nil, dir); err != nil {
		return keys, err
	}
	node, err := new(fabric.State).DrawNode(rand.Reader) // it knows of none that were given
	if err != nil {
		return keys, err
	}
	if keys, err = keyfile.New(node, keyfile.Options{TPM: c.TPM}, rand.Reader); err != nil {
		return keys, err
	}
	return keys, keyfile.Create(dir, keys, rand.Reader, nil)
}

// offer shows a code: to a program as JSON, to people as a QR code.
func (g *globals) offer(code enroll.SetupCode) {
	if g.JSON {
		json.NewEncoder(os.Stdout).Encode(struct {
			QR     string `json:"qr"`
			Manual string `json:"manual"`
		}{code.QR, code.Manual})
		return
	}
	if code.Renewed {
		fmt.Println("\nThe code before was tried too often. The new one:")
	}
	drawQR(code.QR)
	fmt.Printf("QR code      %s\nmanual code  %s\nGive either to a member of the home: gatehouse gateways add CODE\n", code.QR, code.Manual)
}
