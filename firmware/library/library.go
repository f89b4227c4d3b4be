// Package library is what one gateway knows of firmware: the statements of the
// home's sources, the ledger's records, and the images that it has fetched.
//
// It promises that what it knows can be read without a network and at once, and
// that nothing is fetched but by Refresh, Ask, Learn and Image. It decides
// nothing.
package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gatehouse/fabric"
	"gatehouse/firmware"
	"gatehouse/firmware/dcl"
	"gatehouse/firmware/durable"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/shelf"
)

// The ledger is asked for a product once a day; where that failed, or the ledger
// has none, again after an hour.
const askEvery, askAgain = 24 * time.Hour, time.Hour

// Room is how many octets of images are kept where nobody says more.
const Room = 512 << 20

// Config says where the library is.
type Config struct {
	Dir  string // its own
	Room int64  // octets of images; 0: Room
	HTTP *http.Client
	Now  func() time.Time
	// Others are the home's other gateways, which may have a source's directory;
	// nil: there are none.
	Others func(source string) []manifest.Fetcher
}

// Library may be used by several goroutines.
type Library struct {
	cfg   Config
	Shelf *shelf.Shelf

	mu      sync.Mutex
	sources map[string]*source
	ledger  string // node that may be asked
	records *dcl.Snapshot
	asked   map[uint32]time.Time // when, by vendor and product
	askErr  error                // of the last time
}

// source is one of the home's.
type source struct {
	of     fabric.FirmwareSource
	client *manifest.Client // nil: err says why
	err    error
}

// Open reads what is known.
func Open(cfg Config) (*Library, error) {
	if cfg.Room == 0 {
		cfg.Room = Room
	}
	s, err := shelf.Open(filepath.Join(cfg.Dir, "images"), cfg.Room)
	if err != nil {
		return nil, err
	}
	l := &Library{cfg: cfg, Shelf: s, sources: make(map[string]*source), asked: make(map[uint32]time.Time)}
	f, err := os.Open(l.ledgerFile())
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Records are only a copy: without them there are fewer reasons.
	if l.records, err = dcl.Read(f); err != nil {
		return l, os.Remove(l.ledgerFile())
	}
	return l, nil
}

func (l *Library) ledgerFile() string { return filepath.Join(l.cfg.Dir, "ledger.json") }

// Follow makes the sources those that the home trusts now (nil: none), and
// reports whether any is new here.
func (l *Library) Follow(f *fabric.Firmware) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f == nil {
		f = &fabric.Firmware{}
	}
	l.ledger = f.Ledger
	for name, s := range l.sources {
		if of := f.Sources[name]; of == nil || of.Where != s.of.Where || string(of.Root) != string(s.of.Root) {
			delete(l.sources, name)
		}
	}
	for name, of := range f.Sources {
		if l.sources[name] == nil {
			s := &source{of: *of}
			s.client, s.err = l.open(of)
			l.sources[name], fresh = s, true
		}
	}
	return fresh
}

// open is the client of a source. Its folder is named by the root it trusts:
// what another of the same name knew is no concern of it.
func (l *Library) open(of *fabric.FirmwareSource) (*manifest.Client, error) {
	from := manifest.Fetcher(beside{manifest.Dir(of.Where), func() []manifest.Fetcher { return l.others(of.Name) }})
	if remote(of.Where) {
		var err error
		if from, err = manifest.HTTPS(of.Where, l.cfg.HTTP); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(l.cfg.Dir, "sources", fabric.AnchorID(of.Root))
	return manifest.Open(manifest.Config{Dir: dir, Root: of.Root, From: from, Now: l.cfg.Now})
}

// each are the sources, in the order in which they are believed.
func (l *Library) each() (all []*source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.sources)) {
		all = append(all, l.sources[name])
	}
	return all
}

// Refresh fetches what is new from all sources. One that fails does not keep
// the others from it.
func (l *Library) Refresh(ctx context.Context) error {
	var failed []error
	for _, s := range l.each() {
		err := s.err
		if s.client != nil {
			err = s.client.Refresh(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("source %q: %w", s.of.Name, err))
		}
	}
	return errors.Join(failed...)
}

// Known is all that is known of a product.
func (l *Library) Known(vendor, product uint16) (k firmware.Known) {
	for _, s := range l.each() {
		if s.client == nil {
			continue
		}
		if st, ok := s.client.Product(vendor, product); ok {
			k.Statements = append(k.Statements, firmware.Statement{From: s.of.Name, Product: st.Product, Expired: st.Expired, Signed: s.client.Status().Signed, SHA256: st.SHA256})
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k.Ledger, _ = l.records.Product(vendor, product, l.cfg.Now())
	return k
}

// ErrNoConsent says that the home has named no node of the ledger to be asked.
var ErrNoConsent = errors.New("the compliance ledger is not to be asked: no node of it is set")

// Ask asks the ledger for a product, from a version on, and keeps the answer.
func (l *Library) Ask(ctx context.Context, vendor, product uint16, from uint32) error {
	l.mu.Lock()
	url := l.ledger
	l.mu.Unlock()
	if url == "" {
		return ErrNoConsent
	}
	p, err := (&dcl.Client{HTTP: l.cfg.HTTP, URL: url, Now: l.cfg.Now}).Product(ctx, vendor, product, from)
	if err != nil {
		return err
	}
	return l.keep(p)
}

// Learn asks the ledger for a product that a device of a version is of, unless
// the home does not let it, or it was asked lately.
func (l *Library) Learn(ctx context.Context, vendor, product uint16, version uint32) error {
	l.mu.Lock()
	have, age := l.records.Product(vendor, product, l.cfg.Now())
	key, now := uint32(vendor)<<16|uint32(product), l.cfg.Now()
	fresh := l.ledger == "" || have != nil && have.From <= version && age < askEvery || now.Before(l.asked[key].Add(askAgain))
	if !fresh {
		l.asked[key] = now
	}
	from := version
	if have != nil {
		from = min(from, have.From)
	}
	l.mu.Unlock()
	if fresh {
		return nil
	}
	err := l.Ask(ctx, vendor, product, from)
	if errors.Is(err, dcl.ErrUnknown) {
		return nil // nobody has spoken of it yet
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.askErr = err
	return err
}

// Import takes a snapshot of the ledger.
func (l *Library) Import(r io.Reader) (int, error) {
	s, err := dcl.Read(r)
	if err != nil {
		return 0, err
	}
	return s.Len(), l.keep(s.All()...)
}

func (l *Library) keep(products ...*dcl.Product) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, err := l.records.With(products...)
	if err != nil {
		return err
	}
	if err := durable.Create(l.ledgerFile(), next.Write); err != nil {
		return fmt.Errorf("keep the ledger's records: %w", err)
	}
	l.records = next
	return nil
}

// Has reports whether an image is on the shelf.
func (l *Library) Has(i *fabric.FirmwareImage) bool { return l.Shelf.Has(shelf.Digest(i.SHA256)) }

// Image opens an image of a vendor's: from the shelf, or fetched from the
// source that speaks of it. Close it.
func (l *Library) Image(ctx context.Context, vendor uint16, i *fabric.FirmwareImage) (*shelf.Image, error) {
	d := shelf.Digest(i.SHA256)
	image, err := l.Shelf.Open(d)
	if err == nil || !errors.Is(err, shelf.ErrAbsent) && !errors.Is(err, shelf.ErrDamaged) {
		return image, err
	}
	l.mu.Lock()
	s := l.sources[i.From]
	l.mu.Unlock()
	var fetch func(io.Writer) error
	switch {
	case i.From == firmware.Ledger:
		fetch = func(w io.Writer) error { return l.listed(ctx, vendor, i, w) }
	case s == nil || s.client == nil:
		return nil, fmt.Errorf("the image's source %q: %w", i.From, shelf.ErrAbsent)
	default:
		fetch = func(w io.Writer) error {
			return s.client.Image(ctx, vendor, manifest.Release{Version: i.Version, Name: i.Name, SHA256: manifest.Digest(d), Size: i.Size}, w)
		}
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(fetch(w)) }()
	err = l.Shelf.Put(r, d, i.Size)
	r.CloseWithError(err)
	if err != nil {
		return nil, fmt.Errorf("fetch the image from %q: %w", i.From, err)
	}
	return l.Shelf.Open(d)
}

// listed fetches an image from where the ledger says that it is. Whether it is
// that image, the shelf checks.
func (l *Library) listed(ctx context.Context, vendor uint16, i *fabric.FirmwareImage, w io.Writer) error {
	l.mu.Lock()
	consent, url := l.ledger != "", ""
	for _, p := range l.records.All() {
		if v := p.Find(i.Version); p.VendorID == vendor && v != nil && v.OTA != nil && string(v.OTA.Digest) == string(i.SHA256) {
			url = v.OTA.URL
		}
	}
	l.mu.Unlock()
	switch {
	case !consent:
		return ErrNoConsent
	case url == "":
		return fmt.Errorf("the %s has no such image: %w", firmware.Ledger, shelf.ErrAbsent)
	}
	from, err := manifest.HTTPS(url, l.cfg.HTTP)
	if err != nil {
		return err
	}
	r, err := from.Fetch(ctx, "", i.Size)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, io.LimitReader(r, i.Size+1)) // which is one too many, if there is more
	return err
}

// Status is how fresh a source is.
type Status struct {
	Name, Where string
	manifest.Status
}

// Code names why a source could not be refreshed; empty: it could.
func (s Status) Code() manifest.Code { return manifest.CodeOf(s.Err) }

// Records is what is known from the ledger.
type Records struct {
	Products int
	Oldest   time.Time // when the ledger was asked for the oldest; zero: there is none
	Err      error     // of the last attempt to ask
}

// Records is what is known from the ledger.
func (l *Library) Records() Records {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Records{Products: l.records.Len(), Err: l.askErr}
	for _, p := range l.records.All() {
		if at := time.UnixMilli(p.Fetched); r.Oldest.IsZero() || at.Before(r.Oldest) {
			r.Oldest = at
		}
	}
	return r
}

// Status is how fresh all sources are.
func (l *Library) Status() (all []Status) {
	for _, s := range l.each() {
		status := Status{Name: s.of.Name, Where: s.of.Where}
		if s.client != nil {
			status.Status = s.client.Status()
		} else {
			status.Err = s.err
		}
		all = append(all, status)
	}
	return all
}
