package main

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/udp"
)

// maxDevices is how many devices one process runs at the most: as many as
// there are discriminators.
const maxDevices = 1 << 12

// house is the devices of this process, which share one responder.
type house struct {
	discovery *dnssd.Conn
	devices   []*virtual.Device
	names     []string
	closers   []io.Closer
	out       *lines
}

// readyLine tells that a device can be paired, and how.
type readyLine struct {
	Ready         string `json:"ready"` // name
	Number        int    `json:"number"`
	QR            string `json:"qr"`
	Manual        string `json:"manual"`
	Discriminator uint16 `json:"discriminator"`
	Serial        string `json:"serial"`
	Port          uint16 `json:"port"`
}

// switchLine tells that a light was switched.
type switchLine struct {
	Switched string `json:"switched"` // name
	Number   int    `json:"number"`
	On       bool   `json:"on"`
}

// updateLine tells that a light runs other software.
type updateLine struct {
	Updated string `json:"updated"` // name
	Number  int    `json:"number"`
	Version uint32 `json:"version"`
	Text    string `json:"text"`
}

// certificatesLine tells which NOCs, in TLV, a light ever received, and which it
// keeps.
type certificatesLine struct {
	Certificates string   `json:"certificates"` // name
	Number       int      `json:"number"`
	Received     [][]byte `json:"received"`
	Kept         [][]byte `json:"kept"`
}

func (c *cli) start(maker *attesttest.Maker, out *lines, log *slog.Logger) (*house, error) {
	if c.Bluetooth != "" && c.Count > 1 {
		return nil, errors.New("a Bluetooth adapter is for one device")
	}
	if c.Count < 1 || c.Count > maxDevices {
		return nil, fmt.Errorf("%d devices are not 1 to %d", c.Count, maxDevices)
	}
	discovery, err := dnssd.Open(dnssd.Config{Interfaces: c.Interface, Now: time.Now, Rand: rand.Reader, Log: log})
	if err != nil {
		return nil, err
	}
	h := &house{discovery: discovery, out: out}
	if err := c.fill(h, maker, out, log); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// fill starts the devices one by one.
func (c *cli) fill(h *house, maker *attesttest.Maker, out *lines, log *slog.Logger) error {
	first, err := c.firstPayload()
	if err != nil {
		return err
	}
	serial := c.Serial
	if serial == "" {
		serial = "V" + strings.ToUpper(rand.Text()[:8])
	}
	for i := range c.Count {
		payload, ready := first, readyLine{Ready: c.Name, Number: i + 1, Serial: serial}
		if c.Count > 1 {
			ready.Ready, ready.Serial = fmt.Sprintf("%s %d", c.Name, i+1), fmt.Sprintf("%s-%d", serial, i+1)
		}
		discriminator, _ := first.Discriminator.Full()
		payload.Discriminator = setup.Long(discriminator + uint16(i))
		ready.Discriminator, _ = payload.Discriminator.Full()
		if !payload.Passcode.Valid() {
			if payload.Passcode, err = setup.RandomPasscode(rand.Reader); err != nil {
				return err
			}
		}
		if err := c.one(h, &ready, payload, maker, out, log); err != nil {
			return fmt.Errorf("device %d: %w", i+1, err)
		}
		out.write(ready)
	}
	return nil
}

// firstPayload is the first device's setup code; its passcode is none where it
// is to be drawn.
func (c *cli) firstPayload() (p setup.Payload, err error) {
	p = setup.Payload{VendorID: c.Vendor, ProductID: c.Product, Discovery: setup.DiscoverOnNetwork}
	if c.Bluetooth != "" {
		p.Discovery = setup.DiscoverBLE
	}
	passcode := c.Passcode
	if c.PasscodeFile != "" {
		line, err := firstLine(c.PasscodeFile)
		if err != nil {
			return p, err
		}
		n, err := strconv.ParseUint(line, 10, 32)
		if err != nil {
			return p, fmt.Errorf("%s: its first line is no passcode", c.PasscodeFile)
		}
		passcode = uint32(n)
	}
	if p.Passcode = setup.NewPasscode(passcode); passcode != 0 && !p.Passcode.Valid() {
		return p, errors.New("a device may not have this passcode")
	}
	if c.Discriminator != nil {
		if *c.Discriminator >= maxDevices {
			return p, fmt.Errorf("discriminator %d is not below %d", *c.Discriminator, maxDevices)
		}
		p.Discriminator = setup.Long(*c.Discriminator)
		return p, nil
	}
	var b [2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return p, err
	}
	p.Discriminator = setup.Long(binary.LittleEndian.Uint16(b[:]))
	return p, nil
}

// one starts one device and completes what is told of it.
func (c *cli) one(h *house, ready *readyLine, payload setup.Payload, maker *attesttest.Maker, out *lines, log *slog.Logger) (err error) {
	if ready.QR, err = payload.QR(); err != nil {
		return err
	}
	short := payload
	short.VendorID, short.ProductID = 0, 0 // 11 digits are enough to type
	if ready.Manual, err = short.Manual(); err != nil {
		return err
	}
	port := c.Port
	if port != 0 {
		port += uint16(ready.Number - 1)
	}
	link, err := udp.Listen(udp.Config{Addr: netip.AddrPortFrom(netip.Addr{}, port)})
	if err != nil {
		return err
	}
	ready.Port = link.LocalAddr().Port()
	name, number := ready.Ready, ready.Number
	station, err := c.station(log)
	if err != nil {
		link.Close()
		return err
	}
	if station != nil {
		h.closers = append(h.closers, station)
	}
	d, err := virtual.New(virtual.Config{Network: station.config(),
		Name: name, Code: payload, SerialNumber: ready.Serial, Software: c.Software, SoftwareText: c.SoftwareText,
		MaxFabrics: c.MaxFabrics, Maker: maker, Hostile: c.Mode, Link: link, Port: ready.Port, Discovery: h.discovery,
		Now: time.Now, Random: rand.Reader, Log: log.With("device", name),
		OnSwitch: func(on bool) { out.write(switchLine{name, number, on}) },
		OnUpdate: func(version uint32, text string) { out.write(updateLine{name, number, version, text}) }})
	if err != nil {
		link.Close()
		return err
	}
	h.devices, h.names = append(h.devices, d), append(h.names, name)
	if err := d.Start(); err != nil {
		return err
	}
	return station.start(ready, payload, d)
}

// commands obeys the lines of in until it ends.
func (h *house) commands(in io.Reader) {
	for s := bufio.NewScanner(in); s.Scan(); {
		words := strings.Fields(s.Text())
		number := 1
		var err error
		switch {
		case len(words) == 0:
			continue
		case len(words) > 1:
			number, err = strconv.Atoi(words[1])
		}
		if err != nil || len(words) > 2 || number < 1 || number > len(h.devices) || !h.obey(words[0], number) {
			fmt.Fprintf(os.Stderr, "gatehouse-virtual: not understood: %q\n", s.Text())
		}
	}
}

// obey reports whether there is such a command.
func (h *house) obey(command string, number int) bool {
	d := h.devices[number-1]
	switch command {
	case "press":
		d.Press()
	case "certificates":
		received, kept := d.Certificates()
		h.out.write(certificatesLine{h.names[number-1], number, received, kept})
	default:
		return false
	}
	return true
}

func (h *house) close() {
	for _, d := range h.devices {
		d.Close()
	}
	for _, c := range h.closers {
		c.Close()
	}
	h.discovery.Close()
}
