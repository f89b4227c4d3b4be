package powercut

import (
	"bytes"
	"cmp"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

// Sector is what a disk writes whole or not at all, in octets.
const Sector = 512

// Disk is a directory after some of its Ops, and what of it would last.
type Disk struct {
	done    int // ops
	files   map[int]*file
	names   map[string]int // now
	lasting map[string]int // after a power cut, whatever happens
	changes []change       // of names, that may last
}

// file has its contents, those that last, and the ops between the two.
type file struct {
	now, lasting []byte
	changes      []numbered
}

type numbered struct {
	Op
	at int
}

// change is an atomic one of the names in a directory.
type change struct {
	at          int
	dir         string
	gone, there string // paths, or empty
	file        int
}

// directory stands for a file in names.
const directory = -1

// NewDisk is an empty directory.
func NewDisk() *Disk {
	return &Disk{files: map[int]*file{}, names: map[string]int{}, lasting: map[string]int{}}
}

// Do does an op.
func (d *Disk) Do(o Op) {
	at := d.done
	d.done++
	switch o.Kind {
	case Create:
		d.files[o.File] = &file{}
		d.change(change{at: at, there: o.Path, file: o.File})
	case Mkdir:
		d.change(change{at: at, there: o.Path, file: directory})
	case Rename:
		d.change(change{at: at, gone: o.Path, there: o.To, file: o.File})
	case Remove:
		d.change(change{at: at, gone: o.Path})
	case Write, Truncate:
		f := d.files[o.File]
		f.now = o.apply(f.now)
		f.changes = append(f.changes, numbered{o, at})
	case Sync:
		f := d.files[o.File]
		f.changes = slices.DeleteFunc(f.changes, func(c numbered) bool {
			if c.at >= o.Before {
				return false
			}
			f.lasting = c.apply(f.lasting)
			return true
		})
	case SyncDir:
		d.changes = slices.DeleteFunc(d.changes, func(c change) bool {
			if c.dir != o.Path || c.at >= o.Before {
				return false
			}
			c.apply(d.lasting)
			return true
		})
	}
}

func (d *Disk) change(c change) {
	c.dir = path.Dir(cmp.Or(c.there, c.gone))
	c.apply(d.names)
	d.changes = append(d.changes, c)
}

func (c change) apply(names map[string]int) {
	if c.gone != "" {
		delete(names, c.gone)
	}
	if c.there != "" {
		names[c.there] = c.file
	}
}

// apply does a write or a truncation to contents, in place if there is room.
func (o Op) apply(contents []byte) []byte {
	if o.Kind == Truncate {
		return resized(contents, int(o.Size))
	}
	end := int(o.Offset) + len(o.Data)
	contents = resized(contents, max(len(contents), end))
	copy(contents[o.Offset:], o.Data)
	return contents
}

func resized(contents []byte, size int) []byte {
	if size <= len(contents) {
		clear(contents[size:])
		return contents[:size]
	}
	return append(contents, make([]byte, size-len(contents))...)
}

// Now is the directory if all that was done is on the disk.
func (d *Disk) Now() Tree {
	return tree(d.names, func(f int) []byte { return d.files[f].now })
}

// Torn is the directory if of a write that comes next only the octets from
// from to to arrived.
func (d *Disk) Torn(o Op, from, to int) Tree {
	part := o
	part.Offset, part.Data = o.Offset+int64(from), o.Data[from:to]
	return tree(d.names, func(f int) []byte {
		if f == o.File {
			return part.apply(bytes.Clone(d.files[f].now))
		}
		return d.files[f].now
	})
}

// Lasting is the directory if nothing is on the disk but what must be.
func (d *Disk) Lasting() Tree {
	return tree(d.lasting, func(f int) []byte { return d.files[f].lasting })
}

// Lost is the directory if any part of what need not be on the disk is lost:
// of writes each sector for itself, of changes of names those that are not in
// the bit set kept. A file may have grown though nothing was written into it.
func (d *Disk) Lost(r *rand.Rand, kept uint64) Tree {
	names := maps.Clone(d.lasting)
	for i, c := range d.changes {
		if kept>>i&1 != 0 {
			c.apply(names)
		}
	}
	return tree(names, func(f int) []byte { return d.files[f].lost(r) })
}

func (f *file) lost(r *rand.Rand) []byte {
	contents := bytes.Clone(f.lasting)
	for _, c := range f.changes {
		if c.Kind == Truncate {
			if r.IntN(2) == 0 {
				contents = c.apply(contents)
			}
			continue
		}
		if end := int(c.Offset) + len(c.Data); end > len(contents) && r.IntN(2) == 0 {
			contents = resized(contents, end)
		}
		for from := 0; from < len(c.Data); from += Sector {
			if r.IntN(2) == 0 {
				part := c.Op
				part.Offset, part.Data = c.Offset+int64(from), c.Data[from:min(from+Sector, len(c.Data))]
				contents = part.apply(contents)
			}
		}
	}
	return contents
}

// Names are how many changes of names need not be on the disk.
func (d *Disk) Names() int { return len(d.changes) }

// Settled reports whether all that was done would last.
func (d *Disk) Settled() bool {
	for _, f := range d.names {
		if f != directory && len(d.files[f].changes) > 0 {
			return false
		}
	}
	return len(d.changes) == 0
}

// tree has the files and directories whose directories are there, too. What it
// has of a file is a copy.
func tree(names map[string]int, contents func(file int) []byte) Tree {
	t := Tree{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if parent := path.Dir(name); parent != "." {
			if p, there := t[parent]; !there || p != nil {
				continue
			}
		}
		if f := names[name]; f == directory {
			t[name] = nil
		} else {
			t[name] = append([]byte{}, contents(f)...)
		}
	}
	return t
}
