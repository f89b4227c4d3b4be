// Package publish makes the repositories that package manifest reads: a
// household, an integrator or a vendor runs one in a plain folder, which is
// then put behind https or copied onto a USB stick.
//
//	metadata/, targets/   what is public
//	staged/               next versions that gather signatures; not for the public
//
// Changes are staged, signed by as many people as the threshold asks, one after
// the other, and published together. It promises that nothing is published that
// the client would not accept, and that a cut at any moment leaves a repository
// that is valid: the old or the new one. [Repository.Publish]
// tells the one exception. Keys are crypto.Signers: it never sees a private key,
// and never reads the clock. One process at a time may change a repository.
package publish

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gatehouse/firmware/durable"
	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// How long signatures hold. A timer renews the timestamp daily, so that a week
// survives six runs that were missed; a week is also how long somebody could
// hide a warning. People sign the targets, each quarter at least, and whoever
// publishes then signs the snapshot with them. The root is brought out of its
// safe once a year.
const (
	RootLife      = 365 * 24 * time.Hour
	TargetsLife   = 90 * 24 * time.Hour // also of vendors' roles
	SnapshotLife  = 90 * 24 * time.Hour
	TimestampLife = 7 * 24 * time.Hour
)

// Keys are who may sign for a role, ECDSA P-256 or Ed25519, and how many of
// them it takes.
type Keys struct {
	Public    []crypto.PublicKey
	Threshold int
}

// Setup is what a repository begins with.
type Setup struct {
	Name                               string // for people, 64 octets at most
	Root, Targets, Snapshot, Timestamp Keys
}

// Repository is one that this side publishes.
type Repository struct {
	dir    string
	now    func() time.Time
	random io.Reader
	write  func(path string, data []byte) error // replaced in tests
}

// Open works on the repository in dir. random is for signatures.
func Open(dir string, now func() time.Time, random io.Reader) (*Repository, error) {
	r := &Repository{dir, now, random, durable.Write}
	_, published, err := r.root()
	if err == nil && published == nil {
		_, err = staged[metadata.RootType](r, metadata.ROOT)
	}
	if err != nil {
		return nil, fmt.Errorf("no repository in %s: %w", dir, err)
	}
	return r, errors.Join(durable.Sweep(r.path("metadata")), durable.Sweep(r.path("staged")))
}

// Init stages the first root and targets of a repository in dir: they are
// still to be signed and published.
func Init(dir string, setup Setup, now func() time.Time, random io.Reader) (*Repository, error) {
	if _, err := Open(dir, now, random); err == nil {
		return nil, fmt.Errorf("there is a repository in %s already", dir)
	}
	if len(setup.Name) > manifest.MaxName {
		return nil, fmt.Errorf("the name has %d octets, more than %d", len(setup.Name), manifest.MaxName)
	}
	r := &Repository{dir, now, random, durable.Write}
	root := metadata.Root(r.until(RootLife))
	root.Signed.UnrecognizedFields = map[string]any{manifest.NameField: setup.Name}
	for role, keys := range map[string]Keys{
		metadata.ROOT: setup.Root, metadata.TARGETS: setup.Targets,
		metadata.SNAPSHOT: setup.Snapshot, metadata.TIMESTAMP: setup.Timestamp,
	} {
		if err := setKeys(&root.Signed, role, keys); err != nil {
			return nil, err
		}
	}
	// The root comes last: it is what makes this a repository.
	return r, errors.Join(r.stage(metadata.TARGETS, metadata.Targets(r.until(TargetsLife))), r.stage(metadata.ROOT, root))
}

func (r *Repository) until(life time.Duration) time.Time {
	return r.now().UTC().Truncate(time.Second).Add(life)
}

func (r *Repository) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

// file reads metadata. One that is missing is fs.ErrNotExist.
func file[T metadata.Roles](r *Repository, name string) (*metadata.Metadata[T], error) {
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		return nil, err
	}
	m, err := parse[T](data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// optional is for what may be missing: then it is nil.
func optional[T metadata.Roles](m *metadata.Metadata[T], err error) (*metadata.Metadata[T], error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return m, err
}

// root returns the newest published root and its octets, nil where there is none.
func (r *Repository) root() (data []byte, newest *metadata.Metadata[metadata.RootType], err error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("metadata/%d.root.json", n)
		next, err := optional(file[metadata.RootType](r, name))
		if err != nil || next == nil {
			return data, newest, err
		}
		newest = next
		if data, err = os.ReadFile(r.path(name)); err != nil {
			return nil, nil, err
		}
	}
}

// state is what the timestamp leads to, nil before the first Publish.
func (r *Repository) state() (*metadata.Metadata[metadata.TimestampType], *metadata.Metadata[metadata.SnapshotType], error) {
	timestamp, err := optional(file[metadata.TimestampType](r, "metadata/timestamp.json"))
	if err != nil || timestamp == nil {
		return nil, nil, err
	}
	version := timestamp.Signed.Meta["snapshot.json"].Version
	snapshot, err := file[metadata.SnapshotType](r, fmt.Sprintf("metadata/%d.snapshot.json", version))
	return timestamp, snapshot, err
}

// published returns the targets or vendor's role that clients see, nil where
// there is none.
func (r *Repository) published(role string) (*metadata.Metadata[metadata.TargetsType], error) {
	_, snapshot, err := r.state()
	if err != nil || snapshot == nil || snapshot.Signed.Meta[role+".json"] == nil {
		return nil, err
	}
	return file[metadata.TargetsType](r, fmt.Sprintf("metadata/%d.%s.json", snapshot.Signed.Meta[role+".json"].Version, role))
}
