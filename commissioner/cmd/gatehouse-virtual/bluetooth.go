package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/virtual"
	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest/peripheral"
)

// station is the radio side of a device that is put on its network over
// Bluetooth. A nil one is that of a device on Ethernet.
type station struct {
	hci     int
	network virtual.Network
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc

	mu     sync.Mutex
	air    *peripheral.Peripheral
	silent bool // no window is open
}

const joinDelay = 200 * time.Millisecond

func (c *cli) station(log *slog.Logger) (*station, error) {
	if c.Bluetooth == "" {
		return nil, nil
	}
	n, err := ble.ParseAdapter(c.Bluetooth)
	if err != nil {
		return nil, err
	}
	s := &station{hci: n, log: log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.network = virtual.Network{ConnectTime: 20, Delay: joinDelay, Leaves: c.Leaves, Beacon: s.beacon}
	switch {
	case c.WiFi != "":
		password := ""
		if c.Password != "" {
			if password, err = firstLine(c.Password); err != nil {
				return nil, err
			}
		}
		s.network.Feature = datamodel.FeatureWiFi
		s.network.WiFi = []datamodel.WiFiScanned{{Security: 1 << 3, SSID: []byte(c.WiFi), Channel: 6, RSSI: -50}}
		s.network.Join = c.join([]byte(c.WiFi), []byte(password))
	case c.Thread != "":
		text, err := firstLine(c.Thread)
		if err != nil {
			return nil, err
		}
		dataset, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Thread, err)
		}
		s.network.Feature = datamodel.FeatureThread
		s.network.Join = c.join(nil, dataset)
	default:
		return nil, errors.New("a device on Bluetooth needs a network to be put on: --wifi or --thread")
	}
	return s, nil
}

// join lets the device into the one network, or fails as it was told to.
func (c *cli) join(wantID, want []byte) func(id, credentials []byte) datamodel.NetworkingStatus {
	return func(id, credentials []byte) datamodel.NetworkingStatus {
		switch {
		case c.Join != 0:
			return datamodel.NetworkingStatus(c.Join)
		case wantID != nil && string(id) != string(wantID):
			return datamodel.NetworkingNotFound
		case string(credentials) != string(want):
			return datamodel.NetworkingAuthFailure
		}
		return datamodel.NetworkingOK
	}
}

func (s *station) config() *virtual.Network {
	if s == nil {
		return nil
	}
	return &s.network
}

// start begins to advertise the device and serves those who connect.
func (s *station) start(ready *readyLine, code setup.Payload, d *virtual.Device) error {
	if s == nil {
		return nil
	}
	air, err := peripheral.Open(peripheral.Config{HCI: s.hci, Advertise: radio.Advertisement{Kind: radio.Commissionable,
		HasDiscriminator: true, Discriminator: ready.Discriminator, Vendor: code.VendorID, Product: code.ProductID}})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.air = air
	silent := s.silent
	s.mu.Unlock()
	if silent {
		air.Advertise(false)
	}
	go s.serve(air, d)
	return nil
}

func (s *station) serve(air *peripheral.Peripheral, d *virtual.Device) {
	for n := 1; ; n++ {
		conn, err := air.Accept(s.ctx)
		if err != nil {
			return
		}
		link, err := btp.Accept(s.ctx, conn, btp.Config{Peer: radio.Addr{Transport: radio.BLE, Peer: fmt.Sprintf("commissioner %d", n)}, Now: time.Now})
		if err != nil {
			s.log.Info("a connection came to nothing", "err", err)
			continue
		}
		d.Serve(link)
	}
}

// beacon advertises while the window is open. The adapter is told by another
// goroutine: it may take its time.
func (s *station) beacon(ad *radio.Advertisement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = ad == nil
	if air := s.air; air != nil {
		go air.Advertise(ad != nil)
	}
}

// Close lets the adapter go.
func (s *station) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.air == nil {
		return nil
	}
	return s.air.Close()
}
