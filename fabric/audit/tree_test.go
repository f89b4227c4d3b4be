package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// mth, path and subproof are RFC 6962, 2.1 to 2.1.2, word by word: another way
// than that of the package, and of tlog.
func mth(d [][]byte) Hash {
	switch len(d) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, d[0]...))
	}
	k := split(len(d))
	return pair(mth(d[:k]), mth(d[k:]))
}

func pair(a, b Hash) Hash { return sha256.Sum256(append(append([]byte{1}, a[:]...), b[:]...)) }

func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func path(m int, d [][]byte) []Hash {
	if len(d) == 1 {
		return nil
	}
	if k := split(len(d)); m < k {
		return append(path(m, d[:k]), mth(d[k:]))
	} else {
		return append(path(m-k, d[k:]), mth(d[:k]))
	}
}

func subproof(m int, d [][]byte, whole bool) []Hash {
	if m == len(d) {
		if whole {
			return nil
		}
		return []Hash{mth(d)}
	}
	if k := split(len(d)); m <= k {
		return append(subproof(m, d[:k], whole), mth(d[k:]))
	} else {
		return append(subproof(m-k, d[k:], false), mth(d[:k]))
	}
}

func lines(n int) (all [][]byte) {
	for i := range n {
		all = append(all, fmt.Appendf(nil, `{"index":%d}`, i))
	}
	return all
}

// TestTree holds trees, roots and proofs to the words of RFC 6962, whatever the
// size and however little of what was before is kept.
func TestTree(t *testing.T) {
	const most = 70
	all := lines(most)
	var trees []Tree
	for n := 0; n <= most; n++ {
		next := Tree{}
		if n > 0 {
			next = trees[n-1].Append(all[n-1])
		}
		if err := next.Check(); err != nil || next.Root() != mth(all[:n]) {
			t.Fatalf("the tree of %d records: root %v, not %v; %v", n, next.Root(), mth(all[:n]), err)
		}
		trees = append(trees, next)
	}
	if empty, err := tlog.TreeHash(0, &Leaves{}); err != nil || empty != trees[0].Root() {
		t.Errorf("the empty tree: %v, %v", empty, err)
	}
	for before := 0; before <= most; before += 9 {
		l := &Leaves{Before: trees[before]}
		for _, line := range all[before:] {
			l.Hashes = append(l.Hashes, tlog.RecordHash(line))
		}
		if !l.Tree().Same(trees[most]) {
			t.Fatalf("from %d: another tree", before)
		}
		for size := 1; size <= most; size++ {
			root, err := l.Root(uint64(size))
			if err == nil && root != mth(all[:size]) || err != nil && (size >= before || !errors.Is(err, ErrForgotten)) {
				t.Fatalf("from %d: root of %d: %v", before, size, err)
			}
			for n := 0; n < size; n++ {
				proof, err := l.ProveRecord(uint64(size), uint64(n))
				if err == nil {
					same(t, proof, path(n, all[:size]))
					err = CheckRecord(proof, uint64(size), trees[size].Root(), uint64(n), all[n])
				}
				if err != nil && (n >= before || !errors.Is(err, ErrForgotten)) {
					t.Fatalf("from %d: record %d of %d: %v", before, n, size, err)
				}
				if n == 0 {
					continue
				}
				proof, err = l.ProveTree(uint64(size), uint64(n))
				if err == nil {
					same(t, proof, subproof(n, all[:size], true))
					err = CheckTree(proof, uint64(size), trees[size].Root(), uint64(n), trees[n].Root())
				}
				if err != nil && (n >= before || !errors.Is(err, ErrForgotten)) {
					t.Fatalf("from %d: %d of %d: %v", before, n, size, err)
				}
			}
		}
	}
}

func same(t *testing.T, got, want []Hash) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("proof %v, not %v", got, want)
	}
}

// TestLies changes everything in turn that a proof rests on.
func TestLies(t *testing.T) {
	all := lines(21)
	l := &Leaves{}
	for _, line := range all {
		l.Hashes = append(l.Hashes, tlog.RecordHash(line))
	}
	root, err1 := l.Root(21)
	prefix, err2 := l.Root(11)
	record, err3 := l.ProveRecord(21, 7)
	tree, err4 := l.ProveTree(21, 11)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	other := root
	other[3] ^= 1
	for what, err := range map[string]error{
		"another record":       CheckRecord(record, 21, root, 7, all[8]),
		"another place":        CheckRecord(record, 21, root, 8, all[7]),
		"another size":         CheckRecord(record, 40, root, 7, all[7]),
		"another root":         CheckRecord(record, 21, other, 7, all[7]),
		"a shorter proof":      CheckRecord(record[1:], 21, root, 7, all[7]),
		"a record beyond":      CheckRecord(record, 21, root, 21, all[7]),
		"a huge size":          CheckRecord(record, 1<<63+5, root, 7, all[7]),
		"another prefix":       CheckTree(tree, 21, root, 11, other),
		"another prefix size":  CheckTree(tree, 21, root, 12, prefix),
		"another tree":         CheckTree(tree, 21, other, 11, prefix),
		"no prefix":            CheckTree(tree, 21, root, 0, prefix),
		"a prefix that is not": CheckTree(tree, 11, prefix, 21, root),
		"a huge prefix":        CheckTree(tree, 1<<63+5, root, 11, prefix),
	} {
		if err == nil {
			t.Errorf("%s: proved", what)
		}
	}
	for _, bad := range []Tree{{1, nil}, {0, make([]byte, 32)}, {3, make([]byte, 65)}, {1 << 60, make([]byte, 32)}} {
		if bad.Check() == nil {
			t.Errorf("%d with %d octets is a tree", bad.Size, len(bad.Edge))
		}
	}
}

// TestTreesAreValues holds that who appends to a tree changes no other.
func TestTreesAreValues(t *testing.T) {
	base := Tree{}
	for _, line := range lines(5) {
		base = base.Append(line)
	}
	root := base.Root()
	a, b := base.Append([]byte("a")), base.Append([]byte("b"))
	if base.Root() != root || a.Root() == b.Root() || a.Root() != base.Append([]byte("a")).Root() {
		t.Error("a tree changed")
	}
}
