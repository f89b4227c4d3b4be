package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/raft"

	"gatehouse/cluster/durable"
)

// A snapshot file is
//
//	magic 8, length of head 4, head (CBOR), state, SHA-256 of all before 32
//
// named after its term and index, so that names sort like snapshots.
const (
	snapshotMagic  = "GHSNAP\x00\x01" // the last octet is the format
	snapshotSuffix = ".snapshot"
	snapshotHead   = len(snapshotMagic) + 4
	maxSnapshot    = 64 << 20 // octets of a state
	keepSnapshots  = 2
)

// head is what Raft wants to know of a snapshot.
type head struct {
	Index              uint64             `cbor:"0,keyasint"`
	Term               uint64             `cbor:"1,keyasint"`
	Configuration      raft.Configuration `cbor:"2,keyasint"`
	ConfigurationIndex uint64             `cbor:"3,keyasint"`
}

func (h head) name() string { return fmt.Sprintf("%016x-%016x%s", h.Term, h.Index, snapshotSuffix) }

func encodeSnapshot(h head, state []byte) ([]byte, error) {
	encoded, err := cbor.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32([]byte(snapshotMagic), uint32(len(encoded)))
	b = append(append(b, encoded...), state...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// decodeSnapshot reads a snapshot file. The state is a part of b.
func decodeSnapshot(b []byte) (h head, state []byte, err error) {
	format := len(snapshotMagic) - 1
	switch {
	case len(b) < snapshotHead+sha256.Size || string(b[:format]) != snapshotMagic[:format]:
		return h, nil, errors.New("this is no snapshot")
	case b[format] != snapshotMagic[format]:
		return h, nil, fmt.Errorf("the snapshot is of format %d, this release reads %d", b[format], snapshotMagic[format])
	}
	body := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[len(body):]) {
		return h, nil, errors.New("the snapshot is damaged")
	}
	length, rest := uint64(binary.BigEndian.Uint32(body[len(snapshotMagic):])), body[snapshotHead:]
	if length > uint64(len(rest)) {
		return h, nil, errors.New("the snapshot's head is longer than the snapshot")
	}
	if err := cbor.Unmarshal(rest[:length], &h); err != nil {
		return h, nil, fmt.Errorf("the snapshot's head: %w", err)
	}
	return h, rest[length:], nil
}

// snapshotFiles are the names of the snapshots, newest first.
func snapshotFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, snapshotsDir))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), snapshotSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

func readSnapshot(dir, name string) (h head, state []byte, err error) {
	path := filepath.Join(dir, snapshotsDir, name)
	info, err := os.Stat(path)
	if err != nil {
		return h, nil, err
	}
	var b []byte
	if info.Size() <= 2*maxSnapshot {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return h, nil, err
	}
	if h, state, err = decodeSnapshot(b); err == nil && h.name() != name {
		err = fmt.Errorf("it is %s by its contents", h.name())
	}
	if err != nil {
		return h, nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, state, nil
}

// List is the newest snapshot alone: were there more, Raft would take the next
// one without a word when the newest is damaged.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	names, err := snapshotFiles(s.cfg.Dir)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	h, state, err := readSnapshot(s.cfg.Dir, names[0])
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{h.meta(len(state))}, nil
}

func (h head) meta(size int) *raft.SnapshotMeta {
	return &raft.SnapshotMeta{Version: 1, ID: h.name(), Index: h.Index, Term: h.Term, Configuration: h.Configuration,
		ConfigurationIndex: h.ConfigurationIndex, Size: int64(size)}
}

// Open reads a snapshot.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	h, state, err := readSnapshot(s.cfg.Dir, filepath.Base(id))
	if err != nil {
		return nil, nil, err
	}
	return h.meta(len(state)), io.NopCloser(bytes.NewReader(state)), nil
}

// Create begins a snapshot.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("a snapshot of version %d", version)
	}
	return &sink{store: s, head: head{index, term, configuration, configurationIndex}}, s.broken()
}

// sink gathers a snapshot in memory: it is of a size that the state itself
// has there.
type sink struct {
	store *Store
	head  head
	state bytes.Buffer
	done  bool
}

func (k *sink) ID() string { return k.head.name() }

func (k *sink) Write(b []byte) (int, error) {
	if k.state.Len()+len(b) > maxSnapshot {
		return 0, fmt.Errorf("a snapshot of more than %d octets", maxSnapshot)
	}
	return k.state.Write(b)
}

func (k *sink) Cancel() error {
	k.done = true
	return nil
}

// Close puts the snapshot on the disk.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	if err := k.store.broken(); err != nil {
		return err
	}
	b, err := encodeSnapshot(k.head, k.state.Bytes())
	if err != nil {
		return err
	}
	if err := k.store.writeSnapshot(k.head.name(), b); err != nil {
		return k.store.fail(err)
	}
	return nil
}

func (s *Store) writeSnapshot(name string, b []byte) error {
	s.snapshots.Lock() // one may arrive while another is being made
	defer s.snapshots.Unlock()
	dir := filepath.Join(s.cfg.Dir, snapshotsDir)
	if err := durable.WriteFile(s.step, filepath.Join(dir, name), b); err != nil {
		return err
	}
	names, err := snapshotFiles(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, old := range names[min(keepSnapshots, len(names)):] {
		if err := durable.Remove(s.step, filepath.Join(dir, old)); err != nil {
			return err
		}
	}
	return nil
}
