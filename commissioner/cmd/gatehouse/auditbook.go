package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"gatehouse/commissioner/portal"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// book is a home's trail as a gateway gives it, to be held against checkpoints:
// its records' hashes, and the keys of everybody who signs.
type book struct {
	origin string
	leaves audit.Leaves
	time   int64 // of the last record
	names  []string
	keys   []cert.PublicKey
	known  map[cert.PublicKey]bool
	// restored is of how many records a backup was, that the home came back from.
	restored uint64
}

// newBook begins with the keys that the trust state knows.
func newBook(now portal.Checkpoint) (*book, error) {
	b := &book{origin: now.Origin, known: map[cert.PublicKey]bool{}}
	for _, g := range now.Gateways {
		if err := b.knows(g.Key, g.Name); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *book) knows(key, name string) error {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != len(cert.PublicKey{}) {
		return fmt.Errorf("the key of gateway %q is none", name)
	}
	if k := cert.PublicKey(raw); !b.known[k] {
		b.known[k], b.keys, b.names = true, append(b.keys, k), append(b.names, name)
	}
	return nil
}

func (b *book) size() uint64 { return b.leaves.Before.Size + uint64(len(b.leaves.Hashes)) }

// add takes the next record. The keys of gateways that are no longer members are
// where they were admitted.
func (b *book) add(line []byte) error {
	r, err := audit.Parse(line)
	if err != nil {
		return err
	}
	if r.Index != b.size() || r.Time < b.time {
		return fmt.Errorf("record %d of %d ms follows record %d of %d ms", r.Index, r.Time, int64(b.size())-1, b.time)
	}
	b.leaves.Hashes, b.time = append(b.leaves.Hashes, tlog.RecordHash(line)), r.Time
	var keys struct {
		Key      string
		Trail    uint64
		Gateways []struct{ Name, Key string }
	}
	switch r.What {
	case "trail-begun", "gateway-admitted", "home-restored":
		if err := json.Unmarshal(r.Details, &keys); err != nil {
			return fmt.Errorf("record %d: %w", r.Index, err)
		}
	}
	if r.What == "home-restored" {
		b.restored = keys.Trail
	}
	if keys.Key != "" {
		keys.Gateways = append(keys.Gateways, struct{ Name, Key string }{r.Name, keys.Key})
	}
	for _, g := range keys.Gateways {
		if g.Key == "" {
			continue
		}
		if err := b.knows(g.Key, g.Name+" (no longer a gateway)"); err != nil {
			return fmt.Errorf("record %d: %w", r.Index, err)
		}
	}
	return nil
}

// check holds the trail against a signed checkpoint.
func (b *book) check(signed []byte) (v verified, err error) {
	c, by, err := audit.Open(signed, b.origin, b.keys)
	if err != nil {
		return v, err
	}
	v.Records = c.Size
	for _, i := range by {
		v.Signed = append(v.Signed, b.names[i])
	}
	since := ""
	if b.restored > 0 && c.Size > b.restored {
		since = fmt.Sprintf("; the home was restored from a backup of %d records: of those after, this is the record of another life", b.restored)
	}
	if c.Size > b.size() {
		return v, fmt.Errorf("the checkpoint is of %d records, the gateway has %d: it is behind, or records were taken away%s", c.Size, b.size(), since)
	}
	root, err := b.leaves.Root(c.Size)
	switch {
	case errors.Is(err, audit.ErrForgotten):
		return v, fmt.Errorf("the checkpoint is of %d records, and this gateway has those from %d on", c.Size, b.leaves.Before.Size)
	case err != nil:
		return v, err
	case root != c.Root:
		return v, fmt.Errorf("the first %d records are not those of the checkpoint%s", c.Size, since)
	}
	return v, nil
}
