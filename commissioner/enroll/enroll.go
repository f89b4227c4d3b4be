// Package enroll makes a fresh gateway box a member of a home, by the ceremony
// that admits a device: the box shows a setup code, somebody gives it to a
// member, and over the PASE session that the code opens the box describes
// itself, the home commits its certificate, and the box takes its membership.
// Candidate is the box's side, Member the home's.
//
// It promises the home that the keys it certifies were shown inside this very
// session, signed by the key to be certified over a nonce of the member's and
// the session's attestation challenge; and the box that it joins one home,
// whose chain it verified, and says so only once that is on its disk. Every
// step may be cut off: what was committed is used again when the same box is
// admitted again. No secret passes but the passcode, and that only through
// PASE; nothing here logs or keeps it.
//
// The box is not a Matter device. It serves Basic Information, so that whoever
// pairs it as one can tell what it is, and one cluster of ours on endpoint 0,
// GatewayEnrollment. What is longer than a message goes in parts:
//
//	Describe{nonce} → Described{size, signature}   then Read{offset} → Part{octets}
//	Write{offset, octets}                          then Join{} → Joined{status, text}
//	Complete{}                                     the box may stop listening
//
// The description and the membership are each one TLV structure. There is no
// certificate request: the signature over the description proves possession of
// the key that stands in it, and when.
//
// Matter Core, 5.1 (codes), 4.14.1 (PASE), 7.19 (manufacturer's extensions).
package enroll

import (
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
)

// What a box's code and advertisement name, so that a member tells it from a
// device before it talks to it. The vendor is one of those kept for tests:
// Gatehouse has none of its own.
const (
	VendorID    uint16 = 0xFFF1
	ProductID   uint16 = 0x6A7E
	ProductName        = "Gatehouse gateway"
)

// GatewayEnrollment is the cluster that a box serves.
const (
	GatewayEnrollment                       = interaction.ClusterID(0xFFF1_FC01)
	describeID        interaction.CommandID = 0
	describedID       interaction.CommandID = 1
	readID            interaction.CommandID = 2
	partID            interaction.CommandID = 3
	writeID           interaction.CommandID = 4
	joinID            interaction.CommandID = 5
	joinedID          interaction.CommandID = 6
	completeID        interaction.CommandID = 7
)

// protocol is the version of all this. One that understands a later one would
// be told by the first field of the description.
const protocol = 1

// partSize is what fits into one message of the smallest link with all that is
// around it, in octets.
const partSize = 1024

func command(id interaction.CommandID) interaction.CommandPath {
	return interaction.Command(datamodel.RootEndpoint, GatewayEnrollment, id)
}

type describe struct {
	Nonce [32]byte `tlv:"0"`
}

type described struct {
	Size      uint16   `tlv:"0"` // of the description
	Signature [64]byte `tlv:"1"`
}

type read struct {
	Offset uint16 `tlv:"0"`
}

type part struct {
	Octets []byte `tlv:"0"`
}

// write puts octets behind those that came before; at offset 0, it begins.
type write struct {
	Offset uint16 `tlv:"0"`
	Octets []byte `tlv:"1"`
}

type join struct{}

type complete struct{}

type joined struct {
	Status joinStatus `tlv:"0"`
	Text   string     `tlv:"1"`
}

// joinStatus is what the box says of a membership.
type joinStatus uint8

const (
	joinOK        joinStatus = 0
	joinMalformed joinStatus = 1 // no membership, or not this box's
	joinElsewhere joinStatus = 2 // it is a member of a home, by another certificate
	joinFailed    joinStatus = 3 // it could not keep it; it may be told again
)
