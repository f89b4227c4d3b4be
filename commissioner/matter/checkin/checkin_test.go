package checkin

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"gatehouse/commissioner/matter/message"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newCipher(t testing.TB, key []byte) *Cipher {
	t.Helper()
	c, err := New(message.Key(key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestVectors has values of the Matter SDK
// (src/protocols/secure_channel/tests/CheckIn_Message_test_vectors.h).
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		key, data string
		counter   uint32
		message   string
	}{
		{"d90e13180d00baadd20cf5ed4913d3ff", "", 12,
			"4580d2c6f1310dc4eb64f1f8e8bdc21fb5195d747dd2879b2b0d43ce5b1c565078"},
		{"18fdbceaef01955b0ec875eda3ae6ee8", "54686973", 15,
			"9b02ed21ee0c7b491985502e372dbd7b3f8b4f8e3c5ad99419389f41a8d609938c67a86d65"},
		{"d90e13180d00baadd20cf5ed4913d3ff", "546869732069732061", 11,
			"aa84bc60886a63a8475d5dbeb56d635fa95285ae33626613c7636ce3e3b2a8b13a8c89bef76891e8e296"},
		{"ca67d41ff7112910fdd18a1bf99ea974", "546869732069732061206c6f6e676572", 11,
			"7a9772243c97c87d5f3a31c4e6dbbc1aa566c443c20586066b427bfcaaad78da4a105a1342adbf3f4798cd81b9ef97bbb7"},
		{"ca67d41ff7112910fdd18a1bf99ea974", "546869732069732061206c6f6e67657220737472696e67", 12,
			"0634676ea6e0707b7ad7814ff82e5b18d19a23b2e4fadf829253517ff3c91d8d4784315a1e3208b8ecf6118b021a5a4cd4e9d4138dff2971"},
		// What matter.js 0.17.9 writes for a threshold of 5000 ms.
		{"000102030405060708090a0b0c0d0e0f", "8813", 1,
			"8bee65c960bd92ce9e00636f253159ab02c5e6bf37fe1d3d2cc913f42a44f1545f4f5a"},
		{"000102030405060708090a0b0c0d0e0f", "8813", 0x1234_5678,
			"7a2c1f9186dd42152b6ae46aa1d9822490e8d0c7990d5e11bec7bf85aec9dd68a04150"},
		{"000102030405060708090a0b0c0d0e0f", "8813", 0xffff_ffff,
			"8451895da22a97fbb573a2bffb37b855f0b0b37431f4ce0f2a470bec774b5de6e33729"},
	} {
		c, want := newCipher(t, octets(t, v.key)), octets(t, v.message)
		m, err := c.Open(want)
		if err != nil || m.Counter != v.counter || !bytes.Equal(m.Data, octets(t, v.data)) {
			t.Errorf("%s: %+v, %v", v.message, m, err)
		}
		if got := c.Seal(Message{v.counter, octets(t, v.data)}); !bytes.Equal(got, want) {
			t.Errorf("%x, not %x", got, want)
		}
	}
	// Its nonce is another counter's.
	wrong := octets(t, "0634676ea6e0707b7ad7814ff8295b18d19a23b2e4fadf829253517ff3c91d8d47842e41023c03ad66ac4dca7247e0e4c66bd9d39913e23d8232b961fa9226")
	if m, err := newCipher(t, octets(t, "ca67d41ff7112910fdd18a1bf99ea974")).Open(wrong); !errors.Is(err, ErrForeign) {
		t.Errorf("%+v, %v", m, err)
	}
}

// sleepers is a Table of n devices, and their ciphers.
func sleepers(t testing.TB, n int) (*Table, []*Cipher) {
	table, want, ciphers := new(Table), make(map[Name]Key), make([]*Cipher, n)
	for i := range n {
		key := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i))
		ciphers[i] = newCipher(t, key)
		want[Name{uint64(i), 1}] = Key{Cipher: ciphers[i], Start: 100, Last: 100}
	}
	table.Set(want)
	return table, ciphers
}

func TestTable(t *testing.T) {
	table, devices := sleepers(t, 3)
	now := time.Unix(0, 0)
	open := func(device int, counter uint32) error {
		t.Helper()
		name, m, err := table.Open(devices[device].Seal(Message{counter, []byte{0x10, 0x27}}), now)
		if err == nil && (name != Name{uint64(device), 1} || m.Counter != counter || len(m.Data) != 2) {
			t.Errorf("%v says %+v", name, m)
		}
		return err
	}
	for _, c := range []struct {
		counter uint32
		err     error
	}{
		{100, ErrReplay}, {101, nil}, {101, ErrReplay}, {99, nil}, // as far ahead as can be
		{103, nil}, {102, nil}, {102, ErrReplay}, // one overtook another
		{500, nil}, {500, ErrReplay}, // it restarted
		{104, nil}, // and none of that keeps its next one out
	} {
		if err := open(1, c.counter); !errors.Is(err, c.err) {
			t.Errorf("%d: %v", c.counter, err)
		}
	}
	if Spent(100, 100+spent-1) || !Spent(100, 100+spent) || !Spent(1<<31, 0) {
		t.Error("when a key is spent")
	}
	now = now.Add(repeatAfter)
	if err := open(1, 104); err != nil {
		t.Errorf("who wrote it before keeps it out: %v", err)
	}
	// It is met, and says itself where it is.
	want := map[Name]Key{{1, 1}: {Cipher: devices[1], Start: 100, Last: 500}}
	table.Set(want)
	for counter, want := range map[uint32]error{104: ErrReplay, 105: ErrReplay, 500: ErrReplay, 501: nil} {
		if err := open(1, counter); !errors.Is(err, want) {
			t.Errorf("%d: %v", counter, err)
		}
	}
	if err := open(0, 101); !errors.Is(err, ErrForeign) || table.keys[Name{0, 1}] != nil || table.keys[Name{1, 1}] == nil || len(table.next) != ahead+1 {
		t.Errorf("a key that is gone: %v, %d nonces", err, len(table.next))
	}
	if _, _, err := new(Table).Open(devices[0].Seal(Message{Counter: 1}), now); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

// TestForged: what nobody wrote costs a bounded number of tries, and keeps
// nobody's message out.
func TestForged(t *testing.T) {
	table, devices := sleepers(t, 1000)
	now, forged := time.Unix(0, 0), make([]byte, minSize+2)
	tried := func() int { return mostTries - int(table.tries) }
	for i := range 100_000 {
		binary.BigEndian.PutUint64(forged, uint64(i))
		if _, _, err := table.Open(forged, now); !errors.Is(err, ErrForeign) {
			t.Fatal(err)
		}
	}
	if tried() > mostTries {
		t.Errorf("%d keys were tried", tried())
	}
	if _, _, err := table.Open(devices[7].Seal(Message{Counter: 200}), now); !errors.Is(err, ErrForeign) {
		t.Errorf("there were tries left: %v", err)
	}
	if name, _, err := table.Open(devices[7].Seal(Message{Counter: 101}), now); err != nil || name.Node != 7 {
		t.Errorf("the next message is kept out: %v", err)
	}
	now = now.Add(time.Second)
	if name, _, err := table.Open(devices[7].Seal(Message{Counter: 200}), now); err != nil || name.Node != 7 {
		t.Errorf("a second later: %v", err)
	}
}

func BenchmarkForged(b *testing.B) {
	table, _ := sleepers(b, 1000)
	forged := make([]byte, minSize+2)
	b.ReportAllocs()
	for i := range b.N {
		binary.BigEndian.PutUint64(forged, uint64(i))
		table.Open(forged, time.Now())
	}
}

func FuzzOpen(f *testing.F) {
	table, devices := sleepers(f, 2)
	f.Add(devices[1].Seal(Message{101, []byte{1, 2}}))
	f.Add(devices[1].Seal(Message{Counter: 7000}))
	f.Add([]byte{})
	f.Add(make([]byte, minSize+maxData+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := devices[1].Open(b)
		if err == nil && !bytes.Equal(devices[1].Seal(m), b) {
			t.Errorf("%x is not what it says", b)
		}
		if len(m.Data) > maxData {
			t.Errorf("%d octets", len(m.Data))
		}
		if name, _, again := table.Open(b, time.Unix(0, 0)); again == nil && (err != nil || name.Node != 1) && name.Node != 0 {
			t.Errorf("%x is taken for %v's: %v", b, name, err)
		}
	})
}
