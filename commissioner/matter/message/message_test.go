package message

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var headers = []Header{
	{SessionID: 0, Counter: 1, HasSource: true, Source: 0x1122334455667788},
	{SessionID: 0, Counter: 0xFFFFFFFF, HasDest: true, Dest: 7},
	{SessionID: 0xBEEF, Counter: 9, Control: true},
}

var payloads = []Payload{
	{Protocol: SecureChannel, Opcode: 0x20, ExchangeID: 5, Initiator: true, Reliable: true, Body: []byte("body")},
	{Protocol: Interaction, Opcode: 2, ExchangeID: 0xFFFF, HasAck: true, Ack: 77, Body: []byte{}},
}

func testCipher(t testing.TB) *Cipher {
	c, err := NewCipher(Key{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSealOpen(t *testing.T) {
	c := testCipher(t)
	for _, h := range headers {
		for _, p := range payloads {
			sealed := c.Seal(nil, &h, &p, 42)
			if len(sealed) > Overhead+len(p.Body) {
				t.Errorf("%d octets over %d of body: Overhead is too small", len(sealed), len(p.Body))
			}
			source := uint64(42)
			if h.HasSource { // then the sender's node id is the header's
				sealed = c.Seal(nil, &h, &p, h.Source)
			}
			for i := range sealed {
				bad := bytes.Clone(sealed)
				bad[i] ^= 4
				if _, _, err := c.Open(bad, source); err == nil {
					t.Fatalf("octet %d changed: accepted", i)
				}
			}
			if _, _, err := c.Open(bytes.Clone(sealed), 43); err == nil && !h.HasSource {
				t.Error("accepted from another node")
			}
			gotH, gotP, err := c.Open(sealed, source)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(h, gotH, cmpopts.IgnoreUnexported(Header{})) + cmp.Diff(p, gotP); d != "" {
				t.Error(d)
			}
		}
	}
}

// TestPrivacy obfuscates a sealed message the way a peer with the same keys
// does and opens it.
func TestPrivacy(t *testing.T) {
	c := testCipher(t)
	h, p := headers[2], payloads[0]
	h.Control = false
	plain := append(h.Append(nil), p.Append(nil)...)
	plain[3] |= secPrivacy
	n := nonce(secPrivacy, h.Counter, 42)
	sealed := c.aead.Seal(plain[:8], n[:], plain[8:], plain[:8])
	if err := c.reveal(sealed); err != nil { // counter mode is its own inverse
		t.Fatal(err)
	}
	if sealed[4] == byte(h.Counter) {
		t.Fatal("the counter is in the clear")
	}
	got, _, err := c.Open(sealed, 42)
	if err != nil || got.Counter != h.Counter || !got.Private {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	k := Key{0xAB, 0xCD}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, &k, k, k), fmt.Sprintf("%v", struct{ K Key }{k})} {
		if bytes.Contains([]byte(s), []byte("171")) || bytes.Contains([]byte(s), []byte("ab")) {
			t.Errorf("printed %s", s)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"short":                {0, 0, 0, 0, 1, 0, 0},
		"version 1":            {0x10, 0, 0, 0, 1, 0, 0, 0},
		"no source":            {0x04, 0, 0, 0, 1, 0, 0, 0, 1},
		"no destination":       {0x01, 0, 0, 0, 1, 0, 0, 0, 1},
		"no group":             {0x02, 0, 0, 0, 1, 0, 0, 0, 1},
		"reserved destination": {0x03, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8},
		"reserved type":        {0, 0, 0, 2, 1, 0, 0, 0},
		"long extension":       {0, 0, 0, 0x20, 1, 0, 0, 0, 9, 0, 1},
		"cut extension":        {0, 0, 0, 0x20, 1, 0, 0, 0, 9},
	} {
		if _, _, err := ParseHeader(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, b := range map[string][]byte{
		"short":          {0, 0, 0, 0, 1},
		"vendor":         {0x10, 0, 0, 0, 1, 0, 1, 0},
		"no ack":         {0x02, 0, 0, 0, 1, 0, 1},
		"long extension": {0x08, 0, 0, 0, 1, 0, 1, 1},
	} {
		if _, err := ParsePayload(b); err == nil {
			t.Errorf("payload %s: accepted", name)
		}
	}
}

func TestCounter(t *testing.T) {
	c, err := NewCounter(rand.Reader, false)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := c.Next()
	if m, _ := c.Next(); m != n+1 || n == 0 || n > counterStart {
		t.Errorf("%d then %d", n, m)
	}
	c.next = 0xFFFFFFFF
	if n, err := c.Next(); n != 0xFFFFFFFF || err != nil {
		t.Error(n, err)
	}
	if _, err := c.Next(); err != ErrCounter {
		t.Error("a secure counter came round")
	}
	c.wrap = true
	if n, err := c.Next(); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestWindow(t *testing.T) {
	type step struct {
		counter         uint32
		secure, relaxed bool
	}
	for _, steps := range [][]step{
		{{100, true, true}, {100, false, false}, {101, true, true}, {99, true, true}, {99, false, false}, {69, true, true}, {68, false, true}},
		{{5, true, true}, {50, true, true}, {18, true, true}, {17, false, true}, {50, false, true}},
		{{5, true, true}, {37, true, true}, {5, false, false}, {6, true, true}},
		{{0xFFFFFFF0, true, true}, {0xFFFFFFFF, true, true}, {0, false, true}, {0xFFFFFFFE, true, true}, {0xFFFFFFF0, false, false}},
	} {
		var s, u Window
		for i, st := range steps {
			if got := s.Secure(st.counter); got != st.secure {
				t.Errorf("%v secure, step %d: %v", steps, i, got)
			}
			if got := u.Unsecured(st.counter); got != st.relaxed {
				t.Errorf("%v unsecured, step %d: %v", steps, i, got)
			}
		}
	}
}

// TestForget has counters come again that were forgotten: each once, and none
// besides.
func TestForget(t *testing.T) {
	for name, take := range map[string]func(*Window, uint32) bool{"secure": (*Window).Secure, "unsecured": (*Window).Unsecured} {
		var w Window
		come := func(counter uint32, want bool) {
			t.Helper()
			if take(&w, counter) != want {
				t.Errorf("%s: %d is new: %v", name, counter, !want)
			}
		}
		come(100, true)
		w.Forget(100)
		come(100, true)
		come(100, false)
		w.Forget(100)
		come(101, true)
		come(102, true)
		come(100, true)
		come(100, false)
		w.Forget(101)
		come(102, false)
		come(101, true)
		come(101, false)
		w.Forget(102)
		come(134, true)
		come(102, true)
		come(102, false)
		w.Forget(102)
		w.Forget(134)
		come(200, true)
		come(134, name == "unsecured") // far behind: a peer begun anew
	}
}

func FuzzParse(f *testing.F) {
	for _, h := range headers {
		for _, p := range payloads {
			f.Add(append(h.Append(nil), p.Append(nil)...))
		}
	}
	c := testCipher(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		c.Open(bytes.Clone(b), 1)
		h, rest, err := ParseHeader(b)
		if err != nil {
			return
		}
		if h.size+len(rest) != len(b) {
			t.Fatal("octets lost")
		}
		if !h.Group && !h.Private && b[3]&secExtension == 0 && b[3]&^byte(secControl) == 0 && b[0]&^7 == 0 {
			if got := h.Append(nil); !bytes.Equal(got, b[:h.size]) {
				t.Fatalf("%x became %x", b[:h.size], got)
			}
		}
		p, err := ParsePayload(rest)
		if err != nil {
			return
		}
		again, err := ParsePayload(p.Append(nil))
		if err != nil || !cmp.Equal(p, again, cmpopts.EquateEmpty()) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	c := testCipher(b)
	h, p := headers[2], payloads[0]
	p.Body = make([]byte, 100)
	buf := make([]byte, 0, MaxSize)
	b.ReportAllocs()
	for b.Loop() {
		c.Seal(buf, &h, &p, 42)
	}
}

func BenchmarkOpen(b *testing.B) {
	c := testCipher(b)
	h, p := headers[2], payloads[0]
	p.Body = make([]byte, 100)
	sealed := c.Seal(nil, &h, &p, 42)
	buf := make([]byte, len(sealed))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, sealed)
		if _, _, err := c.Open(buf, 42); err != nil {
			b.Fatal(err)
		}
	}
}
