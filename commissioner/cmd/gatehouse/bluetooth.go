package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/ble/proxy"
	"gatehouse/radio/ble/several"
	"gatehouse/radio/btp"
)

// noBluetooth is the adapter of a gateway that is to have none.
const noBluetooth = "none"

// radios are what a gateway has of Bluetooth: its own adapter, if any, and
// other people's proxies.
type radios struct {
	*several.Several
	own     *bluetooth // nil: it has none
	proxies *proxy.Server
}

var _ commissioner.Bluetooth = (*radios)(nil)

func openRadios(hci, socket string, log *slog.Logger) (*radios, error) {
	r := &radios{Several: several.New(clock)}
	r.proxies = proxy.New(proxy.Config{Now: clock, Log: log, Joined: func(p *proxy.Radio) func() { return r.Add(p.Name(), p) }})
	if hci == noBluetooth {
		return r, nil
	}
	var err error
	if r.own, err = openBluetooth(hci, socket, log); err != nil {
		return nil, err
	}
	r.Add(hci, r.own)
	return r, nil
}

// Close ends everything under way.
func (r *radios) Close() {
	r.proxies.Close()
	if r.own != nil {
		r.own.Close()
	}
}

// bluetooth is the radio process as the commissioner sees it.
type bluetooth struct{ *ble.Radio }

// openBluetooth starts the radio process, or finds the one behind socket.
func openBluetooth(hci, socket string, log *slog.Logger) (*bluetooth, error) {
	cfg := ble.Config{Socket: socket, Now: clock, Log: log}
	if socket == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cfg.Command = func() (*exec.Cmd, error) { return exec.Command(self, "radio", "--hci", hci), nil }
	}
	r, err := ble.New(cfg)
	if err != nil {
		return nil, err
	}
	return &bluetooth{r}, nil
}

// Scan looks until ctx ends, which is no failure.
func (b *bluetooth) Scan(ctx context.Context, seen func(radio.Advertisement)) error {
	err := b.Radio.Scan(ctx, seen)
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// Connect connects to a device.
func (b *bluetooth) Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error) {
	c, err := b.Radio.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// status is how the radio process fares.
func (b *bluetooth) status() *portal.Radio {
	s := b.Stats()
	return &portal.Radio{Up: s.Up, Address: s.Own, Restarts: s.Restarts, Reason: s.Reason}
}
