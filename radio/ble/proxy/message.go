package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"gatehouse/radio"
	"gatehouse/radio/ble"
)

// Specification constants: binary messages, and the UUIDs that are short for
// others (Bluetooth Core, volume 3, part B, section 2.5.1).
const (
	opcodeNotification = 0x02
	binaryHeader       = 3 // opcode and connection handle

	baseUUID = "00001000800000805f9b34fb"
)

// command is what we send.
type command struct {
	ID      uint32 `json:"id"`
	Command string `json:"command"`
	Args    any    `json:"args"`
}

// reply is an answer to a command.
type reply struct {
	id     uint32
	result json.RawMessage
	err    error
}

// refusal is a command that failed, in the proxy's words.
type refusal struct{ code, text string }

func (r *refusal) Error() string {
	if r.text == "" {
		return "the Bluetooth proxy says " + r.code
	}
	return fmt.Sprintf("the Bluetooth proxy says %s: %s", r.code, r.text)
}

// refused reports whether a command failed with a code.
func refused(err error, code string) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == code
}

// The events that matter to us.
type (
	heard struct{ ad radio.Advertisement }

	notification struct {
		handle uint16
		value  []byte
	}
	disconnected struct{ handle uint16 }
	scanStopped  struct{ reason string }
)

var errMalformed = errors.New("a message is malformed")

// parse reads a text message: a reply or an event, or nil for one that does
// not matter to us. Beside what is no JSON at all, only messages fail that
// something waits for: what a proxy hears may be anything.
func parse(data []byte) (any, error) {
	var m struct {
		ID      *uint32
		Success bool
		Result  json.RawMessage
		Error   string
		Message string
		Event   string
		Data    json.RawMessage
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%w: %.*s", errMalformed, maxText, err)
	}
	switch {
	case m.Event != "":
		return event(m.Event, m.Data)
	case m.ID == nil:
		return nil, nil
	case m.Success:
		return reply{id: *m.ID, result: m.Result}, nil
	}
	return reply{id: *m.ID, err: &refusal{clean(m.Error), clean(m.Message)}}, nil
}

func event(name string, data json.RawMessage) (any, error) {
	var d struct {
		Handle *uint16 `json:"connection_handle"`
		Value  []byte
		Reason string
	}
	switch name {
	case "device_discovered":
		if ad, ok := discovered(data); ok {
			return heard{ad}, nil
		}
		return nil, nil
	case "disconnected", "characteristic_notification", "scan_stopped":
		if err := json.Unmarshal(data, &d); err != nil {
			return nil, fmt.Errorf("%w: event %s: %.*s", errMalformed, name, maxText, err)
		}
	default:
		return nil, nil
	}
	switch {
	case name == "scan_stopped":
		return scanStopped{clean(d.Reason)}, nil
	case d.Handle == nil:
		return nil, fmt.Errorf("%w: event %s without a connection", errMalformed, name)
	case name == "disconnected":
		return disconnected{*d.Handle}, nil
	}
	return notified(*d.Handle, d.Value)
}

// parseBinary reads a binary message, or nil for one that does not matter.
func parseBinary(data []byte) (any, error) {
	if len(data) < binaryHeader {
		return nil, fmt.Errorf("%w: %d bytes", errMalformed, len(data))
	}
	if data[0] != opcodeNotification {
		return nil, nil
	}
	return notified(binary.BigEndian.Uint16(data[1:]), data[binaryHeader:])
}

func notified(handle uint16, value []byte) (any, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("%w: an indication of %d bytes", errMalformed, len(value))
	}
	return notification{handle, value}, nil
}

// discovered reads what a proxy has heard, if it is of a device that can be
// commissioned and connected to.
func discovered(data json.RawMessage) (radio.Advertisement, bool) {
	var d struct {
		Address     string
		RSSI        *float64
		Connectable *bool
		ServiceData map[string]string `json:"service_data"`
	}
	if json.Unmarshal(data, &d) != nil || !plausible(d.Address) || d.Connectable != nil && !*d.Connectable {
		return radio.Advertisement{}, false
	}
	for uuid, value := range d.ServiceData {
		if !sameUUID(uuid, serviceUUID) {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			continue
		}
		if ad, ok := ble.ServiceData(b); ok {
			ad.Addrs = []radio.Addr{{Transport: radio.BLE, Peer: d.Address}}
			if d.RSSI != nil && *d.RSSI >= -128 && *d.RSSI <= 20 { // what HCI can say; 127 is nothing
				ad.RSSI = int8(*d.RSSI)
			}
			return ad, true
		}
	}
	return radio.Advertisement{}, false
}

// plausible reports whether s may be an address: we hand it back as it is.
func plausible(s string) bool {
	return s != "" && len(s) <= maxAddress && strings.Trim(s, "0123456789abcdefABCDEF:-") == ""
}

// serviceUUID is Matter's service, as scans are asked for it.
var serviceUUID = fmt.Sprintf("%04x", ble.ServiceUUID)

// sameUUID compares two UUIDs in whatever way they are written: of 16, 32 or
// 128 bits, with hyphens or without, in either case.
func sameUUID(a, b string) bool { return compact(a) == compact(b) }

func compact(uuid string) string {
	uuid = strings.ToLower(strings.ReplaceAll(uuid, "-", ""))
	if len(uuid) == 32 {
		uuid = strings.TrimSuffix(uuid, baseUUID)
	}
	if len(uuid) == 8 {
		uuid = strings.TrimPrefix(uuid, "0000")
	}
	return uuid
}

// clean is as much of a proxy's text as can be put into a log.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s[:min(len(s), maxText)])
	return strings.TrimSpace(s)
}

// allowance is how much may come: rate a second, and no more than that at once.
type allowance struct {
	rate float64
	left float64
	at   time.Time
}

func newAllowance(rate float64, now time.Time) *allowance { return &allowance{rate, rate, now} }

// take takes one, or says how long until there is one.
func (a *allowance) take(now time.Time) (wait time.Duration) {
	a.left = min(a.rate, a.left+a.rate*now.Sub(a.at).Seconds())
	a.at = now
	if a.left < 1 {
		return 1 + time.Duration((1-a.left)/a.rate*float64(time.Second))
	}
	a.left--
	return 0
}
