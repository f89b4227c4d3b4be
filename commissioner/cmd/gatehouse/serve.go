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
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"gatehouse/commissioner"
	"gatehouse/commissioner/enroll"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/app"
	"gatehouse/commissioner/portal/hooks"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/commissioner/webrtc"
	"gatehouse/firmware/library"
	"gatehouse/radio/button"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/thread/otbr"
	"gatehouse/radio/udp"
)

type serveCmd struct {
	Interface    []string       `help:"Network interface to find devices on; all if none is named. lo serves devices simulated on this host." placeholder:"NAME"`
	Port         uint16         `help:"UDP port for Matter; 0 takes any." default:"0"`
	Bluetooth    string         `help:"Bluetooth adapter, such as hci0; none for a gateway without." default:"hci0"`
	Radio        string         `help:"Unix socket where gatehouse radio is kept running by somebody else." placeholder:"SOCKET" type:"path"`
	Name         string         `help:"Host name, below .local, that the home is found under on the network, whichever gateway leads; none for none." default:"gatehouse"`
	BorderRouter []borderRouter `help:"Thread border router that is asked what the nodes of its network say, such as http://127.0.0.1:8081; several may be named, none is asked otherwise." placeholder:"URL"`
	TPM          string         `name:"tpm" help:"Where the TPM is that has the gateway's keys, if they are in one: a device or a unix socket; auto is /dev/tpmrm0." default:"auto" env:"GATEHOUSE_TPM"`
	front        `embed:""`
	webFlags     `embed:""`
	LogLevel     string `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error"`
}

// borderRouter is one that is asked, by its address.
type borderRouter struct{ *otbr.Client }

func (r *borderRouter) UnmarshalText(b []byte) (err error) {
	r.Client, err = otbr.NewClient(string(b))
	return err
}

// shutdownLimit is how long requests in progress may take to end.
const shutdownLimit = 5 * time.Second

// What the gateway's node says that it runs. Nobody decides by it.
const (
	softwareVersion = 1
	softwareText    = "1"
)

// libraryTimeout bounds one answer of the ledger, and the beginning of one of a
// source.
const libraryTimeout = 10 * time.Minute

// picturesAtOnce bounds those that codes are looked for in.
const picturesAtOnce = 2

// nodesFile is where it is kept what devices said.
func nodesFile(g *globals) string { return filepath.Join(g.State, "nodes.cbor") }

// listenTries is how often a pair of ports is drawn.
const listenTries = 10

func (c *serveCmd) Run(ctx context.Context, g *globals) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	link, listener, err := c.listen()
	if err != nil {
		return err
	}
	discovery, err := dnssd.Open(dnssd.Config{Interfaces: c.Interface, Now: clock, Rand: rand.Reader, Log: log})
	if err != nil {
		return errors.Join(fmt.Errorf("listen for multicast DNS: %w", err), listener.Close())
	}
	defer discovery.Close()
	gateway, err := openGateway(g.State, c.TPM, listener, discovery, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateway.Close()) }()

	web, err := c.webFlags.listen(c.Name, log)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	front := new(api)
	wg.Go(func() { stop(front.serve(ctx, g.socket(), log)) })
	if err := c.run(ctx, g, gateway, front, web, link, discovery, log, &wg); err != nil {
		return err
	}
	log.Info("stopping")
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	stop(nil)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listen opens a UDP and a TCP port of the same number: who knows where a
// gateway's Matter node is, knows where the others' own protocol is.
func (c *serveCmd) listen() (*udp.Link, net.Listener, error) {
	for try := 1; ; try++ {
		link, err := udp.Listen(udp.Config{Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), c.Port)})
		if err != nil {
			return nil, nil, fmt.Errorf("listen for Matter: %w", err)
		}
		listener, err := net.Listen("tcp", link.LocalAddr().String())
		if err == nil {
			return link, listener, nil
		}
		link.Close()
		if c.Port != 0 || try == listenTries {
			return nil, nil, fmt.Errorf("listen for other gateways: %w", err)
		}
	}
}

// run is the gateway at work, until ctx ends or the gateway is evicted.
func (c *serveCmd) run(ctx context.Context, g *globals, gateway *gateway, front *api, web *web, link *udp.Link, discovery *dnssd.Conn, log *slog.Logger, wg *sync.WaitGroup) error {
	if err := gateway.announce(ctx, discovery, link.LocalAddr().Port()); err != nil {
		return err
	}
	if err := gateway.identify(ctx, front.waits); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	manager, err := exchange.New(exchange.Config{Now: clock, Random: rand.Reader, Log: log})
	if err != nil {
		return err
	}
	defer manager.Close()
	air, err := openRadios(c.Bluetooth, c.Radio, log)
	if err != nil {
		return err
	}
	defer air.Close()
	p := &portal.Portal{Log: log, Codes: qr.NewReader(picturesAtOnce), Sender: hooks.New(nil, log), Proxies: air.proxies}
	defer p.Sender.Close()
	if air.own != nil {
		p.Radio = air.own.status
	}
	mode, release, err := c.front.open(button.GPIO{})
	if err != nil {
		return err
	}
	defer release()
	known, err := library.Open(library.Config{Dir: filepath.Join(g.State, "firmware"), HTTP: &http.Client{Timeout: libraryTimeout}, Now: clock, Others: p.Others})
	if err != nil {
		return err
	}
	known.Follow(gateway.State().Firmware)
	com := commissioner.New(commissioner.Config{Firmware: known, Ledger: gateway, Discovery: discovery, Bluetooth: air, Mode: mode,
		Authority: gateway.Authority, Identity: gateway.identity.Load, Former: gateway.former.Load,
		Manager: manager, Engine: interaction.New(manager), Link: link, Addresses: commissioner.OpenAddressBook(filepath.Join(g.State, "addresses.json"), log),
		Now: clock, Random: rand.Reader, Log: log})
	responder := &securechannel.Responder{Manager: manager, Log: log, Resumptions: com.Resumptions(),
		Identities: gateway.identities}
	responder.Register()
	p.C, p.K, p.M, p.L = com, keeper.New(com), gateway.Member, known
	gateway.handOver(p.K)
	p.U = p.K.Update(known)
	provider := &ota.Provider{Updates: p.U, Now: clock, Log: log}
	p.Cameras = &webrtc.Requestor{Belongs: com.Belongs, Now: clock, Log: log}
	node, err := provider.Node(softwareVersion, softwareText, rand.Reader, p.Cameras.Part())
	if err != nil {
		return err
	}
	com.Engine.Serve(node)
	manager.Handle(message.BDX, provider.Transfer)
	manager.Serve(link)
	wg.Go(func() { float(ctx, gateway.Member, discovery, c.Name, log) })
	wg.Go(func() { keepLibrary(ctx, p, gateway, log) })
	wg.Go(func() { com.Settle(ctx) })
	wg.Go(func() { com.SendAway(ctx) })
	p.E = &enroll.Member{Steward: gateway.Steward, Discovery: discovery, Root: func() []byte { return gateway.State().Home.Root }, Manager: manager, Engine: com.Engine, Link: link,
		Now: clock, Random: rand.Reader, Log: log}
	wg.Go(func() { p.K.Own(ctx, gateway.InTouch) })
	p.D = newDoor(gateway, web, c.Name, log)
	if err := p.K.Nodes.Load(nodesFile(g)); err != nil {
		log.Warn("devices are not known by what they said before", "err", err)
	}
	wg.Go(func() { p.KeepNodes(ctx, nodesFile(g)) })
	wg.Go(func() { p.Alert(ctx) })
	if len(c.BorderRouter) > 0 {
		var routers []portal.Collector
		for _, r := range c.BorderRouter {
			routers = append(routers, r)
		}
		p.Mesh = portal.NewMesh(ctx, clock, log, routers...)
		wg.Go(func() {
			<-ctx.Done()
			p.Mesh.Close()
		})
	}
	handler := p.Handler()
	gateway.Handle("/api/v1/", portal.ForGateways(handler))
	front.ready(portal.ForLocal(handler))
	if web != nil {
		web.gateway, web.door, p.Web = gateway, p.D, web
		assistant, api := p.HomeAssistant(softwareText, rand.Reader)
		defer func() {
			limit, cancel := context.WithTimeout(context.Background(), shutdownLimit)
			defer cancel()
			assistant.Close(limit)
		}()
		wg.Go(func() {
			pages := app.New(app.Config{API: handler, Authority: web.authority.Load, Log: log})
			if err := web.serve(ctx, handler, api, pages); err != nil && ctx.Err() == nil {
				log.Error("the web page is no longer served", "err", err)
			}
		})
	}
	log.Info("ready", "socket", g.socket(), "gateway", gateway.Node)
	daemon.SdNotify(false, daemon.SdNotifyReady)
	select {
	case <-gateway.evicted:
		return errEvicted
	case <-ctx.Done():
		return nil
	}
}
