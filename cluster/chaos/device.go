package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"gatehouse/fabric/cert"
)

// FailSafe is how long a device keeps what it was given in a pairing that
// nobody completes.
const FailSafe = time.Minute

// Device is a simulated one. It remembers every certificate it ever got.
type Device struct {
	node  cert.NodeID
	key   cert.PublicKey
	now   func() time.Time
	armed time.Time

	mu        sync.Mutex
	nocs      [][]byte
	complete  bool
	completed time.Time
}

// Node is who the device was to be.
func (d *Device) Node() cert.NodeID { return d.node }

var errRolledBack = errors.New("the device has rolled back")

// Take gives the device a certificate.
func (d *Device) Take(noc []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expired() {
		return errRolledBack
	}
	d.nocs = append(d.nocs, slices.Clone(noc))
	return nil
}

// Complete ends the fail-safe: from now on the device is on the fabric. Again
// is no harm.
func (d *Device) Complete() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expired() || len(d.nocs) == 0 {
		return errRolledBack
	}
	if !d.complete {
		d.complete, d.completed = true, d.now()
	}
	return nil
}

func (d *Device) expired() bool { return !d.complete && d.now().Sub(d.armed) >= FailSafe }

// Completed reports whether the device is on the fabric.
func (d *Device) Completed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.complete
}

// NOCs are all certificates it ever got.
func (d *Device) NOCs() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.nocs)
}

func hashOf(noc []byte) string {
	sum := sha256.Sum256(noc)
	return hex.EncodeToString(sum[:])
}
