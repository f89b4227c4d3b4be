// Package audit is a record of everything that was decided, which can be added
// to and not changed unseen: a Merkle tree (RFC 6962) over records of one line
// each, and checkpoints that name the tree in a signed note (c2sp.org/signed-note,
// c2sp.org/tlog-checkpoint).
//
// It promises that a record, and what a Tree makes of it, are the same octets on
// every gateway and in every release, and that two trees of one size with the
// same root hold the same records. It reads no clock and no disk, and it puts
// nothing into a record but what it is given: that there is no secret in one is
// its caller's promise.
package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxSize is how many records a tree can have: tlog numbers its nodes in 63 bits.
const MaxSize = 1 << 48

// Hash is of a record, or of two hashes.
type Hash = tlog.Hash

// Tree is all that is needed of a tree to add to it, and to know its root: the
// hashes of the complete trees it falls into, the largest first. It is a
// value: Append gives another.
type Tree struct {
	Size uint64 `cbor:"0,keyasint"` // records
	Edge []byte `cbor:"1,keyasint"` // hashes of 32 octets, one for each bit that is set in Size
}

// Append is the tree with one record more.
func (t Tree) Append(record []byte) Tree { return t.AppendHash(tlog.RecordHash(record)) }

// AppendHash is Append of a record's hash.
func (t Tree) AppendHash(h Hash) Tree {
	full := bits.TrailingZeros64(^t.Size) // complete trees that the record makes one of
	kept := len(t.Edge) - full*tlog.HashSize
	for i := range full {
		h = tlog.NodeHash(t.hash(bits.OnesCount64(t.Size)-1-i), h)
	}
	edge := make([]byte, 0, kept+tlog.HashSize)
	return Tree{t.Size + 1, append(append(edge, t.Edge[:kept]...), h[:]...)}
}

// hash is the nth of the edge.
func (t Tree) hash(n int) Hash { return Hash(t.Edge[n*tlog.HashSize:][:tlog.HashSize]) }

// Root names the tree and all its records.
func (t Tree) Root() Hash {
	n := bits.OnesCount64(t.Size)
	if n == 0 {
		return sha256.Sum256(nil)
	}
	root := t.hash(n - 1)
	for i := n - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.hash(i), root)
	}
	return root
}

// Check reports what keeps it from being a tree at all.
func (t Tree) Check() error {
	if t.Size > MaxSize || len(t.Edge) != bits.OnesCount64(t.Size)*tlog.HashSize {
		return fmt.Errorf("%d octets of hashes do not make a tree of %d records", len(t.Edge), t.Size)
	}
	return nil
}

// Same reports whether two trees hold the same records.
func (t Tree) Same(o Tree) bool { return t.Size == o.Size && string(t.Edge) == string(o.Edge) }

// ErrForgotten says that a hash is within what is known by a Tree alone.
var ErrForgotten = errors.New("the records that this takes are no longer kept")

// Leaves are the records that follow a tree, by their hashes: what a proof is
// made of. They are a tlog.HashReader.
type Leaves struct {
	Before Tree
	Hashes []Hash
}

// Tree is the tree of all of them.
func (l *Leaves) Tree() Tree { return l.at(l.size()) }

func (l *Leaves) size() uint64 { return l.Before.Size + uint64(len(l.Hashes)) }

// at is the tree of the first records.
func (l *Leaves) at(size uint64) Tree {
	t := l.Before
	for _, h := range l.Hashes[:size-l.Before.Size] {
		t = t.AppendHash(h)
	}
	return t
}

// ReadHashes gives nodes of the tree by tlog's numbers.
func (l *Leaves) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		var err error
		if hashes[i], err = l.node(level, uint64(n)); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// node is the hash of the complete tree of records n<<level to (n+1)<<level.
func (l *Leaves) node(level int, n uint64) (Hash, error) {
	first, next := n<<level, (n+1)<<level
	switch {
	case next > l.size():
		return Hash{}, fmt.Errorf("the tree of %d records has no record %d", l.size(), next-1)
	case level == 0 && first >= l.Before.Size:
		return l.Hashes[first-l.Before.Size], nil
	case next <= l.Before.Size:
		// It lies within one tree of the edge, or is one.
		if l.Before.Size&(1<<level) == 0 || l.Before.Size>>level<<level != next {
			return Hash{}, fmt.Errorf("records %d to %d: %w", first, next-1, ErrForgotten)
		}
		return l.Before.hash(bits.OnesCount64(l.Before.Size >> (level + 1))), nil
	}
	left, err1 := l.node(level-1, 2*n)
	right, err2 := l.node(level-1, 2*n+1)
	return tlog.NodeHash(left, right), errors.Join(err1, err2)
}

// ProveRecord proves to who knows the root of the first size records that
// record n is among them.
func (l *Leaves) ProveRecord(size, n uint64) ([]Hash, error) {
	if err := l.covers(size, n); err != nil {
		return nil, err
	}
	return tlog.ProveRecord(int64(size), int64(n), l)
}

// ProveTree proves to who knows the roots of the first size and of the first n
// records that the one begins with the other. n must not be 0.
func (l *Leaves) ProveTree(size, n uint64) ([]Hash, error) {
	if err := l.covers(size, n-1); err != nil {
		return nil, err
	}
	return tlog.ProveTree(int64(size), int64(n), l)
}

func (l *Leaves) covers(size, n uint64) error {
	if n >= size || size > l.size() {
		return fmt.Errorf("there is no record %d among the first %d of %d", n, size, l.size())
	}
	return nil
}

// Root is that of the first size records.
func (l *Leaves) Root(size uint64) (Hash, error) {
	if size > l.size() {
		return Hash{}, fmt.Errorf("there are %d records, not %d", l.size(), size)
	}
	return tlog.TreeHash(int64(size), l)
}

// CheckRecord verifies what ProveRecord made: that a record is the nth, from 0,
// of the first size.
func CheckRecord(proof []Hash, size uint64, root Hash, n uint64, record []byte) error {
	if size > MaxSize || n >= size {
		return fmt.Errorf("there is no record %d among %d", n, size)
	}
	return tlog.CheckRecord(proof, int64(size), root, int64(n), tlog.RecordHash(record))
}

// CheckTree verifies what ProveTree made.
func CheckTree(proof []Hash, size uint64, root Hash, n uint64, prefix Hash) error {
	if size > MaxSize || n > size || n == 0 {
		return fmt.Errorf("%d records do not begin with %d", size, n)
	}
	return tlog.CheckTree(proof, int64(size), root, int64(n), prefix)
}
