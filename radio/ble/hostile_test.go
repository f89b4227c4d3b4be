package ble_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/radiotest/air"
)

// L2CAP channels.
const (
	attribute = 4
	signal    = 5
	security  = 6
)

// l2cap is a frame.
func l2cap(channel uint16, payload ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(payload)))
	return append(binary.LittleEndian.AppendUint16(b, channel), payload...)
}

// recover waits until the radio is up after a restart and pairs once more.
func (l *lab) again() {
	l.t.Helper()
	l.air.SetTap(nil)
	c := l.connect(l.find().Addrs[0])
	l.exchange(c, "and life goes on")
	c.Close()
}

// What a connected device can send at any time. go-ble panics on the first
// five and hangs on others: the radio process ends, and nothing else does.
func TestHostilePackets(t *testing.T) {
	tests := []struct {
		name   string
		frames [][]byte
		reason string // of the restart; empty for none
	}{
		{"shorter than an L2CAP header", [][]byte{{1}}, "panic"},
		{"a signal cut short", [][]byte{l2cap(signal, 0x12, 1)}, "panic"},
		{"a signal longer than its frame", [][]byte{l2cap(signal, 0x12, 1, 0xff, 0xff)}, "panic"},
		{"an empty attribute packet", [][]byte{l2cap(attribute)}, "panic"},
		{"an indication cut short", [][]byte{l2cap(attribute, 0x1d, 1)}, "panic"},
		{"a notification cut short", [][]byte{l2cap(attribute, 0x1b)}, "panic"},
		{"an indication of what was not subscribed to", [][]byte{l2cap(attribute, 0x1d, 0xff, 0xff, 1)}, ""},
		{"an unknown signal", [][]byte{l2cap(signal, 0x7f, 1, 0, 0)}, ""},
		{"a security request", [][]byte{l2cap(security, 0x0b, 0)}, ""},
		{"an unknown channel", [][]byte{l2cap(0x77, 1, 2, 3)}, ""},
		{"answers nobody asked for", repeat(100, l2cap(attribute, 0x13)), "hangs"},
		{"longer than was agreed on", repeat(100, l2cap(attribute, make([]byte, 248)...)), "hangs"},
		{"beginnings without ends", repeat(100, []byte{0xff, 0, attribute, 0, 0x1d}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.device()
			c := l.connect(l.find().Addrs[0])
			l.exchange(c, "before")
			for _, f := range tt.frames {
				l.central.InjectACL(f)
			}
			if tt.reason == "" {
				c.Close()
				l.again()
				return
			}
			if _, err := c.Read(); !errors.Is(err, ble.ErrRestarted) {
				t.Errorf("Read: %v, want that the radio was restarted", err)
			}
			if err := c.Write([]byte("after")); !errors.Is(err, ble.ErrRestarted) {
				t.Errorf("Write: %v, want that the radio was restarted", err)
			}
			l.again()
			if s := l.radio.Stats(); s.Restarts != 1 || !strings.Contains(s.Reason, tt.reason) {
				t.Errorf("stats %+v, want one restart for a %s", s, tt.reason)
			}
		})
	}
}

func repeat(n int, f []byte) (out [][]byte) {
	for range n {
		out = append(out, f)
	}
	return out
}

// What a device can answer while it is connected to.
func TestHostileAnswers(t *testing.T) {
	tests := []struct {
		name    string
		to      byte // the request's opcode
		answer  []byte
		crashes bool
	}{
		{"an MTU of nothing", 0x03, []byte{0x03, 0, 0}, false},
		{"services of no length", 0x11, []byte{0x11, 0, 1, 0, 1}, true},
		{"services of a length too small", 0x11, []byte{0x11, 1, 1, 0, 1}, true},
		{"characteristics of no length", 0x09, []byte{0x09, 0, 1, 0, 1}, true},
		{"descriptors of an unknown format", 0x05, []byte{0x05, 9, 1, 0, 2, 0x29, 1}, true},
		{"an error cut short", 0x11, []byte{0x01}, false},
		{"services that end before they begin", 0x11, []byte{0x11, 6, 9, 0, 1, 0, 0xf6, 0xff}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.device()
			ad := l.find()
			l.air.SetTap(func(to air.Direction, frame []byte) [][]byte {
				// The device's answer to the opcode is a greater one by one.
				if to == air.ToCentral && len(frame) > 4 && (frame[4] == tt.to || frame[4] == 1 && frame[5] == tt.to-1) {
					return [][]byte{l2cap(attribute, tt.answer...)}
				}
				return [][]byte{frame}
			})
			_, err := l.radio.Connect(l.context(), ad.Addrs[0])
			if want := map[bool]error{true: ble.ErrRestarted, false: ble.ErrUnreachable}[tt.crashes]; !errors.Is(err, want) {
				t.Errorf("Connect: %v, want %v", err, want)
			}
			l.again()
			if s := l.radio.Stats(); (s.Restarts == 1) != tt.crashes {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// Whatever neighbours advertise, the device is found.
func TestHostileAdvertising(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ctx, cancel := context.WithCancel(l.context())
	defer cancel()
	heard := make(chan radio.Advertisement, 1)
	go l.radio.Scan(ctx, func(ad radio.Advertisement) {
		select {
		case heard <- ad:
		default:
		}
	})
	<-heard
	r := rand.New(rand.NewPCG(1, 2))
	matter := ble.Advertising(lamp)
	for range 3000 {
		data := make([]byte, r.IntN(40))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			data = append([]byte(nil), matter[:r.IntN(len(matter)+1)]...)
			for range r.IntN(3) {
				if len(data) > 0 {
					data[r.IntN(len(data))] = byte(r.Uint32())
				}
			}
		}
		l.air.Broadcast(air.Report{Kind: byte(r.IntN(6)), From: air.Address{Bytes: [6]byte{9}, Random: r.IntN(2) == 0}, Data: data, RSSI: int8(r.Uint32())})
	}
	l.until("the device is heard", func() bool {
		ad := <-heard
		return ad.Discriminator == lamp.Discriminator && ad.Vendor == lamp.Vendor && ad.RSSI == -56
	})
	if s := l.radio.Stats(); s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A device that answers nothing costs the time it is given and no more.
func TestMuteDevice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	l.air.SetTap(func(to air.Direction, frame []byte) [][]byte {
		if to == air.ToCentral {
			return nil
		}
		return [][]byte{frame}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := l.radio.Connect(ctx, ad.Addrs[0]); !errors.Is(err, ble.ErrUnreachable) {
		t.Errorf("Connect: %v", err)
	}
	l.again()
	if s := l.radio.Stats(); s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}
