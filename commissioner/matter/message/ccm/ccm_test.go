package ccm

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC3610 is packet vector 1 of RFC 3610.
func TestRFC3610(t *testing.T) {
	block, _ := aes.NewCipher(unhex(t, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"))
	c, err := New(block, 13, 8)
	if err != nil {
		t.Fatal(err)
	}
	nonce, aad := unhex(t, "00000003020100a0a1a2a3a4a5"), unhex(t, "0001020304050607")
	plain := unhex(t, "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e")
	want := unhex(t, "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0")
	if got := c.Seal(nil, nonce, plain, aad); !bytes.Equal(got, want) {
		t.Fatalf("got %x", got)
	}
	for i := range want { // no octet may change
		bad := bytes.Clone(want)
		bad[i] ^= 1
		if _, err := c.Open(nil, nonce, bad, aad); err != ErrOpen {
			t.Fatalf("octet %d changed: %v", i, err)
		}
	}
	buf := bytes.Clone(want) // in place
	got, err := c.Open(buf[:0], nonce, buf, aad)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %x, %v", got, err)
	}
}

func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../../../../shared/vectors/matter-sdk/derived/AES_CCM_128_test_vectors.json")
	if err != nil {
		t.Skip("the Matter SDK's vectors are not beside the checkout")
	}
	var file struct {
		Structs []struct {
			Name                                 string `json:"_name"`
			Pt, Aad, Key, Nonce, Ct, Tag, Result string
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, v := range file.Structs {
		if v.Key == "" {
			continue
		}
		tried++
		nonce, tag := unhex(t, v.Nonce), unhex(t, v.Tag)
		block, err := aes.NewCipher(unhex(t, v.Key))
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(block, len(nonce), len(tag))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		want := append(unhex(t, v.Ct), tag...)
		if v.Result != "CHIP_NO_ERROR" {
			if _, err := c.Open(nil, nonce, want, unhex(t, v.Aad)); err == nil {
				t.Errorf("%s: accepted", v.Name)
			}
			continue
		}
		if got := c.Seal(nil, nonce, unhex(t, v.Pt), unhex(t, v.Aad)); !bytes.Equal(got, want) {
			t.Errorf("%s: sealed %x", v.Name, got)
		}
		if got, err := c.Open(nil, nonce, want, unhex(t, v.Aad)); err != nil || !bytes.Equal(got, unhex(t, v.Pt)) {
			t.Errorf("%s: opened %x, %v", v.Name, got, err)
		}
	}
	if tried < 50 {
		t.Errorf("only %d vectors", tried)
	}
}

func BenchmarkSeal(b *testing.B) {
	block, _ := aes.NewCipher(make([]byte, 16))
	c, _ := New(block, 13, 16)
	buf, plain, nonce, aad := make([]byte, 0, 1280), make([]byte, 200), make([]byte, 13), make([]byte, 8)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		c.Seal(buf, nonce, plain, aad)
	}
}
