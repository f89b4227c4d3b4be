package publish

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"gatehouse/firmware/durable"
	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// step is one file to write.
type step struct {
	name string
	data []byte
}

// next is what a Publish puts together.
type next struct {
	steps []step   // in the order in which they are written
	done  []string // what is staged no more
	root  *metadata.Metadata[metadata.RootType]
	metas map[string]*metadata.MetaFiles
}

// Publish puts what is staged and signed before clients, with a new snapshot
// and a new timestamp by signers. What lacks signatures stays staged. Nothing
// is written unless the client accepts the whole. All files have new names, but
// the timestamp, which makes them valid at once.
//
// The exception is a new root that takes a role's keys away: no two files can
// be replaced at once. Where the old keys sign as well (the timestamp's and
// snapshot's among signers, the targets' by Sign), the files hold under both
// roots, and the root comes last. Where they do not, since they are lost or
// stolen, clients refuse what they find between the timestamp and the root, and
// keep what they have; after a cut there, Publish again.
func (r *Repository) Publish(signers ...crypto.Signer) error {
	trusted, old, err := r.root()
	if err != nil {
		return err
	}
	n := &next{metas: map[string]*metadata.MetaFiles{}}
	if n.root, err = r.nextRoot(); err != nil {
		return err
	}
	if err := r.gather(n); err != nil {
		return err
	}
	if err := r.summarize(n, old, signers); err != nil {
		return err
	}
	if old == nil || n.root.Signed.Version > old.Signed.Version {
		s, err := encode(fmt.Sprintf("metadata/%d.root.json", n.root.Signed.Version), n.root)
		if err != nil {
			return err
		}
		n.steps, n.done = append(n.steps, s), append(n.done, metadata.ROOT)
		if old == nil {
			trusted = s.data
		}
	}
	if err := r.accepted(trusted, n.steps); err != nil {
		return err
	}
	for _, s := range n.steps {
		if err := r.write(r.path(s.name), s.data); err != nil {
			return err
		}
	}
	for _, role := range n.done {
		if err := durable.Remove(r.path("staged/" + role + ".json")); err != nil {
			return err
		}
	}
	return nil
}

// gather collects the targets role and the vendors' as they will be.
func (r *Repository) gather(n *next) error {
	targets, err := r.signed(n, metadata.TARGETS, func(m *metadata.Metadata[metadata.TargetsType]) error {
		return n.root.VerifyDelegate(metadata.TARGETS, m)
	})
	if err != nil || targets.Signed.Delegations == nil {
		return err
	}
	for _, d := range targets.Signed.Delegations.Roles {
		if _, err := r.signed(n, d.Name, func(m *metadata.Metadata[metadata.TargetsType]) error {
			return targets.VerifyDelegate(d.Name, m)
		}); err != nil {
			return err
		}
	}
	return nil
}

// signed returns a role as staged, where that has its signatures, else as
// published, where that still has them.
func (r *Repository) signed(n *next, role string, missing func(*metadata.Metadata[metadata.TargetsType]) error) (*metadata.Metadata[metadata.TargetsType], error) {
	m, err := r.stagedTargets(role)
	if err != nil {
		return nil, err
	}
	if m != nil && missing(m) == nil {
		s, err := encode(fmt.Sprintf("metadata/%d.%s.json", m.Signed.Version, role), m)
		n.steps, n.done, n.metas[role+".json"] = append(n.steps, s), append(n.done, role), metaFile(m.Signed.Version, s.data)
		return m, err
	}
	published, err := r.published(role)
	switch {
	case err != nil:
		return nil, err
	case published != nil && missing(published) == nil:
		return published, nil
	case m == nil:
		return nil, fmt.Errorf("%s is neither published nor staged with its present keys", role)
	}
	return nil, fmt.Errorf("%s: %w", role, missing(m))
}

// summarize adds the snapshot and the timestamp.
func (r *Repository) summarize(n *next, old *metadata.Metadata[metadata.RootType], signers []crypto.Signer) error {
	timestamp, snapshot, err := r.state()
	if err != nil {
		return err
	}
	if timestamp == nil {
		timestamp, snapshot = metadata.Timestamp(), metadata.Snapshot()
		timestamp.Signed.Version, snapshot.Signed.Version = 0, 0
	}
	// What a snapshot named once it must name for ever: clients hold it to that.
	maps.Copy(snapshot.Signed.Meta, n.metas)
	snapshot.Signed.Version++
	snapshot.Signed.Expires = r.until(SnapshotLife)
	if err := signOnline(r.random, snapshot, metadata.SNAPSHOT, signers, old, n.root); err != nil {
		return err
	}
	s, err := encode(fmt.Sprintf("metadata/%d.snapshot.json", snapshot.Signed.Version), snapshot)
	if err != nil {
		return err
	}
	timestamp.Signed.Meta["snapshot.json"] = metaFile(snapshot.Signed.Version, s.data)
	t, err := r.timestamp(timestamp, signers, old, n.root)
	n.steps = append(n.steps, s, t)
	return err
}

// timestamp makes the next one after m.
func (r *Repository) timestamp(m *metadata.Metadata[metadata.TimestampType], signers []crypto.Signer, roots ...*metadata.Metadata[metadata.RootType]) (step, error) {
	m.Signed.Version++
	m.Signed.Expires = r.until(TimestampLife)
	m.Signed.UnrecognizedFields = map[string]any{manifest.SignedField: r.until(0).Format(time.RFC3339)}
	if err := signOnline(r.random, m, metadata.TIMESTAMP, signers, roots...); err != nil {
		return step{}, err
	}
	return encode("metadata/timestamp.json", m)
}

// Renew signs a new timestamp: nothing has changed, and that is still so. Where
// another role has expired it is refused.
func (r *Repository) Renew(signers ...crypto.Signer) error {
	data, root, err := r.root()
	if err != nil {
		return err
	}
	m, _, err := r.state()
	if err != nil {
		return err
	}
	if m == nil {
		return errors.New("nothing is published yet")
	}
	s, err := r.timestamp(m, signers, root)
	if err != nil {
		return err
	}
	if err := r.accepted(data, []step{s}); err != nil {
		return err
	}
	return r.write(r.path(s.name), s.data)
}

// accepted asks the client whether it would accept the repository with steps.
func (r *Repository) accepted(root []byte, steps []step) error {
	o := overlay{manifest.Dir(r.dir), map[string][]byte{}}
	for _, s := range steps {
		o.files[s.name] = s.data
	}
	faults, err := manifest.Check(context.Background(), root, o, r.now())
	for _, f := range faults {
		err = errors.Join(err, f)
	}
	return err
}

// overlay is a repository with files that are not written yet.
type overlay struct {
	manifest.Fetcher
	files map[string][]byte
}

func (o overlay) Fetch(ctx context.Context, name string, size int64) (io.ReadCloser, error) {
	if data, ok := o.files[name]; ok {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	return o.Fetcher.Fetch(ctx, name, size)
}

// signOnline signs with those of signers that have a say in role.
func signOnline[T metadata.Roles](random io.Reader, m *metadata.Metadata[T], role string, signers []crypto.Signer, roots ...*metadata.Metadata[metadata.RootType]) error {
	m.ClearSignatures()
	for _, s := range signers {
		id, _, err := key(s.Public())
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(roots, func(r *metadata.Metadata[metadata.RootType]) bool {
			return r != nil && slices.Contains(r.Signed.Roles[role].KeyIDs, id)
		}) {
			continue
		}
		if err := sign(random, m, id, s); err != nil {
			return fmt.Errorf("sign %s: %w", role, err)
		}
	}
	return nil
}

func encode(name string, m interface{ ToBytes(bool) ([]byte, error) }) (step, error) {
	data, err := m.ToBytes(false)
	if err != nil {
		return step{}, fmt.Errorf("encode %s: %w", name, err)
	}
	return step{name, data}, nil
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	digest := sha256.Sum256(data)
	m := metadata.MetaFile(version)
	m.Length, m.Hashes = int64(len(data)), metadata.Hashes{"sha256": digest[:]}
	return m
}
