package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"time"
)

// Air is emulated Bluetooth that hosts share.
type Air struct {
	bin     string // of gatehouse-air
	orders  string
	sockets []string // of its controllers in turn; the last is for all who follow
}

// Air starts an air.
func (n *Net) Air(ctx context.Context, bin string) (*Air, error) {
	h, err := n.Host("air")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(h.Dir, "air")
	a := &Air{bin, filepath.Join(h.Dir, "orders"), []string{socket}}
	p, err := h.Start(nil, bin, "serve", "--to", "unix:"+socket, "--control", "unix:"+a.orders)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		c, err := net.Dial("unix", a.orders)
		if err == nil {
			return a, c.Close()
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("the air ended%s", p.tail())
		case <-ctx.Done():
			return nil, fmt.Errorf("the air is not ready: %w%s", err, p.tail())
		case <-time.After(time.Millisecond):
		}
	}
}

// Bumble starts an air whose two controllers are bumble's; it obeys no orders.
// The first process on it has the first controller for itself.
func (n *Net) Bumble(ctx context.Context, bin string) (*Air, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	h, err := n.Host("bumble")
	if err != nil {
		return nil, err
	}
	a := &Air{bin: bin, sockets: []string{filepath.Join(h.Dir, "0"), filepath.Join(h.Dir, "1")}}
	p, err := h.Start(nil, filepath.Join(dir, bumblePython), append([]string{filepath.Join(dir, "bumble", "air.py")}, a.sockets...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return a, p.Event(ctx, func(json.RawMessage) bool { return true })
}

// bumblePython is the Python that make interop installs bumble for.
const bumblePython = "bumble/venv/bin/python"

// CheckBumble says why there is no bumble here.
func CheckBumble() error { return checkPython(bumblePython, "bumble") }

// checkPython says why a Python has no such module.
func checkPython(python, module string) error {
	dir, err := Dir()
	if err != nil {
		return err
	}
	if out, err := exec.Command(filepath.Join(dir, python), "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('"+module+"') is None)").CombinedOutput(); err != nil {
		return fmt.Errorf("%s is not installed for Python: run make interop where there is python3 with venv: %w %s", module, err, bytes.TrimSpace(out))
	}
	return nil
}

// StartOn runs a command on the host, with an adapter hci0 on the air.
func (h *Host) StartOn(a *Air, env []string, name string, args ...string) (*Proc, error) {
	env = append(env, "HCI_CHANNEL_USER=1") // for matter.js
	socket := a.sockets[0]
	if len(a.sockets) > 1 {
		a.sockets = a.sockets[1:]
	}
	return h.Start(env, a.bin, append([]string{"exec", "--hci", "0=unix:" + socket, "--", name}, args...)...)
}

// AirLink is one side of a connection, as the air sees it.
type AirLink struct {
	Controller int
	Central    bool
	Peer       string
}

// Order tells the air what to do: see gatehouse-air. Asked for its links, it
// answers with these.
func (a *Air) Order(order map[string]any) ([]AirLink, error) {
	c, err := net.Dial("unix", a.orders)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(order); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var reply struct {
		Error string
		Links []AirLink
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return nil, err
	}
	if reply.Error != "" {
		return nil, errors.New(reply.Error)
	}
	return reply.Links, nil
}
