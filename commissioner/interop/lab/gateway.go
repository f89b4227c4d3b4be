package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readyLimit is how long a gateway may take to be ready.
const readyLimit = 30 * time.Second

// Gateway is a gateway: the real binary, with a state directory of its own.
type Gateway struct {
	host  *Host
	bin   string
	air   *Air // nil: it has no Bluetooth
	State string
	Proc  *Proc // its daemon, nil: not running
}

// ServeWith has the host's gateway started with more flags.
func (h *Host) ServeWith(flags ...string) *Host {
	h.serve = flags
	return h
}

// Gateway founds a home on the host that trusts matter.js's and our own
// virtual test devices, and starts its daemon.
func (h *Host) Gateway(ctx context.Context, bin string) (*Gateway, error) {
	return h.GatewayOn(ctx, nil, bin)
}

// GatewayOn is Gateway with Bluetooth.
func (h *Host) GatewayOn(ctx context.Context, a *Air, bin string) (*Gateway, error) {
	return h.found(ctx, a, bin, "setup")
}

// Inherit is Gateway, on the fabric of a controller whose storage is in a
// folder.
func (h *Host) Inherit(ctx context.Context, bin, storage string) (*Gateway, error) {
	return h.found(ctx, nil, bin, "import", storage)
}

// found runs a command that founds a home.
func (h *Host) found(ctx context.Context, a *Air, bin string, command ...string) (*Gateway, error) {
	g := &Gateway{host: h, bin: bin, air: a, State: filepath.Join(h.Dir, "state")}
	passphrase := filepath.Join(h.Dir, "passphrase")
	if err := os.WriteFile(passphrase, []byte("four words nobody would guess\n"), 0o600); err != nil {
		return nil, err
	}
	if _, err := g.Run(ctx, append(command, "--kit", filepath.Join(h.Dir, "kit"), "--passphrase-file", passphrase)...); err != nil {
		return nil, err
	}
	if err := g.Serve(ctx); err != nil {
		return nil, err
	}
	trust := filepath.Join(h.Dir, "trust")
	if err := MatterjsTrust(trust); err != nil {
		return nil, err
	}
	if _, err := g.Run(ctx, "trust", "import", "--test", trust); err != nil {
		return nil, err
	}
	_, err := g.Run(ctx, "trust", "except", "interoperability tests", "--for", "24h")
	return g, err
}

// Join lets a fresh gateway on the host into the home of another, and starts
// its daemon.
func (h *Host) Join(ctx context.Context, member *Gateway) (*Gateway, error) {
	g := &Gateway{host: h, bin: member.bin, State: filepath.Join(h.Dir, "state")}
	p, err := g.Stream("join")
	if err != nil {
		return nil, err
	}
	var code struct{ QR string }
	err = p.Event(ctx, func(line json.RawMessage) bool { return json.Unmarshal(line, &code) == nil && code.QR != "" })
	if err != nil {
		return nil, err
	}
	if _, err := member.Run(ctx, "gateways", "add", code.QR); err != nil {
		return nil, err
	}
	joined := func(line json.RawMessage) bool {
		var e struct{ Joined string }
		return json.Unmarshal(line, &e) == nil && e.Joined != ""
	}
	if err := p.Event(ctx, joined); err != nil {
		return nil, err
	}
	<-p.done
	return g, g.Serve(ctx)
}

// Serve starts the daemon and waits until it answers.
func (g *Gateway) Serve(ctx context.Context) (err error) {
	start := func(args ...string) (*Proc, error) {
		return g.host.Start(nil, g.bin, append(args, "--bluetooth", "none")...)
	}
	if g.air != nil {
		start = func(args ...string) (*Proc, error) { return g.host.StartOn(g.air, nil, g.bin, args...) }
	}
	if g.Proc, err = start(append([]string{"--state", g.State, "serve"}, g.host.serve...)...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		c, err := net.Dial("unix", g.Socket())
		if err == nil {
			return c.Close()
		}
		select {
		case <-g.Proc.done:
			return fmt.Errorf("the gateway ended%s", g.Proc.tail())
		case <-ctx.Done():
			return fmt.Errorf("the gateway is not ready: %w%s", err, g.Proc.tail())
		case <-time.After(time.Millisecond):
		}
	}
}

// Socket is where the daemon's API is.
func (g *Gateway) Socket() string { return filepath.Join(g.State, "gatehouse.sock") }

// PID is the daemon's process id, as the kernel has it from whoever listens on
// the socket.
func (g *Gateway) PID() (int, error) {
	c, err := net.Dial("unix", g.Socket())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	if failed := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}

// RadioStatus is how the gateway's Bluetooth fares, as it shows it.
type RadioStatus struct {
	Up       bool
	Restarts int
	Reason   string
}

// Radio asks how the gateway's Bluetooth fares.
func (g *Gateway) Radio(ctx context.Context) (RadioStatus, error) {
	var v struct{ Bluetooth RadioStatus }
	line, err := g.Run(ctx, "status")
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	return v.Bluetooth, err
}

// Failure is how a command of the gateway failed.
type Failure struct {
	Code, Step, Message, Remedy string
	Reasons                     []struct{ Code, Message string }
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s: %s [%s] %v", f.Step, f.Message, f.Code, f.Reasons)
}

// Run runs a command of the gateway with --json and returns the last line. A
// failure is a *Failure.
func (g *Gateway) Run(ctx context.Context, args ...string) (json.RawMessage, error) {
	cmd := exec.CommandContext(ctx, g.bin, append([]string{"--state", g.State, "--json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	last := lines[len(lines)-1]
	var failed struct{ Error *Failure }
	if json.Unmarshal(last, &failed) == nil && failed.Error != nil {
		return nil, failed.Error
	}
	if err != nil {
		return nil, fmt.Errorf("gatehouse %v: %w: %s", args, err, stderr.Bytes())
	}
	return last, nil
}

// AddNetwork tells the gateway a network for devices: of kind wifi with its
// password, or of kind thread with its dataset in hex.
func (g *Gateway) AddNetwork(ctx context.Context, kind, name, secret string) error {
	cmd := exec.CommandContext(ctx, g.bin, "--state", g.State, "network", kind, name)
	cmd.Stdin = strings.NewReader(secret + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("network %s: %w: %s", kind, err, out)
	}
	return nil
}

// Stream starts a command of the gateway that goes on, with --json.
func (g *Gateway) Stream(args ...string) (*Proc, error) {
	return g.host.Start(nil, g.bin, append([]string{"--state", g.State, "--json"}, args...)...)
}

// Device is a device as the gateway shows it.
type Device struct {
	Node  string `json:"node_id"`
	Name  string
	Phase string
}

// Admitted is the phase of a device that belongs.
const Admitted = "admitted"

// Pair pairs a device. There is nobody to be asked.
func (g *Gateway) Pair(ctx context.Context, code, name string) (Device, error) {
	var v struct{ Admitted Device }
	line, err := g.Run(ctx, "pair", "--no-ask", "--name", name, code)
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	if err == nil && v.Admitted.Phase != Admitted {
		err = fmt.Errorf("the pairing ended with %s", line)
	}
	return v.Admitted, err
}

// Devices are the devices the gateway knows, in whatever phase.
func (g *Gateway) Devices(ctx context.Context) ([]Device, error) {
	var v struct{ Devices []Device }
	line, err := g.Run(ctx, "devices")
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	return v.Devices, err
}

// Value is an attribute as the gateway shows it.
type Value struct {
	Path  string
	Value json.RawMessage
	Error string
}

// Read reads attributes.
func (g *Gateway) Read(ctx context.Context, device string, paths ...string) ([]Value, error) {
	var v struct{ Attributes []Value }
	line, err := g.Run(ctx, append([]string{"device", "read", device}, paths...)...)
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	return v.Attributes, err
}

// CodeOf is the code of a Failure, if err is one.
func CodeOf(err error) string {
	var f *Failure
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}
