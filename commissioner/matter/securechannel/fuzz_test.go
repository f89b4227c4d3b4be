package securechannel

import (
	"bytes"
	"testing"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/tlv"
)

// parsers are the messages of PASE and CASE and their encrypted parts.
var parsers = []func() any{
	func() any { return new(pbkdfParamRequest) }, func() any { return new(pbkdfParamResponse) },
	func() any { return new(pake1) }, func() any { return new(pake2) }, func() any { return new(pake3) },
	func() any { return new(sigma1) }, func() any { return new(sigma2) }, func() any { return new(sigma2Resume) }, func() any { return new(sigma3) },
	func() any { return new(tbe) }, func() any { return new(tbs) },
}

func FuzzMessages(f *testing.F) {
	params := ourParams(exchange.DefaultParams)
	for i, m := range []any{&pbkdfParamRequest{SessionID: 1, Params: params}, &pbkdfParamResponse{SessionID: 1, PBKDF: &pbkdfParams{1000, make([]byte, 16)}, Params: params},
		&pake1{}, &pake2{}, &pake3{}, &sigma1{SessionID: 1, Params: params, ResumptionID: new([16]byte), ResumeMIC: new([16]byte)},
		&sigma2{SessionID: 1, Encrypted: []byte("x"), Params: params}, &sigma2Resume{SessionID: 1, Params: params}, &sigma3{[]byte("x")},
		&tbe{NOC: []byte("n"), ICAC: []byte("i"), ResumptionID: new([16]byte)}, &tbs{NOC: []byte("n")}} {
		b, err := tlv.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		parser := parsers[int(which)%len(parsers)]
		m := parser()
		if tlv.Unmarshal(b, m) != nil {
			return
		}
		one, err := tlv.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again := parser()
		if err := tlv.Unmarshal(one, again); err != nil {
			t.Fatalf("%x: %v", one, err)
		}
		if two, _ := tlv.Marshal(again); !bytes.Equal(one, two) {
			t.Fatalf("%x became %x", one, two)
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add((&Status{General: Busy, Code: CodeBusy, Data: []byte{1, 0}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatus(b)
		if err != nil {
			return
		}
		s.Wait()
		if !bytes.Equal(s.Encode(), b) {
			t.Fatalf("%x became %x", b, s.Encode())
		}
	})
}
