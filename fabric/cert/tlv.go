package cert

import (
	"errors"
	"fmt"

	"gatehouse/fabric/tlv"
)

// Specification constants: tags of a certificate in TLV, 6.5.2, and the only
// algorithms there are.
const (
	tagSerial     = 1
	tagSigAlgo    = 2
	tagIssuer     = 3
	tagNotBefore  = 4
	tagNotAfter   = 5
	tagSubject    = 6
	tagKeyAlgo    = 7
	tagCurve      = 8
	tagPublicKey  = 9
	tagExtensions = 10
	tagSignature  = 11

	tagIsCA    = 1
	tagPathLen = 2

	ecdsaWithSHA256 = 1
	ecPublicKey     = 1
	prime256v1      = 1
)

// Parse reads a certificate in TLV. It keeps nothing of b.
func Parse(b []byte) (*Certificate, error) {
	if len(b) > MaxTLV {
		return nil, fmt.Errorf("certificate of %d octets, at most %d", len(b), MaxTLV)
	}
	c, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func parse(b []byte) (*Certificate, error) {
	r := tlv.NewReader(b)
	if !r.Next() || r.Type() != tlv.TypeStruct || r.Tag() != tlv.Anonymous {
		return nil, errors.Join(errors.New("not a struct"), r.Err())
	}
	if err := r.Enter(); err != nil {
		return nil, err
	}
	c := new(Certificate)
	for tag := uint8(tagSerial); tag <= tagSignature; tag++ {
		if !r.Next() || !r.Tag().IsContext(tag) {
			return nil, errors.Join(fmt.Errorf("tag %d is missing", tag), r.Err())
		}
		if err := c.readField(tag, &r); err != nil {
			return nil, fmt.Errorf("tag %d: %w", tag, err)
		}
	}
	if r.Next() {
		return nil, fmt.Errorf("tag %v behind the signature", r.Tag())
	}
	if err := r.Exit(); err != nil {
		return nil, err
	}
	if len(r.Rest()) != 0 {
		return nil, fmt.Errorf("%d octets behind it", len(r.Rest()))
	}
	return c, c.validate()
}

func (c *Certificate) readField(tag uint8, r *tlv.Reader) (err error) {
	switch tag {
	case tagSerial:
		var b []byte
		b, err = r.Bytes()
		c.Serial = append([]byte(nil), b...)
	case tagSigAlgo:
		return only(r, ecdsaWithSHA256)
	case tagIssuer:
		return inside(r, tlv.TypeList, func() (err error) { c.Issuer, err = readNameTLV(r); return err })
	case tagNotBefore:
		c.NotBefore, err = readTime(r)
	case tagNotAfter:
		c.NotAfter, err = readTime(r)
	case tagSubject:
		return inside(r, tlv.TypeList, func() (err error) { c.Subject, err = readNameTLV(r); return err })
	case tagKeyAlgo:
		return only(r, ecPublicKey)
	case tagCurve:
		return only(r, prime256v1)
	case tagPublicKey:
		return fixed(r, c.PublicKey[:])
	case tagExtensions:
		return inside(r, tlv.TypeList, func() error { return c.Extensions.readTLV(r) })
	case tagSignature:
		return fixed(r, c.Signature[:])
	}
	return err
}

func (x *Extensions) readTLV(r *tlv.Reader) error {
	for r.Next() {
		if r.Tag().Form != tlv.FormContext {
			return fmt.Errorf("tag %v among the extensions", r.Tag())
		}
		k := ExtensionKind(r.Tag().Number)
		if k != ExtFuture && x.Has(k) {
			return fmt.Errorf("extension %d twice", k)
		}
		x.Order = append(x.Order, k)
		if err := x.readOne(k, r); err != nil {
			return fmt.Errorf("extension %d: %w", k, err)
		}
	}
	return r.Err()
}

func (x *Extensions) readOne(k ExtensionKind, r *tlv.Reader) error {
	switch k {
	case ExtBasicConstraints:
		return inside(r, tlv.TypeStruct, func() error { return x.readBasic(r) })
	case ExtKeyUsage:
		n, err := bounded(r, uint64(allUsages))
		x.KeyUsage = KeyUsage(n)
		return err
	case ExtKeyPurposes:
		return inside(r, tlv.TypeArray, func() error {
			for r.Next() {
				n, err := bounded(r, uint64(len(purposeOIDs)-1))
				if err != nil {
					return err
				}
				x.KeyPurposes = append(x.KeyPurposes, KeyPurpose(n))
			}
			return r.Err()
		})
	case ExtSubjectKeyID:
		return fixed(r, x.SubjectKeyID[:])
	case ExtAuthorityKeyID:
		return fixed(r, x.AuthorityKeyID[:])
	case ExtFuture:
		b, err := r.Bytes()
		x.Future = append(x.Future, append([]byte(nil), b...))
		return err
	}
	return errors.New("unknown")
}

func (x *Extensions) readBasic(r *tlv.Reader) (err error) {
	if !r.Next() || !r.Tag().IsContext(tagIsCA) {
		return errors.Join(errors.New("does not say whether it is a CA"), r.Err())
	}
	if x.IsCA, err = r.Bool(); err != nil {
		return err
	}
	if r.Next() {
		if !r.Tag().IsContext(tagPathLen) {
			return fmt.Errorf("tag %v", r.Tag())
		}
		n, err := bounded(r, maxPathLen)
		if err != nil {
			return err
		}
		x.PathLen, x.HasPathLen = int(n), true
	}
	if r.Next() {
		return fmt.Errorf("tag %v", r.Tag())
	}
	return r.Err()
}

// TLV is c in TLV.
func (c *Certificate) TLV() []byte {
	w := tlv.NewWriter(make([]byte, 0, MaxTLV))
	w.Struct(tlv.Anonymous)
	w.Octets(tlv.Context(tagSerial), c.Serial)
	w.Uint(tlv.Context(tagSigAlgo), ecdsaWithSHA256)
	c.Issuer.writeTLV(&w, tagIssuer)
	w.Uint(tlv.Context(tagNotBefore), uint64(c.NotBefore))
	w.Uint(tlv.Context(tagNotAfter), uint64(c.NotAfter))
	c.Subject.writeTLV(&w, tagSubject)
	w.Uint(tlv.Context(tagKeyAlgo), ecPublicKey)
	w.Uint(tlv.Context(tagCurve), prime256v1)
	w.Octets(tlv.Context(tagPublicKey), c.PublicKey[:])
	w.List(tlv.Context(tagExtensions))
	c.Extensions.writeTLV(&w)
	w.End()
	w.Octets(tlv.Context(tagSignature), c.Signature[:])
	w.End()
	return w.Bytes()
}

func (x *Extensions) writeTLV(w *tlv.Writer) {
	future := x.Future
	for _, k := range x.Order {
		tag := tlv.Context(uint8(k))
		switch k {
		case ExtBasicConstraints:
			w.Struct(tag)
			w.Bool(tlv.Context(tagIsCA), x.IsCA)
			if x.HasPathLen {
				w.Uint(tlv.Context(tagPathLen), uint64(x.PathLen))
			}
			w.End()
		case ExtKeyUsage:
			w.Uint(tag, uint64(x.KeyUsage))
		case ExtKeyPurposes:
			w.Array(tag)
			for _, p := range x.KeyPurposes {
				w.Uint(tlv.Anonymous, uint64(p))
			}
			w.End()
		case ExtSubjectKeyID:
			w.Octets(tag, x.SubjectKeyID[:])
		case ExtAuthorityKeyID:
			w.Octets(tag, x.AuthorityKeyID[:])
		case ExtFuture:
			w.Octets(tag, future[0])
			future = future[1:]
		}
	}
}

// inside runs f in the current container, which must be of type t.
func inside(r *tlv.Reader, t tlv.Type, f func() error) error {
	if r.Type() != t {
		return fmt.Errorf("a %v where a %v belongs", r.Type(), t)
	}
	if err := r.Enter(); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return r.Exit()
}

func unsigned(r *tlv.Reader) (uint64, error) {
	if r.Type() != tlv.TypeUint {
		return 0, fmt.Errorf("a %v where an unsigned integer belongs", r.Type())
	}
	return r.Uint()
}

func bounded(r *tlv.Reader, limit uint64) (uint64, error) {
	n, err := unsigned(r)
	if err == nil && n > limit {
		err = fmt.Errorf("%d is more than %d", n, limit)
	}
	return n, err
}

func only(r *tlv.Reader, want uint64) error {
	n, err := unsigned(r)
	if err == nil && n != want {
		err = fmt.Errorf("algorithm %d", n)
	}
	return err
}

func readTime(r *tlv.Reader) (Time, error) {
	n, err := bounded(r, 1<<32-1)
	return Time(n), err
}

func fixed(r *tlv.Reader, to []byte) error {
	b, err := r.Bytes()
	if err == nil && len(b) != len(to) {
		err = fmt.Errorf("%d octets where %d belong", len(b), len(to))
	}
	copy(to, b)
	return err
}
