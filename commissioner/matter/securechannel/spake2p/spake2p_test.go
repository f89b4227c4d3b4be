package spake2p

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

var salt = []byte("SPAKE2P Key Salt")

func derive(t testing.TB, passcode uint32) (Secret, Verifier) {
	t.Helper()
	s, err := Derive(passcode, salt, MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// TestDerive is the verifier that the Matter SDK's examples have for their
// default passcode.
func TestDerive(t *testing.T) {
	_, v := derive(t, 20202021)
	want := "b96170aae803346884724fe9a3b287c30330c2a660375d17bb205a8cf1aecb35" +
		"0457f8ab79ee253ab6a8e46bb09e543ae422736de501e3db37d441fe344920d095" +
		"48e4c18240630c4ff4913c53513839b7c07fcc0627a1b8573a149fcd1fa466cf"
	if got := hex.EncodeToString(v.Bytes()); got != want {
		t.Errorf("got %s", got)
	}
	again, err := ParseVerifier(v.Bytes())
	if err != nil || !bytes.Equal(again.Bytes(), v.Bytes()) {
		t.Error(err)
	}
}

func TestDeriveBounds(t *testing.T) {
	for _, c := range []struct {
		salt, iterations int
	}{{15, 1000}, {33, 1000}, {16, 999}, {16, 100001}, {0, 0}} {
		if _, err := Derive(1, make([]byte, c.salt), c.iterations); err == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
}

func TestAgreement(t *testing.T) {
	s, _ := derive(t, 20202021)
	for _, passcode := range []uint32{20202021, 20202022} {
		_, v := derive(t, passcode)
		p, err := NewProver(rand.Reader, []byte("context"), s)
		if err != nil {
			t.Fatal(err)
		}
		share, kv, err := v.Respond(rand.Reader, []byte("context"), p.Share())
		if err != nil {
			t.Fatal(err)
		}
		kp, err := p.Finish(share)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := kp.Verify(kv.Confirmation())
		b, errB := kv.Verify(kp.Confirmation())
		if same := passcode == 20202021; same != (errA == nil && errB == nil && bytes.Equal(a, b)) {
			t.Errorf("passcode %d: %v, %v", passcode, errA, errB)
		}
	}
}

func TestBadShares(t *testing.T) {
	s, v := derive(t, 20202021)
	blinding, _ := blind(make([]byte, 32), s.w0, pointM) // 0*G + w0*M
	for name, share := range map[string][]byte{
		"infinity":   {0},
		"compressed": pointM.BytesCompressed(),
		"off curve":  append([]byte{4}, make([]byte, 64)...),
		"empty":      nil,
		"blinding":   blinding.Bytes(),
	} {
		if _, _, err := v.Respond(rand.Reader, nil, share); err == nil {
			t.Errorf("verifier took %s", name)
		}
	}
	p, _ := NewProver(rand.Reader, nil, s)
	if _, err := p.Finish(append([]byte{4}, make([]byte, 64)...)); err == nil {
		t.Error("prover took a point off the curve")
	}
}

// bstr is an octet string of the vectors: hex, or an object with ASCII.
type bstr []byte

func (b *bstr) UnmarshalJSON(j []byte) error {
	var s string
	if json.Unmarshal(j, &s) == nil {
		raw, err := hex.DecodeString(s)
		*b = raw
		return err
	}
	var o struct{ ASCII string }
	err := json.Unmarshal(j, &o)
	*b = []byte(o.ASCII)
	return err
}

// TestVectors runs those of RFC 9383's draft, in the Matter SDK's data.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../../../../shared/vectors/matter-sdk/derived/SPAKE2P_RFC_test_vectors.json")
	if err != nil {
		t.Skip("the Matter SDK's vectors are not beside the checkout")
	}
	var file struct {
		Structs []struct {
			Type            string `json:"_type"`
			Context         bstr
			IDA             bstr `json:"prover_identity"`
			IDB             bstr `json:"verifier_identity"`
			W0, W1, L       bstr
			PrivateX        bstr `json:"scalar_x"`
			X               bstr
			PrivateY        bstr `json:"scalar_y"`
			Y, Z, V, Ka, Ke bstr
			KcA, KcB        bstr
			MacA            bstr `json:"MAC_KcA"`
			MacB            bstr `json:"MAC_KcB"`
		}
	}
	if err := json.Unmarshal(caseSensitive(data), &file); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i, v := range file.Structs {
		if v.Type != "spake2p_rfc_tv" {
			continue
		}
		tried++
		s := Secret{v.W0, v.W1}
		verifier, err := s.Verifier()
		if err != nil || !bytes.Equal(verifier.l.Bytes(), v.L) {
			t.Errorf("%d: L differs (%v)", i, err)
		}
		p, err := newProver(v.Context, s, v.PrivateX)
		if err != nil || !bytes.Equal(p.Share(), v.X) {
			t.Fatalf("%d: X differs (%v)", i, err)
		}
		share, k, err := verifier.respond(v.Context, v.IDA, v.IDB, v.X, v.PrivateY)
		if err != nil || !bytes.Equal(share, v.Y) {
			t.Fatalf("%d: Y differs (%v)", i, err)
		}
		if !bytes.Equal(k.confirm, v.MacB) || !bytes.Equal(k.confirmOther, v.MacA) || !bytes.Equal(k.shared, v.Ke) {
			t.Errorf("%d: keys differ", i)
		}
	}
	if tried == 0 {
		t.Error("no vectors")
	}
	t.Logf("%d vectors", tried)
}

// caseSensitive renames the private scalars x and y, which encoding/json does
// not tell from the points X and Y.
func caseSensitive(data []byte) []byte {
	data = bytes.ReplaceAll(data, []byte(`"x":`), []byte(`"scalar_x":`))
	return bytes.ReplaceAll(data, []byte(`"y":`), []byte(`"scalar_y":`))
}
