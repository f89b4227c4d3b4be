// Package bdx transfers files over an exchange: the Bulk Data Exchange
// protocol (Matter Core 11.22), in both roles and with either side driving.
// It carries firmware images to devices and logs from them.
//
// It promises that a receiver gets the octets of the file in order, each once,
// never more than was announced and never fewer without an error; that no
// transfer needs more memory than one message; and that a peer which falls
// silent is given up. It never looks into a file, keeps nothing between
// transfers, and speaks to nobody outside of a secure session. Asynchronous
// transfers, which are provisional, it does not know.
package bdx

import (
	"fmt"
	"time"

	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel"
)

// Limits of ours.
const (
	// IdleTimeout is how long a peer may take over its next message, where
	// Options say nothing else. The specification grants those who fetch
	// firmware five minutes.
	IdleTimeout = 5 * time.Minute
	// MaxLength is the most octets that a receiver takes of a file whose
	// length nobody bounded.
	MaxLength = 256 << 20

	reportTimeout = 5 * time.Second // to get rid of a status report
)

// version of the protocol; there is no other yet.
const version = 0

// Opcodes of the protocol.
const (
	opSendInit           = 0x01
	opSendAccept         = 0x02
	opReceiveInit        = 0x04
	opReceiveAccept      = 0x05
	opBlockQuery         = 0x10
	opBlock              = 0x11
	opBlockEOF           = 0x12
	opBlockAck           = 0x13
	opBlockAckEOF        = 0x14
	opBlockQueryWithSkip = 0x15

	opStatusReport = 0x40 // of the secure channel protocol
)

// Drive says who sets the pace of a transfer, in the bits of the transfer
// control field. A proposal may have several, an agreement has one.
type Drive uint8

const (
	SenderDrive   Drive = 0x10 // the sender sends when it likes, the receiver acknowledges
	ReceiverDrive Drive = 0x20 // the receiver asks for each block
	async         Drive = 0x40
)

// Options are what both roles may be told. The zero value is a good one.
type Options struct {
	MaxBlock int           // most octets of data in a block; 0: as many as the session's messages hold
	Idle     time.Duration // how long the peer may take over a message; 0: IdleTimeout

	// Progress, if set, is told after each block how many octets from the
	// file's beginning are done, and where the transfer will end, 0 while
	// that is not known.
	Progress func(done, end uint64)
}

// Status is a status code of the protocol (Matter Core 11.22.3.1). It is an
// error, so that errors.Is finds it whichever side came up with it.
type Status uint16

const (
	LengthTooLarge             Status = 0x12
	LengthTooShort             Status = 0x13
	LengthMismatch             Status = 0x14
	LengthRequired             Status = 0x15
	BadMessageContents         Status = 0x16
	BadBlockCounter            Status = 0x17
	UnexpectedMessage          Status = 0x18
	ResponderBusy              Status = 0x19
	TransferFailedUnknownError Status = 0x1F
	TransferMethodNotSupported Status = 0x50
	FileDesignatorUnknown      Status = 0x51
	StartOffsetNotSupported    Status = 0x52
	VersionNotSupported        Status = 0x53
	Unknown                    Status = 0x5F
)

var statusNames = map[Status]string{
	LengthTooLarge: "length too large", LengthTooShort: "length too short", LengthMismatch: "length mismatch",
	LengthRequired: "length required", BadMessageContents: "bad message contents", BadBlockCounter: "bad block counter",
	UnexpectedMessage: "unexpected message", ResponderBusy: "responder busy", TransferFailedUnknownError: "transfer failed",
	TransferMethodNotSupported: "transfer method not supported", FileDesignatorUnknown: "file designator unknown",
	StartOffsetNotSupported: "start offset not supported", VersionNotSupported: "version not supported", Unknown: "unknown error",
}

func (s Status) Error() string {
	if name := statusNames[s]; name != "" {
		return name
	}
	return fmt.Sprintf("status %#02x", uint16(s))
}

// report is the body of the status report that tells the code.
func (s Status) report() []byte {
	return (&securechannel.Status{General: securechannel.Failure, Protocol: uint32(message.BDX), Code: uint16(s)}).Encode()
}

// Report is the status report with which the peer ended a transfer. As an
// error it wraps the peer's Status.
type Report struct{ securechannel.Status }

func (r *Report) Error() string {
	if s := r.Unwrap(); s != nil {
		return "the peer reports: " + s.Error()
	}
	return r.Status.Error()
}

func (r *Report) Unwrap() error {
	if r.Protocol != uint32(message.BDX) {
		return nil
	}
	return Status(r.Code)
}
