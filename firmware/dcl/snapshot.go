package dcl

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// format is the version of a snapshot's format.
const format = 1

// Snapshot is a saved part of the ledger. It is never changed once made.
type Snapshot struct {
	products map[key]*Product
}

type key struct{ vendor, product uint16 }

// file is a snapshot as it is written.
type file struct {
	Format   int        `json:"format"`
	Products []*Product `json:"products"`
}

// Product is what is known of a product, and how old that is; nil: nothing.
func (s *Snapshot) Product(vendor, product uint16, now time.Time) (*Product, time.Duration) {
	if s == nil {
		return nil, 0
	}
	p := s.products[key{vendor, product}]
	if p == nil {
		return nil, 0
	}
	return p, max(0, now.Sub(time.UnixMilli(p.Fetched)))
}

// Len is how many products are in it.
func (s *Snapshot) Len() int {
	if s == nil {
		return 0
	}
	return len(s.products)
}

// With is a snapshot with records added; of two of one product, the younger
// stays.
func (s *Snapshot) With(added ...*Product) (*Snapshot, error) {
	all := make(map[key]*Product, s.Len()+len(added))
	if s != nil {
		for k, p := range s.products {
			all[k] = p
		}
	}
	for _, p := range added {
		if err := p.check(); err != nil {
			return nil, err
		}
		k := key{p.VendorID, p.ProductID}
		if have := all[k]; have == nil || have.Fetched <= p.Fetched {
			all[k] = p
		}
	}
	if len(all) > maxProducts {
		return nil, fmt.Errorf("more than %d products", maxProducts)
	}
	return &Snapshot{all}, nil
}

// All are the records, by vendor and product.
func (s *Snapshot) All() (all []*Product) {
	if s != nil {
		all = slices.SortedFunc(maps.Values(s.products), func(a, b *Product) int {
			return cmp.Or(cmp.Compare(a.VendorID, b.VendorID), cmp.Compare(a.ProductID, b.ProductID))
		})
	}
	return all
}

// Write saves a snapshot.
func (s *Snapshot) Write(w io.Writer) error {
	return json.NewEncoder(w).Encode(file{format, s.All()})
}

// Read reads a saved snapshot.
func Read(r io.Reader) (*Snapshot, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSnapshot {
		return nil, fmt.Errorf("the snapshot is longer than %d octets", maxSnapshot)
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("this is no snapshot of the compliance ledger: %w", err)
	}
	if f.Format != format {
		return nil, fmt.Errorf("the snapshot is of format %d, and this release reads %d", f.Format, format)
	}
	for _, p := range f.Products {
		if p == nil {
			return nil, errors.New("the snapshot has an empty record")
		}
	}
	return new(Snapshot).With(f.Products...)
}
