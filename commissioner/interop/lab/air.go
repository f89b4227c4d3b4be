package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Air is emulated Bluetooth that hosts share.
type Air struct {
	bin    string // of gatehouse-air
	socket string
	orders string
}

// Air starts an air.
func (n *Net) Air(ctx context.Context, bin string) (*Air, error) {
	h, err := n.Host("air")
	if err != nil {
		return nil, err
	}
	a := &Air{bin, filepath.Join(h.Dir, "air"), filepath.Join(h.Dir, "orders")}
	p, err := h.Start(nil, bin, "serve", "--to", "unix:"+a.socket, "--control", "unix:"+a.orders)
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

// StartOn runs a command on the host, with an adapter hci0 on the air.
func (h *Host) StartOn(a *Air, env []string, name string, args ...string) (*Proc, error) {
	env = append(env, "HCI_CHANNEL_USER=1") // for matter.js
	return h.Start(env, a.bin, append([]string{"exec", "--hci", "0=unix:" + a.socket, "--", name}, args...)...)
}

// Order tells the air what to do: see gatehouse-air.
func (a *Air) Order(order map[string]any) error {
	c, err := net.Dial("unix", a.orders)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(order); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return err
	}
	var reply struct{ Error string }
	if err := json.Unmarshal(line, &reply); err != nil {
		return err
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	return nil
}

// The made-up network that a Bluetooth light lets itself be put on.
const (
	SSID     = "hall"
	Password = "correcthorse"
)

// BluetoothLight starts a matter.js light on a new host that is cut off from
// the link until the light has joined its network: Wi-Fi or, given a dataset
// in hex, Thread.
func (n *Net) BluetoothLight(ctx context.Context, a *Air, name string, discriminator int, dataset string) (*Light, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "ble", "node_modules", "@matter", "nodejs-ble")); err != nil {
		return nil, fmt.Errorf("matter.js's Bluetooth is not installed: run npm ci in %s, or make interop", filepath.Join(dir, "ble"))
	}
	h, err := n.Host(name)
	if err != nil {
		return nil, err
	}
	if err := n.ip("-n", n.name, "link set", h.port, "nomaster"); err != nil {
		return nil, err
	}
	args := []string{filepath.Join(dir, "ble", "light.mjs"), "--join", fmt.Sprintf("ip -n %s link set %s master br0", n.name, h.port),
		"--name", name, "--discriminator", strconv.Itoa(discriminator), "--ssid", SSID, "--password", Password}
	if dataset != "" {
		args = append(args, "--thread", dataset)
	}
	env := []string{"MATTER_STORAGE_PATH=" + filepath.Join(h.Dir, "storage"), "MATTER_LOG_LEVEL=error"}
	p, err := h.StartOn(a, env, "node", args...)
	if err != nil {
		return nil, err
	}
	lights, err := p.lights(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	return lights[0], nil
}
