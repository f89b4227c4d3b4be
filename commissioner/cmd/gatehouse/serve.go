package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/portal"
	"gatehouse/radio"
	"gatehouse/radio/button"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/udp"
)

type serveCmd struct {
	Interface []string `help:"Network interface to find devices on; all if none is named. lo serves devices simulated on this host." placeholder:"NAME"`
	Port      uint16   `help:"UDP port for Matter; 0 takes any." default:"0"`
	Bluetooth string   `help:"Bluetooth adapter, such as hci0; none for a gateway without." default:"hci0"`
	Radio     string   `help:"Unix socket where gatehouse radio is kept running by somebody else." placeholder:"SOCKET" type:"path"`
	TPM       string   `name:"tpm" help:"Where the TPM is that has the gateway's keys, if they are in one: a device or a unix socket; auto is /dev/tpmrm0." default:"auto" env:"GATEHOUSE_TPM"`
	front     `embed:""`
	LogLevel  string `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error"`
}

// shutdownLimit is how long requests in progress may take to end.
const shutdownLimit = 5 * time.Second

func (c *serveCmd) Run(ctx context.Context, g *globals) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	gateway, err := openGateway(g.State, c.TPM, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateway.ledger.Close()) }()

	link, err := udp.Listen(udp.Config{Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), c.Port)})
	if err != nil {
		return fmt.Errorf("listen for Matter: %w", err)
	}
	manager, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: log})
	if err != nil {
		return err
	}
	defer manager.Close()
	discovery, err := dnssd.Open(dnssd.Config{Interfaces: c.Interface, Now: time.Now, Rand: rand.Reader, Log: log})
	if err != nil {
		return fmt.Errorf("listen for multicast DNS: %w", err)
	}
	defer discovery.Close()
	p := &portal.Portal{Log: log}
	var air commissioner.Bluetooth
	if c.Bluetooth != noBluetooth {
		b, err := openBluetooth(c.Bluetooth, c.Radio, log)
		if err != nil {
			return err
		}
		defer b.Close()
		air, p.Radio = b, b.status
	}
	mode, release, err := c.front.open(button.GPIO{})
	if err != nil {
		return err
	}
	defer release()
	engine := interaction.New(manager)
	com := commissioner.New(commissioner.Config{Ledger: gateway.ledger, Discovery: discovery, Bluetooth: air, Mode: mode,
		Authority: &commissioner.Signer{Ledger: gateway.ledger, Vault: gateway.vault, Random: rand.Reader}, Identity: gateway.identity,
		Manager: manager, Engine: engine, Link: link, Addresses: commissioner.OpenAddressBook(filepath.Join(g.State, "addresses.json"), log),
		Now: time.Now, Random: rand.Reader, Log: log})
	responder := &securechannel.Responder{Manager: manager, Log: log, Resumptions: com.Resumptions(),
		Identities: func() []*securechannel.Identity { return []*securechannel.Identity{gateway.identity} }}
	responder.Register()
	manager.Serve(link)
	// Devices find their administrator by this.
	self := dnssd.OperationalService(radio.Advertisement{CompressedFabric: com.CompressedFabric(), Node: uint64(gateway.identity.Node)}, link.LocalAddr().Port())
	if _, err := discovery.Advertise(ctx, self); err != nil {
		return fmt.Errorf("advertise the gateway: %w", err)
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { com.Settle(ctx) })
	wg.Go(func() { com.SendAway(ctx) })
	p.C, p.K = com, keeper.New(com)
	return serveAPI(ctx, g, p, log)
}

// serveAPI serves the API on the unix socket until ctx ends.
func serveAPI(ctx context.Context, g *globals, p *portal.Portal, log *slog.Logger) error {
	listener, err := listen(g.socket())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: p.Handler(), BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	log.Info("ready", "socket", g.socket(), "gateway", p.C.Identity.Node)
	daemon.SdNotify(false, daemon.SdNotifyReady)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	limit, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	return server.Shutdown(limit)
}

// listen makes a socket for its owner alone. One that is there already is a
// leftover of a process that died: a gateway holds its state's lock by now.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	defer syscall.Umask(syscall.Umask(0o177))
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}
