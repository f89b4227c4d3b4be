package attest

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of attributes in DER.
const (
	oidCommonName = "\x06\x03\x55\x04\x03"
	oidVendorID   = "\x06\x0A\x2B\x06\x01\x04\x01\x82\xA2\x7C\x02\x01" // 1.3.6.1.4.1.37244.2.1
	oidProductID  = "\x06\x0A\x2B\x06\x01\x04\x01\x82\xA2\x7C\x02\x02"
)

// Specification constants: ids within a common name, 6.2.2.2.
const (
	vendorPrefix  = "Mvid:"
	productPrefix = "Mpid:"
	idDigits      = 4
	maxCommonName = 64 // octets; what follows is not looked at
)

// Name is a distinguished name in DER.
type Name []byte

// attribute is one attribute of a name.
type attribute struct {
	oid  string
	kind asn1.Tag
	text []byte
}

func (n Name) attributes() ([]attribute, error) {
	s := cryptobyte.String(n)
	var rdns cryptobyte.String
	if !s.ReadASN1(&rdns, asn1.SEQUENCE) || !s.Empty() {
		return nil, errors.New("malformed name")
	}
	var all []attribute
	for !rdns.Empty() {
		var set cryptobyte.String
		if !rdns.ReadASN1(&set, asn1.SET) || set.Empty() {
			return nil, errors.New("malformed name")
		}
		for !set.Empty() {
			var pair, oid, text cryptobyte.String
			var a attribute
			if !set.ReadASN1(&pair, asn1.SEQUENCE) || !pair.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) ||
				!pair.ReadAnyASN1(&text, &a.kind) || !pair.Empty() {
				return nil, errors.New("malformed name")
			}
			a.oid, a.text = string(oid), text
			all = append(all, a)
		}
	}
	return all, nil
}

// Equal reports whether n and o name the same: the same attributes in the same
// order, whatever the case of letters, the amount of white space and the type
// of string, as RFC 5280 compares names.
func (n Name) Equal(o Name) bool {
	if bytes.Equal(n, o) {
		return true
	}
	a, err := n.attributes()
	if err != nil {
		return false
	}
	b, err := o.attributes()
	if err != nil || len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].oid != b[i].oid || a[i].folded() != b[i].folded() {
			return false
		}
	}
	return true
}

// folded is what of an attribute counts when names are compared.
func (a attribute) folded() string {
	switch a.kind {
	case asn1.UTF8String, asn1.PrintableString, asn1.IA5String:
		return "s" + strings.ToLower(strings.Join(strings.Fields(string(a.text)), " "))
	}
	return string(byte(a.kind)) + string(a.text)
}

// ids are the vendor and product id in a subject: attributes of their own or,
// if it has neither, parts of its common name.
func (n Name) ids() (vendor, product ID, err error) {
	attributes, err := n.attributes()
	if err != nil {
		return vendor, product, err
	}
	var cnVendor, cnProduct ID
	for _, a := range attributes {
		switch a.oid {
		case oidVendorID:
			err = vendor.set(string(a.text))
		case oidProductID:
			err = product.set(string(a.text))
		case oidCommonName:
			if cnVendor.Present || cnProduct.Present {
				continue
			}
			cn := string(a.text[:min(len(a.text), maxCommonName)])
			if cnVendor, err = within(cn, vendorPrefix); err == nil {
				cnProduct, err = within(cn, productPrefix)
			}
		}
		if err != nil {
			return ID{}, ID{}, err
		}
	}
	if !vendor.Present && !product.Present {
		return cnVendor, cnProduct, nil
	}
	return vendor, product, nil
}

func (id *ID) set(text string) error {
	v, ok := upperHex(text)
	if id.Present || !ok || len(text) != idDigits {
		return errors.New("a vendor or product id comes twice or is malformed")
	}
	*id = ID{v, true}
	return nil
}

// within finds prefix and four upper case hexadecimal digits in a common name.
// The prefix without them, anywhere, is tolerated only if it also comes with
// them.
func within(cn, prefix string) (ID, error) {
	found := false
	for rest := cn; ; {
		_, after, ok := strings.Cut(rest, prefix)
		if !ok {
			break
		}
		found = true
		if len(after) >= idDigits {
			if v, ok := upperHex(after[:idDigits]); ok {
				return ID{v, true}, nil
			}
		}
		rest = after
	}
	if found {
		return ID{}, errors.New("a vendor or product id in the common name is malformed")
	}
	return ID{}, nil
}

func upperHex(s string) (uint16, bool) {
	if strings.Trim(s, "0123456789ABCDEF") != "" {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 16, 16)
	return uint16(v), err == nil
}
