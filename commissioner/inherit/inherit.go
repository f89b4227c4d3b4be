// Package inherit reads the storage of Home Assistant's Matter servers,
// python-matter-server and matter.js's matter-server, so that a home can be
// founded on the fabric they hold: its root, its ids and its nodes stay.
//
// It promises to change nothing and to talk to nobody; that a root key it gives
// is that of the root certificate it gives, and a node's key was certified
// below that root; that whatever the files hold, it takes a bounded amount of
// memory; and that keys come out only in types that cannot be printed. What
// encoding/json made of them on the way is left to the garbage collector.
//
// Formats, from what the two servers write (python-matter-server 8.1,
// home-assistant-chip-core 2025.7, matter.js 0.17): chip.json and
// <compressed fabric id>.json; a folder for each server, with driver.json and
// the data, as a log with snapshots or a file for each value.
package inherit

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// Limits of ours.
const (
	maxFile    = 32 << 20 // octets of one file, decompressed
	maxFiles   = 100_000  // in one folder
	maxFabrics = 64
	maxNodes   = fabric.MaxDevices
)

// Source is what wrote a storage.
type Source string

const (
	Python   Source = "python-matter-server"
	Matterjs Source = "matter.js"
)

// Home is one fabric in a storage, with what its controller knew.
type Home struct {
	Source     Source
	Path       string // file or folder that the fabric was read from
	FabricID   cert.FabricID
	Compressed cert.CompressedFabricID
	VendorID   uint16 // of the controller, as devices were told
	Label      string
	Controller cert.NodeID // which devices' access lists name
	Root       []byte      // RCAC, TLV
	// RootKey is the zero value if the storage has none. Erase it.
	RootKey issuer.PrivateKey
	IPK     cert.EpochKey // the zero value if it is not known; erase it
	// Published says that the IPK is the one that is printed in the Matter
	// SDK's source.
	Published bool
	Nodes     []*Node // by id
	// Problems keep the home from being taken over, or some node with it.
	Problems []*Problem
}

// Node is a device of the fabric, as the controller knew it last. Counts are 0
// where the controller did not store them.
type Node struct {
	ID   cert.NodeID
	Name string // that a person gave it, else of the product
	fabric.Facts
	Paired time.Time // zero: not told
	Seen   time.Time // last; zero: not told
	// Serial, NOCHash and PublicKey are those of its certificate; nil where the
	// storage has none that its root vouches for.
	Serial    []byte
	NOCHash   []byte
	PublicKey []byte

	Fabrics  int // that the device is on, this one too
	Groups   int // group key sets that are mapped to groups
	Bindings int
	Access   int // entries of its access list but the controller's own
}

// Read is all fabrics that a storage holds. dir is the server's data folder, or
// a folder of one server in it. The error is a *Problem.
func Read(dir string) ([]*Home, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, problem(CodeNothing, err)
	case err != nil:
		return nil, problem(CodeUnreadable, err)
	case len(entries) > maxFiles:
		return nil, problem(CodeTooLarge, nil)
	}
	homes, err := readMatterjs(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() {
			below, err := readMatterjs(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			homes = append(homes, below...)
		}
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == chipFile }) {
		older, err := readChip(dir)
		if err != nil {
			return nil, err
		}
		// matter.js's server takes the file over once and goes its own way: what
		// it has is newer.
		for _, h := range older {
			if !slices.ContainsFunc(homes, func(newer *Home) bool { return newer.Compressed == h.Compressed }) {
				homes = append(homes, h)
			}
		}
	}
	switch {
	case len(homes) == 0:
		return nil, problem(CodeNothing, nil)
	case len(homes) > maxFabrics:
		return nil, problem(CodeTooLarge, nil)
	}
	slices.SortStableFunc(homes, func(a, b *Home) int { return cmp.Compare(a.Compressed, b.Compressed) })
	return homes, nil
}

// Choose is the fabric of a compressed id, or, with 0, the only one.
func Choose(homes []*Home, id cert.CompressedFabricID) (*Home, error) {
	if id == 0 && len(homes) == 1 {
		return homes[0], nil
	}
	for _, h := range homes {
		if h.Compressed == id {
			return h, nil
		}
	}
	if id == 0 {
		return nil, problem(CodeSeveral, nil)
	}
	return nil, problem(CodeNoFabric, nil)
}

// Usable is nil if a home can be founded on the fabric.
func (h *Home) Usable() error {
	for _, p := range h.Problems {
		if p.Fatal {
			return p
		}
	}
	return nil
}

// Erase overwrites what is secret.
func (h *Home) Erase() {
	h.RootKey.Erase()
	h.IPK.Erase()
}

// readFile is a file of at most maxFile octets.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, problem(CodeUnreadable, err)
	}
	defer f.Close()
	return readAll(f, path)
}
