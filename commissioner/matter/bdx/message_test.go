package bdx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// parse parses any message, append writes it again.
func parse(opcode uint8, b []byte) (any, error) {
	switch opcode {
	case opSendInit, opReceiveInit:
		m, err := parseInit(b)
		return &m, err
	case opSendAccept, opReceiveAccept:
		m, err := parseAccept(opcode, b)
		return &m, err
	case opBlock, opBlockEOF:
		m, err := parseBlock(b)
		return &m, err
	default:
		m, err := parseQuery(opcode, b)
		return &m, err
	}
}

func write(opcode uint8, m any) []byte {
	switch m := m.(type) {
	case *initiation:
		return m.append(nil)
	case *acceptance:
		return m.append(opcode, nil)
	case *query:
		return m.append(opcode, nil)
	case *block:
		return append((&query{counter: m.counter}).append(opBlock, nil), m.data...)
	}
	panic("no message")
}

var (
	metadata = []byte{7, 6, 5, 4, 3}
	testTxt  = []byte("test.txt\x00")
)

// golden are messages as other implementations write them: M matter.js
// 0.17.9, S the SDK from the values of its own tests. Where only one of them
// has it, it says so.
var golden = []struct {
	name   string
	opcode uint8
	octets string
	want   any
	parsed bool // only read, never written so
}{
	{"init, wide (M; S but for the version)", opReceiveInit, "20 13 0001 2a00000000000000 0000000001000000 0900 746573742e74787400 0706050403",
		&initiation{0, ReceiverDrive, 256, 42, 1 << 32, testTxt, metadata}, false},
	{"init, wide, version 1 (S)", opReceiveInit, "21 13 0001 2a00000000000000 0000000001000000 0900 746573742e74787400 0706050403",
		&initiation{1, ReceiverDrive, 256, 42, 1 << 32, testTxt, metadata}, false},
	{"init, indefinite (M, S)", opReceiveInit, "20 00 0004 0d00 6f74612f696d6167652e62696e",
		&initiation{0, ReceiverDrive, 1024, 0, 0, []byte("ota/image.bin"), nil}, false},
	{"init, offset and length (M, S)", opSendInit, "30 03 0004 00100000 70110100 0300 6c6f67",
		&initiation{0, SenderDrive | ReceiverDrive, 1024, 4096, 70000, []byte("log"), nil}, false},
	{"init, asynchronous too, reserved bits, offset 0 told (M)", opSendInit, "f0 ee 0004 00000000 0100 6c",
		&initiation{0, SenderDrive | ReceiverDrive | async, 1024, 0, 0, []byte("l"), nil}, true},
	{"send accept (M, S)", opSendAccept, "10 0001 0706050403", &acceptance{0, SenderDrive, 256, 0, 0, metadata}, false},
	{"receive accept (M, S)", opReceiveAccept, "20 01 e803 70110100", &acceptance{0, ReceiverDrive, 1000, 0, 70000, nil}, false},
	{"receive accept, indefinite (M, S)", opReceiveAccept, "10 00 0004", &acceptance{0, SenderDrive, 1024, 0, 0, nil}, false},
	{"receive accept, wide (M, S)", opReceiveAccept, "20 11 0001 0000000001000000 0706050403",
		&acceptance{0, ReceiverDrive, 256, 0, 1 << 32, metadata}, false},
	{"receive accept with an offset (S alone)", opReceiveAccept, "21 13 0001 2a00000000000000 0000000001000000 0706050403",
		&acceptance{1, ReceiverDrive, 256, 42, 1 << 32, metadata}, false},
	{"query (M, S)", opBlockQuery, "04000000", &query{4, 0}, false},
	{"skip (M, S)", opBlockQueryWithSkip, "05000000 1000000000000000", &query{5, 16}, false},
	{"long skip (M, S)", opBlockQueryWithSkip, "05000000 bc9a785634120000", &query{5, 0x123456789abc}, false},
	{"block (M, S)", opBlock, "04000000 0706050403", &block{4, metadata}, false},
	{"last block, empty (M, S)", opBlockEOF, "feffffff", &block{0xfffffffe, nil}, false},
	{"acknowledgement (M, S)", opBlockAck, "07000000", &query{7, 0}, false},
	{"last acknowledgement (M, S)", opBlockAckEOF, "08000000", &query{8, 0}, false},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	for _, c := range golden {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(t, c.octets)
			m, err := parse(c.opcode, b)
			if err != nil || !reflect.DeepEqual(m, c.want) {
				t.Fatalf("parsed as %+v, %v; want %+v", m, err, c.want)
			}
			if got := write(c.opcode, c.want); !c.parsed && !bytes.Equal(got, b) {
				t.Errorf("written as %x", got)
			}
		})
	}
	if got := BadBlockCounter.report(); !bytes.Equal(got, unhex(t, "0100 02000000 1700")) { // M, S
		t.Errorf("status report is %x", got)
	}
}

// TestMalformed cuts off and adds to every message.
func TestMalformed(t *testing.T) {
	open := map[uint8]bool{opSendInit: true, opReceiveInit: true, opSendAccept: true, opReceiveAccept: true, opBlock: true, opBlockEOF: true}
	for _, c := range golden {
		b := unhex(t, c.octets)
		if m, ok := c.want.(*initiation); ok {
			b = b[:len(b)-len(m.metadata)]
		}
		if m, ok := c.want.(*acceptance); ok {
			b = b[:len(b)-len(m.metadata)]
		}
		if m, ok := c.want.(*block); ok {
			b = b[:len(b)-len(m.data)]
		}
		for n := range b {
			if m, err := parse(c.opcode, b[:n]); !errors.Is(err, BadMessageContents) {
				t.Errorf("%s: %d of %d octets were taken for %+v, %v", c.name, n, len(b), m, err)
			}
		}
		if _, err := parse(c.opcode, append(b, 0)); !open[c.opcode] != errors.Is(err, BadMessageContents) {
			t.Errorf("%s with an octet more: %v", c.name, err)
		}
	}
}

// FuzzMessage parses any message; what parses stays the same when written and
// parsed again, and takes next to no memory, since it aliases its octets.
func FuzzMessage(f *testing.F) {
	for _, c := range golden {
		f.Add(c.opcode, unhex(f, c.octets))
	}
	f.Add(uint8(opReceiveInit), unhex(f, "20 00 0004 ffff 6f"))
	f.Fuzz(func(t *testing.T, opcode uint8, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := parse(opcode, b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<14 {
			t.Fatalf("%d octets took %d of memory", len(b), n)
		}
		if err != nil {
			if !errors.Is(err, BadMessageContents) {
				t.Fatalf("%x: %v", b, err)
			}
			return
		}
		one := write(opcode, m)
		again, err := parse(opcode, one)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%x: %+v became %+v, %v", b, m, again, err)
		}
		if len(one) > len(b) {
			t.Fatalf("%x became longer: %x", b, one)
		}
	})
}
