package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
)

// The layout of bbolt's file, version 2, in the octet order of the machine:
//
//	page    id 8, kind 2, count 2, further pages that belong to it 4
//	branch  count × (position 4, length of key 4, page 8)
//	leaf    count × (flags 4, position 4, length of key 4, of value 4); a bucket's value begins with its root page 8, sequence 8
//	meta    magic 4, version 4, page size 4, flags 4, root page 8, sequence 8,
//	        free list's page 8, pages 8, transaction 8, FNV-1a 8
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	pageHead    = 16
	elementSize = 16
	metaSum     = 56 // position in the meta
	metaSize    = 64
	branchPage  = 0x01
	leafPage    = 0x02
	freePage    = 0x10
	bucketFlag  = 0x01
	bucketHead  = 16
	manyFree    = 0xFFFF // more pages are free than count can tell
)

var octets = binary.NativeEndian

// pages are those of a database, as they are on the disk.
type pages struct {
	file []byte
	size int             // of a page
	high uint64          // pages that are there
	seen map[uint64]bool // those that are part of the tree, or of the free list
}

// checkPages verifies that the pages of a database make a tree. bbolt follows
// them wherever they lead: in a circle it would go on until no memory is left,
// or its stack overflows, and nobody can catch that. What it finds by itself is
// left to it.
func checkPages(path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	meta := newestMeta(file)
	if meta == nil {
		return nil
	}
	p := &pages{file: file, size: int(octets.Uint32(meta[8:])), seen: map[uint64]bool{}}
	p.high = min(octets.Uint64(meta[40:]), uint64(len(file)/p.size))
	if err := p.bucket(octets.Uint64(meta[16:])); err != nil {
		return err
	}
	return p.free(octets.Uint64(meta[32:]))
}

// newestMeta is the meta that bbolt takes, nil if there is none that it can.
func newestMeta(file []byte) (newest []byte) {
	for size := 1024; size <= 1024<<14; size *= 2 {
		for _, at := range []int{pageHead, size + pageHead} {
			if len(file) < at+metaSize {
				continue
			}
			m := file[at : at+metaSize]
			sum := fnv.New64a()
			sum.Write(m[:metaSum])
			if octets.Uint32(m) == boltMagic && octets.Uint32(m[4:]) == boltVersion && octets.Uint32(m[8:]) == uint32(size) &&
				octets.Uint64(m[metaSum:]) == sum.Sum64() && (newest == nil || octets.Uint64(m[48:]) > octets.Uint64(newest[48:])) {
				newest = m
			}
		}
	}
	return newest
}

// page is a page with those that belong to it. None is part of two.
func (p *pages) page(id uint64) ([]byte, error) {
	if id < 2 || id >= p.high {
		return nil, fmt.Errorf("page %d is missing", id)
	}
	at := int(id) * p.size
	head := p.file[at : at+pageHead]
	count := 1 + uint64(octets.Uint32(head[12:]))
	if octets.Uint64(head) != id || count > p.high-id {
		return nil, fmt.Errorf("page %d is not what it should be", id)
	}
	for i := id; i < id+count; i++ {
		if p.seen[i] {
			return nil, fmt.Errorf("page %d is in use twice", i)
		}
		p.seen[i] = true
	}
	return p.file[at : at+int(count)*p.size], nil
}

// bucket follows a bucket's pages from its root on.
func (p *pages) bucket(root uint64) error {
	page, err := p.page(root)
	if err == nil {
		err = p.elements(page)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", root, err)
	}
	return nil
}

// elements follows what is in a page. A small bucket is a page within a page.
func (p *pages) elements(page []byte) error {
	kind, n := octets.Uint16(page[8:]), int(octets.Uint16(page[10:]))
	if kind != branchPage && kind != leafPage || kind == branchPage && n == 0 || pageHead+n*elementSize > len(page) {
		return errors.New("it is no part of a tree")
	}
	for e := page[pageHead:]; n > 0; e, n = e[elementSize:], n-1 {
		if kind == branchPage {
			if int(octets.Uint32(e))+int(octets.Uint32(e[4:])) > len(e) {
				return errKey
			}
			if err := p.bucket(octets.Uint64(e[8:])); err != nil {
				return err
			}
			continue
		}
		from := int(octets.Uint32(e[4:])) + int(octets.Uint32(e[8:]))
		to := from + int(octets.Uint32(e[12:]))
		if to > len(e) {
			return errKey
		}
		if octets.Uint32(e)&bucketFlag == 0 {
			continue
		}
		if err := p.child(e[from:to]); err != nil {
			return err
		}
	}
	return nil
}

var errKey = errors.New("what is in it does not end there")

// child is the bucket that a value stands for.
func (p *pages) child(value []byte) error {
	if len(value) < bucketHead {
		return fmt.Errorf("a bucket of %d octets", len(value))
	}
	if root := octets.Uint64(value); root != 0 {
		return p.bucket(root)
	}
	if len(value) < bucketHead+pageHead {
		return fmt.Errorf("a bucket of %d octets", len(value))
	}
	return p.elements(value[bucketHead:])
}

// free verifies that the free list ends within its page.
func (p *pages) free(id uint64) error {
	if id == ^uint64(0) { // it is not on the disk
		return nil
	}
	page, err := p.page(id)
	if err != nil {
		return err
	}
	n := uint64(octets.Uint16(page[10:]))
	if n == manyFree {
		n = 1 + octets.Uint64(page[pageHead:])
	}
	if octets.Uint16(page[8:]) != freePage || n > uint64(len(page)-pageHead)/8 {
		return fmt.Errorf("page %d is no free list", id)
	}
	return nil
}
