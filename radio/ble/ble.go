// Package ble finds Matter devices over Bluetooth Low Energy and connects to
// them (Matter Core, "Bluetooth Transport Protocol (BTP)", 4.19, and
// "Discovery over Bluetooth Low Energy").
//
// The Bluetooth library can be crashed and hung by any device nearby, so it
// runs in a process of its own (goble, behind wire), which a Radio starts,
// watches and starts again. The package promises that nothing in the air takes
// the daemon down: whatever was under way when the radio process ended fails
// with ErrRestarted, and the next attempt has a new one. It never imports
// the library, and nothing it yields is authenticated.
package ble

import (
	"errors"
	"log/slog"
	"os/exec"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble/wire"
)

// Specification constants: the GATT service of Matter.
const (
	ServiceUUID = 0xFFF6
	C1UUID      = "18ee2ef5-263d-4559-959f-4f9c429f9d11" // written by the commissioner
	C2UUID      = "18ee2ef5-263d-4559-959f-4f9c429f9d12" // indicated by the device
	C3UUID      = "64630238-8772-45f2-b87d-748a83218f04" // additional commissioning data
)

// MTU is the ATT MTU a connection asks for, in bytes: the longest segment of
// BTP, 244, and the header of a write.
const MTU = 247

// Limits of the radio process on what it does for the daemon.
const (
	DialLimit  = 15 * time.Second // until the device was heard and answered
	SetupLimit = 10 * time.Second // for MTU and discovery of the service
	WriteLimit = 20 * time.Second // until a write was confirmed
	CloseLimit = 3 * time.Second  // to end an operation that was called off
)

// Why the radio cannot be used. Each is kept up by a Radio that goes on trying.
var (
	ErrNoAdapter    = errors.New("there is no Bluetooth adapter")
	ErrNotPermitted = errors.New("the Bluetooth adapter may not be opened")
	ErrBusy         = errors.New("another program, such as bluetoothd, has the Bluetooth adapter")
)

// Why something failed that may work the next time.
var (
	ErrRestarted   = errors.New("the radio process was started anew")
	ErrUnreachable = errors.New("the device does not answer over Bluetooth")
)

// Config of a Radio. Exactly one of Command and Socket is set.
type Config struct {
	// Command makes the command of the radio process, which finds one end of
	// a socket as its standard input. Its output is the Radio's to set.
	Command func() (*exec.Cmd, error)
	// Socket is the path of a unix socket where somebody else, such as
	// systemd, starts a radio process for each connection.
	Socket string

	Now func() time.Time // required
	Log *slog.Logger     // required
}

// Addr is the radio.Addr of a device address.
func Addr(a wire.Address) radio.Addr { return radio.Addr{Transport: radio.BLE, Peer: a.String()} }

// Stats tell how the radio process fares.
type Stats struct {
	Up       bool
	Started  time.Time // of the process that is up
	Restarts int       // how often it ended by itself, or had to be ended
	Reason   string    // of the last end or failed start; empty when there was none
	Own      string    // the adapter's address, once known
}
