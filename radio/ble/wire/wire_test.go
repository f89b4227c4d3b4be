package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

var samples = []Message{
	{Kind: Hello, Version: Version},
	{Kind: Ping, ID: 7},
	{Kind: Scan, ID: 1 << 31, On: true},
	{Kind: Connect, Conn: 3, Peer: Address{[6]byte{0xc2, 1, 2, 3, 4, 5}, true}},
	{Kind: Write, ID: 9, Conn: 3, Data: bytes.Repeat([]byte{0xa5}, MaxData)},
	{Kind: Report, Peer: Address{Bytes: [6]byte{2}}, RSSI: -90, Data: []byte{2, 1, 6}},
	{Kind: Connected, Conn: 3, MTU: 247},
	{Kind: Fault, Code: NoAdapter, Text: "can't bind"},
}

func TestRoundTrip(t *testing.T) {
	a, b := net.Pipe()
	from, to := NewConn(a), NewConn(b)
	go func() {
		for _, m := range samples {
			from.Send(m)
		}
		from.Close()
	}()
	for _, want := range samples {
		got, err := to.Read()
		if err != nil {
			t.Fatal(err)
		}
		if !equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, err := to.Read(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func equal(a, b Message) bool {
	data := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data = nil, nil
	return data && a.Kind == b.Kind && a.ID == b.ID && a.Conn == b.Conn && a.Version == b.Version && a.On == b.On &&
		a.Peer == b.Peer && a.RSSI == b.RSSI && a.MTU == b.MTU && a.Code == b.Code && a.Text == b.Text
}

func TestMalformed(t *testing.T) {
	tests := []struct {
		name, frame string
	}{
		{"too long", "\xff\xff"},
		{"not a map", "\x00\x01\x01"},
		{"unknown field", "\x00\x04\xa1\x18\x63\x00"},
		{"a field twice", "\x00\x05\xa2\x00\x01\x00\x01"},
		{"data too long", "\x02\x05\xa1\x08\x59\x02\x01" + strings.Repeat("x", 513)},
		{"address too short", "\x00\x05\xa1\x05\x42\x01\x02"},
		{"address type", "\x00\x0a\xa1\x05\x47\x01\x02\x03\x04\x05\x06\x02"},
		{"something behind", "\x00\x02\xa0\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := NewConn(reading{strings.NewReader(tt.frame)}).Read(); !errors.Is(err, ErrMalformed) {
				t.Errorf("read as %+v, %v", m, err)
			}
		})
	}
	if _, err := NewConn(reading{strings.NewReader("\x00\x05\xa0")}).Read(); err != io.ErrUnexpectedEOF {
		t.Errorf("a frame cut short: %v", err)
	}
	if err := NewConn(reading{}).Send(Message{Data: make([]byte, MaxData+1)}); err == nil {
		t.Error("too much data is sent")
	}
}

type reading struct{ *strings.Reader }

func (reading) Write(b []byte) (int, error) { return len(b), nil }
func (reading) Close() error                { return nil }

func TestTextIsCut(t *testing.T) {
	b, err := Encode(Message{Kind: Done, Text: strings.Repeat("ü", MaxText)})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := Decode(b); err != nil || !strings.HasPrefix(m.Text, "üü") {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAddress(t *testing.T) {
	for _, s := range []string{"02:ca:fe:00:00:01", "random/c2:ca:fe:00:00:01"} {
		a, err := ParseAddress(s)
		if err != nil || a.String() != s || a.Random != strings.HasPrefix(s, "random/") {
			t.Errorf("%s is parsed as %v, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "02:ca:fe:00:00", "02:ca:fe:00:00:01:02:03", "random/", "public/02:ca:fe:00:00:01"} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("%q is parsed as %v", s, a)
		}
	}
}

// What claims to be long is not believed.
func TestAllocation(t *testing.T) {
	for _, in := range []string{"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa1\x08\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
		"\xa1\x0a\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa1\x08\x5a\x3f\xff\xff\xff"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode([]byte(in))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 64<<10 {
			t.Errorf("%d bytes are allocated to refuse % x: %v", n, in, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples {
		b, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := Decode(again); err != nil || !equal(m, n) {
			t.Fatalf("%+v became %+v, %v", m, n, err)
		}
	})
}
