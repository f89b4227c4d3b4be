package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/radio"
	"gatehouse/radio/ble"
)

// A radio that listens serves the gateway that comes, which here is told that
// there is no Bluetooth, and ends.
func TestRadioListens(t *testing.T) {
	if fd, err := unix.Socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, unix.BTPROTO_HCI); err == nil {
		unix.Close(fd)
		t.Skip("this machine has Bluetooth, which is not the test's to take")
	}
	dir, err := os.MkdirTemp("", "gh") // a unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "radio")
	ended := make(chan error, 1)
	go func() { ended <- (&radioCmd{HCI: "hci0", Listen: socket}).Run(context.Background()) }()

	r, err := ble.New(ble.Config{Socket: socket, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Scan(ctx, func(radio.Advertisement) {}); !errors.Is(err, ble.ErrNoAdapter) {
		t.Errorf("Scan: %v, want %v", err, ble.ErrNoAdapter)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the radio does not say why it ends")
		}
	case <-ctx.Done():
		t.Error("the radio goes on")
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestRadioUsage(t *testing.T) {
	if err := (&radioCmd{HCI: "wlan0"}).Run(context.Background()); err == nil {
		t.Error("wlan0 is taken for a Bluetooth adapter")
	}
}
