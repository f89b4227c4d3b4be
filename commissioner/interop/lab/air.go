package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
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
