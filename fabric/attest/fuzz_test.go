package attest_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"runtime/metrics"
	"testing"

	"gatehouse/fabric/attest"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/fabric/cert"
)

// maxAlloc bounds what parsing may allocate, in octets.
const maxAlloc = 1 << 20

// limited fails the test if f allocates more than maxAlloc.
func limited(t *testing.T, f func()) {
	t.Helper()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(allocated)
	before := allocated[0].Value.Uint64()
	f()
	metrics.Read(allocated)
	if n := allocated[0].Value.Uint64() - before; n > maxAlloc {
		t.Errorf("%d octets allocated", n)
	}
}

// FuzzCertificates lets a device show any two certificates: it must be refused
// unless they are the true ones.
func FuzzCertificates(f *testing.F) {
	d := maker.Device(lamp())
	e, store := evidence(d), maker.Trust()
	want := attest.Evaluate(e, rules())
	f.Add(d.DAC, d.PAI)
	f.Add(maker.PAA(), maker.Signer())
	f.Fuzz(func(t *testing.T, dac, pai []byte) {
		limited(t, func() {
			e.DAC, e.PAI = dac, pai
			v := attest.Evaluate(e, attest.Rules{Trust: store, Now: now, Exceptions: []attest.Exception{workbench}})
			if v.OK() && (v.DAC.PublicKey != want.DAC.PublicKey || !bytes.Equal(v.DAC.Serial, want.DAC.Serial) ||
				!bytes.Equal(v.DAC.Subject, want.DAC.Subject)) {
				t.Fatalf("accepted with another certificate: %+v", v.DAC)
			}
			if c, err := attest.ParseCertificate(dac); err == nil {
				if !c.Subject.Equal(c.Subject) || !c.Issuer.Equal(c.Issuer) {
					t.Fatal("a name is not equal to itself")
				}
				_, _, _ = c.CheckDAC(), c.CheckPAI(), c.CheckPAA()
			}
		})
	})
}

// FuzzDeclaration reads the contents of a declaration, however it is signed.
func FuzzDeclaration(f *testing.F) {
	p := lamp()
	p.Declaration = func(d *attest.Declaration) {
		d.OriginVendorID, d.OriginProductID = attest.ID{Value: 1, Present: true}, attest.ID{Value: 2, Present: true}
		d.HasAuthorizedPAAs, d.AuthorizedPAAs = true, make([]cert.KeyID, 2)
		f.Add(attesttest.EncodeDeclaration(*d))
	}
	f.Add(attesttest.EncodeDeclaration(attest.Declaration{CertificateID: "CSA00000SWC00000-00"}))
	maker.Device(p)
	f.Fuzz(func(t *testing.T, b []byte) {
		limited(t, func() {
			d, err := attest.ParseDeclaration(b)
			if err != nil {
				return
			}
			again, err := attest.ParseDeclaration(attesttest.EncodeDeclaration(*d))
			if err != nil || !reflect.DeepEqual(d, again) {
				t.Fatalf("%+v comes back as %+v, %v", d, again, err)
			}
		})
	})
}

// FuzzSignedDeclaration lets a device show any declaration, signed by nobody
// we trust.
func FuzzSignedDeclaration(f *testing.F) {
	d := maker.Device(lamp())
	want := attest.Evaluate(evidence(d), rules())
	f.Add(d.CD)
	f.Add(attesttest.New("x").Device(lamp()).CD)
	f.Fuzz(func(t *testing.T, cd []byte) {
		limited(t, func() {
			changed := *d
			changed.CD = cd
			if v := attest.Evaluate(evidence(&changed), rules()); v.OK() && !reflect.DeepEqual(v.Declaration, want.Declaration) {
				t.Fatalf("accepted with another declaration: %+v", v.Declaration)
			}
		})
	})
}

func FuzzElements(f *testing.F) {
	d := maker.Device(lamp())
	elements, _ := d.Attest(challenge, nonce)
	f.Add(elements)
	f.Fuzz(func(t *testing.T, b []byte) {
		limited(t, func() {
			e, err := attest.ParseElements(b)
			if err != nil {
				return
			}
			if len(e.Nonce) != 32 {
				t.Fatalf("a nonce of %d octets", len(e.Nonce))
			}
			made := attesttest.Device{CD: e.Declaration, Key: d.Key}
			again, _ := made.Attest(challenge, e.Nonce)
			back, err := attest.ParseElements(again)
			if err != nil || !bytes.Equal(back.Declaration, e.Declaration) || !bytes.Equal(back.Nonce, e.Nonce) {
				if len(again) <= 900 {
					t.Fatalf("comes back as %+v, %v", back, err)
				}
			}
		})
	})
}

// FuzzNOCSR reads NOCSR elements that the true device signed.
func FuzzNOCSR(f *testing.F) {
	d := maker.Device(lamp())
	dac, err := attest.ParseCertificate(d.DAC)
	if err != nil {
		f.Fatal(err)
	}
	csr, err := cert.NewRequest(nil, maker.Key("operational"))
	if err != nil {
		f.Fatal(err)
	}
	elements, _ := d.NOCSR(challenge, nonce, csr)
	f.Add(elements)
	f.Fuzz(func(t *testing.T, b []byte) {
		limited(t, func() {
			s, err := cert.SignMessage(nil, d.Key, append(bytes.Clone(b), challenge...))
			if err != nil {
				t.Fatal(err)
			}
			if k, err := attest.VerifyNOCSR(dac, b, s[:], challenge, nonce); err == nil {
				if _, err := k.Key(); err != nil {
					t.Fatalf("a key off the curve: %v", err)
				}
			}
		})
	})
}

func FuzzRevocationSet(f *testing.F) {
	pai := maker.Device(lamp()).PAI
	f.Add([]byte(`[{"type":"revocation_set","issuer_subject_key_id":"00","revoked_serial_numbers":["01"]}]`))
	if b, err := json.Marshal([]map[string]any{{"type": "revocation_set", "crl_signer_cert": pai}}); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		limited(t, func() {
			if set, err := attest.ParseRevocationSet(b); err == nil && set == nil {
				t.Fatal("neither a set nor an error")
			}
		})
	})
}
