package attest

import (
	"bytes"
	"errors"
	"fmt"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Specification constants: 11.18.4.4 and 11.18.4.6.
const (
	maxElements = 900 // octets (RESP_MAX)
	nonceLength = 32

	tagDeclaration = 1
	tagNonce       = 2
	tagTimestamp   = 3
	tagFirmware    = 4

	tagCSR          = 1
	tagCSRNonce     = 2
	lastCSRReserved = 5
)

// Elements is a device's signed answer to an attestation request.
type Elements struct {
	Declaration []byte // the certification declaration, a CMS message
	Nonce       []byte // 32 octets
	Timestamp   uint32 // device's clock, seconds since 2000; 0: it has none
	Firmware    []byte // firmware information; may be nil
}

// ParseElements reads attestation elements. Context tags must ascend; those
// not known here and vendors' own elements behind them are passed over. It
// keeps parts of b.
func ParseElements(b []byte) (*Elements, error) {
	e := new(Elements)
	var seen uint8
	err := fields(b, func(tag uint8, r *tlv.Reader) (err error) {
		switch tag {
		case tagDeclaration:
			e.Declaration, err = r.Bytes()
		case tagNonce:
			e.Nonce, err = exactly(r, nonceLength)
		case tagTimestamp:
			var n uint64
			if n, err = r.Uint(); err == nil && n > 1<<32-1 {
				err = fmt.Errorf("timestamp %d", n)
			}
			e.Timestamp = uint32(n)
		case tagFirmware:
			e.Firmware, err = r.Bytes()
		default:
			return nil
		}
		seen |= 1 << tag
		return err
	})
	const needed = 1<<tagDeclaration | 1<<tagNonce | 1<<tagTimestamp
	if err == nil && seen&needed != needed {
		err = errors.New("an element is missing")
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// fields calls read for every context-tagged member of the struct b.
func fields(b []byte, read func(tag uint8, r *tlv.Reader) error) error {
	if len(b) > maxElements {
		return fmt.Errorf("%d octets, at most %d", len(b), maxElements)
	}
	if kind, err := tlv.Check(b); err != nil {
		return err
	} else if kind != tlv.TypeStruct {
		return fmt.Errorf("a %v where a struct belongs", kind)
	}
	r := tlv.NewReader(b)
	r.Next()
	if r.Tag() != tlv.Anonymous {
		return errors.New("the struct has a tag")
	}
	if err := r.Enter(); err != nil {
		return err
	}
	last := -1
	for r.Next() {
		if r.Tag().Form != tlv.FormContext {
			last = 1 << 8 // vendors' elements: nothing of Matter's own may follow
			continue
		}
		tag := int(r.Tag().Number)
		if tag <= last {
			return fmt.Errorf("tag %d is out of order", tag)
		}
		last = tag
		if err := read(uint8(tag), &r); err != nil {
			return err
		}
	}
	return r.Err()
}

func exactly(r *tlv.Reader, n int) ([]byte, error) {
	b, err := r.Bytes()
	if err == nil && len(b) != n {
		err = fmt.Errorf("%d octets where %d belong", len(b), n)
	}
	return b, err
}

// elements checks that the answer is to our question and by the DAC's key.
func (c *checker) elements() {
	if c.dac != nil && !signedByDAC(c.dac, c.Evidence.Elements, c.Challenge, c.Signature) {
		c.refuse(ElementsSignature, "")
	}
	e, err := ParseElements(c.Evidence.Elements)
	if err != nil {
		c.refuse(ElementsMalformed, "%v", err)
		return
	}
	c.Verdict.Elements = e
	c.cd = e.Declaration
	if len(c.Nonce) != nonceLength || !bytes.Equal(e.Nonce, c.Nonce) {
		c.refuse(ElementsNonce, "")
	}
}

// signedByDAC verifies a signature over elements and the session's challenge.
func signedByDAC(dac *Certificate, elements, challenge, signature []byte) bool {
	key, err := dac.PublicKey.Key()
	if err != nil || len(signature) != len(cert.Signature{}) || len(challenge) == 0 {
		return false
	}
	message := append(bytes.Clone(elements), challenge...)
	return cert.Signature(signature).Verify(key, message)
}

// VerifyNOCSR reads a device's answer to a CSR request: NOCSR elements, and
// their signature by the DAC's key over them and the session's challenge. The
// result is the device's new operational public key, for which the request it
// contains was verified too. The error is a Reason.
func VerifyNOCSR(dac *Certificate, elements, signature, challenge, nonce []byte) (cert.PublicKey, error) {
	var csr, got []byte
	err := fields(elements, func(tag uint8, r *tlv.Reader) (err error) {
		switch {
		case tag == tagCSR:
			csr, err = r.Bytes()
		case tag == tagCSRNonce:
			got, err = exactly(r, nonceLength)
		case tag <= lastCSRReserved: // vendors' own
			_, err = r.Bytes()
		default:
			err = fmt.Errorf("tag %d", tag)
		}
		return err
	})
	if err == nil && (csr == nil || got == nil) {
		err = errors.New("an element is missing")
	}
	if err != nil {
		return cert.PublicKey{}, newReason(CSRMalformed, "%v", err)
	}
	if len(nonce) != nonceLength || !bytes.Equal(got, nonce) {
		return cert.PublicKey{}, newReason(CSRNonce, "")
	}
	if !signedByDAC(dac, elements, challenge, signature) {
		return cert.PublicKey{}, newReason(CSRSignature, "")
	}
	key, err := cert.ParseRequest(csr)
	if err != nil {
		return cert.PublicKey{}, newReason(CSRMalformed, "%v", err)
	}
	return key, nil
}
