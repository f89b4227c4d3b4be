package enroll

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"gatehouse/cluster/keyfile"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
	"gatehouse/fabric/tlv"
)

// maxDescription is the longest description, in octets: a sealing key takes
// 1216 of them, the texts 512.
const maxDescription = 4096

// purpose keeps a signature of here from meaning something elsewhere: the
// operational key signs for CASE and TLS, too.
const purpose = "gatehouse enrollment 1"

// description is what a box says of itself.
type description struct {
	Protocol  uint8          `tlv:"0"`
	Nonce     [32]byte       `tlv:"1"` // the asker's
	Version   uint8          `tlv:"2"` // newest of the trust state that it knows
	Node      cert.NodeID    `tlv:"3"` // of its own choice
	PublicKey cert.PublicKey `tlv:"4"` // operational
	SealKey   []byte         `tlv:"5"` // public
	Name      string         `tlv:"6"`
	Storage   string         `tlv:"7"` // where it keeps its keys
	Home      [32]byte       `tlv:"8"` // SHA-256 of the root it has joined under; zero: none
}

// signed is what the signature is over.
func signed(elements []byte, challenge [16]byte) []byte {
	b := append([]byte(purpose), elements...)
	return append(b, challenge[:]...)
}

// sign encodes the description and signs it for a session.
func (d *description) sign(random io.Reader, key keyfile.Signer, challenge [16]byte) (elements []byte, s cert.Signature, err error) {
	if elements, err = tlv.Marshal(d); err != nil {
		return nil, s, err
	}
	if len(elements) > maxDescription {
		return nil, s, fmt.Errorf("description of %d octets, at most %d", len(elements), maxDescription)
	}
	s, err = cert.SignMessage(random, key, signed(elements, challenge))
	return elements, s, err
}

// errVersion says that a box speaks another version of the protocol.
var errVersion = errors.New("it speaks another version of enrollment")

// errUnproved says that a description was not made for this session, or by
// nobody who has its key.
var errUnproved = errors.New("its keys are not proved in this session")

// parseDescription reads a description without believing it.
func parseDescription(elements []byte) (*description, error) {
	var first struct {
		Protocol uint8 `tlv:"0"`
	}
	if err := tlv.Unmarshal(elements, &first); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	if first.Protocol != protocol {
		return nil, fmt.Errorf("%w: %d, not %d", errVersion, first.Protocol, protocol)
	}
	d := new(description)
	if err := tlv.Unmarshal(elements, d); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	return d, nil
}

func (d *description) check() error {
	switch {
	case d.Version == 0:
		return errors.New("no version")
	case !d.Node.Operational():
		return fmt.Errorf("node id %v", d.Node)
	}
	for _, text := range []string{d.Name, d.Storage} {
		if len(text) > fabric.MaxText || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errors.New("a name that is too long, or cannot be printed")
		}
	}
	return nil
}

// verify parses a description and checks all it claims: the box has the
// operational key, it was asked just now over this session, and its sealing
// key is one. A sealing key that is none would keep the home from ever sealing
// anything again.
func verify(random io.Reader, elements []byte, s cert.Signature, nonce [32]byte, challenge [16]byte) (*description, error) {
	d, err := parseDescription(elements)
	if err != nil {
		return nil, err
	}
	key, err := d.PublicKey.Key()
	switch {
	case err != nil:
		return nil, fmt.Errorf("description: %w", err)
	case d.Nonce != nonce || !s.Verify(key, signed(elements, challenge)):
		return nil, errUnproved
	}
	trial, err := seal.RandomSecret(random)
	if err != nil {
		return nil, err
	}
	defer trial.Erase()
	if _, err := seal.Wrap(d.SealKey, purpose, trial); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	return d, nil
}

// reservation is what the home commits of it.
func (d *description) reservation() fabric.ReserveGateway {
	return fabric.ReserveGateway{Node: d.Node, Name: d.Name, PublicKey: d.PublicKey[:], SealKey: d.SealKey, Version: d.Version, Storage: d.Storage}
}
