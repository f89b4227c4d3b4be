// Binary gatehouse-virtual runs virtual on/off lights that any Matter
// controller can find, pair and control over IP.
//
// It prints a line of JSON for each device that is ready, with its setup
// codes, and one for each time a light is switched or updated over the air. It
// ends on SIGTERM and SIGINT. Nothing is kept: after a restart it is another,
// new device.
//
//	gatehouse-virtual --interface lo --trust-out trust
//	gatehouse-virtual --count 10 --discriminator 100 --passcode-file -
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/alecthomas/kong"

	"gatehouse/commissioner/virtual"
	"gatehouse/fabric/attest/attesttest"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

type cli struct {
	Count         int          `help:"How many devices. Each has the discriminator, the port and the serial number after those of the one before." default:"1"`
	Name          string       `help:"Name of the product." default:"Virtual light"`
	Discriminator *uint16      `help:"0 to 4095. Drawn at random unless given."`
	Passcode      uint32       `help:"Setup passcode of each device. Drawn at random unless given. Other users of this machine can see it here."`
	PasscodeFile  string       `help:"File whose first line is the passcode; - is standard input." placeholder:"FILE"`
	Vendor        uint16       `help:"Vendor id." default:"65521"`
	Product       uint16       `help:"Product id." default:"32769"`
	Software      uint32       `help:"Software version." default:"1"`
	SoftwareText  string       `help:"Software version as people read it." default:"1.0"`
	Serial        string       `help:"Serial number. Drawn at random unless given."`
	Mode          virtual.Mode `help:"Misbehave: ${modes}." placeholder:"MODE"`
	Interface     []string     `help:"Interface to be found on by multicast DNS; lo for this machine alone. Every one unless given." placeholder:"NAME"`
	Port          uint16       `help:"UDP port. A free one unless given."`
	MaxFabrics    int          `help:"How many homes a device can be in." default:"5"`
	Seed          string       `help:"What the test attestation is made from: a gateway that trusts what --trust-out wrote trusts all devices of this seed." default:"gatehouse"`
	TrustOut      string       `help:"Directory to write the test attestation's root and declaration signer to, for gatehouse trust import DIR --test." placeholder:"DIR" type:"path"`
	Bluetooth     string       `help:"Be found over Bluetooth, with this adapter, and on no network until told of one: --wifi or --thread. For one device." placeholder:"hciN"`
	WiFi          string       `name:"wifi" help:"SSID of the Wi-Fi network that lets the device in." placeholder:"SSID"`
	Password      string       `help:"File whose first line is that network's password; an open one unless given." placeholder:"FILE" type:"existingfile"`
	Thread        string       `help:"File with the operational dataset, in hex, of the Thread network that lets the device in." placeholder:"FILE" type:"existingfile"`
	Join          uint8        `help:"Networking status with which joining fails, whatever it is told; 0: it need not."`
	Leaves        bool         `help:"Have one radio: leave Bluetooth to join the network."`
	Stdin         bool         `help:"Read commands, one a line: press [NUMBER] presses a light's own button, certificates [NUMBER] prints which certificates it ever received and which it keeps. End with the input."`
	Verbose       bool         `help:"Log what happens to standard error." short:"v"`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("gatehouse-virtual"), kong.Description("Virtual Matter lights, for demonstrations and tests."),
		kong.UsageOnError(), kong.Vars{"modes": fmt.Sprint(virtual.Modes)})
	if err == nil {
		_, err = parser.Parse(args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatehouse-virtual:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gatehouse-virtual:", err)
		return exitFailed
	}
	return 0
}

// serve runs the devices until ctx ends or, with --stdin, the input does.
func (c *cli) serve(ctx context.Context) error {
	if c.Stdin && c.PasscodeFile == "-" {
		return errors.New("standard input is for the passcode or for commands, not for both")
	}
	log := slog.New(slog.DiscardHandler)
	if c.Verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	maker := attesttest.New(c.Seed)
	if err := c.writeTrust(maker); err != nil {
		return err
	}
	out := &lines{enc: json.NewEncoder(os.Stdout)}
	h, err := c.start(maker, out, log)
	if err != nil {
		return err
	}
	defer h.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if c.Stdin {
		go func() {
			defer stop()
			h.commands(os.Stdin)
		}()
	}
	<-ctx.Done()
	return nil
}

// writeTrust writes what a gateway has to trust for these devices.
func (c *cli) writeTrust(maker *attesttest.Maker) error {
	if c.TrustOut == "" {
		return nil
	}
	if err := os.MkdirAll(c.TrustOut, 0o755); err != nil {
		return err
	}
	for name, der := range map[string][]byte{"test-paa.der": maker.PAA(), "test-cd-signer.der": maker.Signer()} {
		if err := os.WriteFile(filepath.Join(c.TrustOut, name), der, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// lines writes one JSON object a line, for several devices.
type lines struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (l *lines) write(v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enc.Encode(v)
}

// firstLine reads the passcode's line from a file, or from standard input.
func firstLine(name string) (string, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	var line string
	if _, err := fmt.Fscanln(in, &line); err != nil {
		return "", fmt.Errorf("%s: its first line is no passcode", name)
	}
	return line, nil
}
