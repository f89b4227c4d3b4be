package cert

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Specification constants: Matter Core 2.5.5 and 6.6.2.1.
const (
	maxOperationalNode NodeID = 0xFFFF_FFEF_FFFF_FFFF
	catNodeBase        NodeID = 0xFFFF_FFFD_0000_0000 // a CAT written as an ACL subject
	maxCATs                   = 3                     // in one NOC
)

// NodeID is the identity of a device on a fabric.
type NodeID uint64

// Operational reports whether a node may have this id: it is neither 0 nor in
// the ranges kept for groups, CATs and sessions.
func (n NodeID) Operational() bool { return n != 0 && n <= maxOperationalNode }

// CAT is the tag of an ACL subject that stands for one; ok is false for a
// node's own id.
func (n NodeID) CAT() (c CAT, ok bool) {
	c = CAT(n)
	return c, n&^0xFFFF_FFFF == catNodeBase && c.Valid()
}

func (n NodeID) String() string { return fmt.Sprintf("%016X", uint64(n)) }

// FabricID is the number of a fabric; it is unique only together with the
// root's public key.
type FabricID uint64

// Valid reports whether a fabric may have this id.
func (f FabricID) Valid() bool { return f != 0 }

func (f FabricID) String() string { return fmt.Sprintf("%016X", uint64(f)) }

// CompressedFabricID names a fabric where 64 bits must do: in DNS-SD instance
// names and as salt.
type CompressedFabricID uint64

func (f CompressedFabricID) String() string { return fmt.Sprintf("%016X", uint64(f)) }

// Bytes is f big-endian.
func (f CompressedFabricID) Bytes() []byte { return binary.BigEndian.AppendUint64(nil, uint64(f)) }

// CompressFabric derives the compressed id of the fabric f under a root
// (Matter Core 4.3.2.2).
func CompressFabric(root PublicKey, f FabricID) CompressedFabricID {
	salt := binary.BigEndian.AppendUint64(nil, uint64(f))
	id, err := hkdf.Key(sha256.New, root[1:], salt, "CompressedFabric", 8)
	if err != nil {
		panic(err) // only for more output than HKDF can give
	}
	return CompressedFabricID(binary.BigEndian.Uint64(id))
}

// CAT is a CASE authenticated tag: a group a node belongs to (upper 16 bits)
// and the version of that membership (lower 16 bits, never 0).
type CAT uint32

// NewCAT is the tag of a group at a version.
func NewCAT(group, version uint16) CAT { return CAT(group)<<16 | CAT(version) }

func (c CAT) Group() uint16   { return uint16(c >> 16) }
func (c CAT) Version() uint16 { return uint16(c) }
func (c CAT) Valid() bool     { return c.Version() != 0 }

// Satisfies reports whether a NOC that carries c meets an ACL subject that
// asks for want: same group, same version or newer.
func (c CAT) Satisfies(want CAT) bool {
	return c.Valid() && want.Valid() && c.Group() == want.Group() && c.Version() >= want.Version()
}

// Subject is the tag as an ACL subject.
func (c CAT) Subject() NodeID { return catNodeBase | NodeID(c) }

func (c CAT) String() string { return fmt.Sprintf("%04Xv%d", c.Group(), c.Version()) }

// CheckCATs holds cats against the rules for one NOC: at most three, valid,
// each group once.
func CheckCATs(cats []CAT) error {
	if len(cats) > maxCATs {
		return fmt.Errorf("%d CATs", len(cats))
	}
	for i, c := range cats {
		if !c.Valid() {
			return errors.New("a CAT of version 0")
		}
		if slices.ContainsFunc(cats[:i], func(d CAT) bool { return d.Group() == c.Group() }) {
			return fmt.Errorf("two CATs of group %04X", c.Group())
		}
	}
	return nil
}
