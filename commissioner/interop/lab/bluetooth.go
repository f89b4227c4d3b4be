package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The made-up network that a Bluetooth light lets itself be put on.
const (
	SSID     = "hall"
	Password = "correcthorse"
)

// BluetoothLight starts a matter.js light on a new host that is cut off from
// the link until the light has joined its network: Wi-Fi or, given a dataset
// in hex, Thread. Without an air it is on its network from the start.
func (n *Net) BluetoothLight(ctx context.Context, a *Air, name string, discriminator int, dataset string) (*Light, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	h, err := n.Host(name)
	if err != nil {
		return nil, err
	}
	args := []string{filepath.Join(dir, "ble", "light.mjs"), "--name", name, "--discriminator", strconv.Itoa(discriminator)}
	env := []string{"MATTER_STORAGE_PATH=" + filepath.Join(h.Dir, "storage"), "MATTER_LOG_LEVEL=error"}
	if dataset != "" {
		args = append(args, "--thread", dataset)
	}
	var p *Proc
	if a == nil {
		p, err = h.Start(env, "node", append(args, "--joined")...)
	} else if err = n.ip("-n", n.name, "link set", h.port, "nomaster"); err == nil {
		join := fmt.Sprintf("ip -n %s link set %s master br0", n.name, h.port)
		p, err = h.StartOn(a, env, "node", append(args, "--join", join, "--ssid", SSID, "--password", Password)...)
	}
	if err != nil {
		return nil, err
	}
	lights, err := p.lights(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	return lights[0], nil
}

// VirtualOn starts a virtual light of our own on the host that is found over
// Bluetooth, and lets itself be put on the same made-up network.
func (h *Host) VirtualOn(ctx context.Context, a *Air, bin string, discriminator int) (*Light, error) {
	password := filepath.Join(h.Dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o600); err != nil {
		return nil, err
	}
	p, err := h.StartOn(a, nil, bin, "--stdin", "--bluetooth", "hci0", "--wifi", SSID, "--password", password,
		"--discriminator", strconv.Itoa(discriminator), "--trust-out", filepath.Join(h.Dir, "trust"))
	if err != nil {
		return nil, err
	}
	lights, err := p.lights(ctx, 1, true)
	if err != nil {
		return nil, err
	}
	return lights[0], nil
}

// proxyPython is the Python that make interop installs matter-ble-proxy for.
const proxyPython = "bleproxy/venv/bin/python"

// CheckBLEProxy says why there is no matter-ble-proxy here.
func CheckBLEProxy() error { return checkPython(proxyPython, "matter_ble_proxy") }

// BLEProxy starts Open Home Foundation's Bluetooth proxy, with an adapter on
// the air, and lets it connect to the gateway.
func (n *Net) BLEProxy(ctx context.Context, a *Air, g *Gateway, name string) (*Proc, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	h, err := n.Host(name)
	if err != nil {
		return nil, err
	}
	p, err := h.Start(nil, filepath.Join(dir, proxyPython), filepath.Join(dir, "bleproxy", "proxy.py"), a.sockets[0], g.Socket())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return p, p.Event(ctx, func(json.RawMessage) bool { return true })
}

// TrustVirtual lets the gateway trust the virtual lights, of which one was
// started on the host.
func (g *Gateway) TrustVirtual(ctx context.Context, h *Host) error {
	_, err := g.Run(ctx, "trust", "import", "--test", filepath.Join(h.Dir, "trust"))
	return err
}
