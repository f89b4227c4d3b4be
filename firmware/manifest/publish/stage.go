package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func staged[T metadata.Roles](r *Repository, role string) (*metadata.Metadata[T], error) {
	return file[T](r, "staged/"+role+".json")
}

func (r *Repository) stage(role string, m interface{ ToBytes(bool) ([]byte, error) }) error {
	data, err := m.ToBytes(true)
	if err != nil {
		return fmt.Errorf("encode %s: %w", role, err)
	}
	return r.write(r.path("staged/"+role+".json"), data)
}

// stagedRoot returns the next root, nil where none is staged. One that a cut
// left after it was published is none.
func (r *Repository) stagedRoot() (*metadata.Metadata[metadata.RootType], error) {
	_, published, err := r.root()
	if err != nil {
		return nil, err
	}
	m, err := optional(staged[metadata.RootType](r, metadata.ROOT))
	if m != nil && published != nil && m.Signed.Version <= published.Signed.Version {
		m = nil
	}
	return m, err
}

// stagedTargets does the same for the targets and vendors' roles.
func (r *Repository) stagedTargets(role string) (*metadata.Metadata[metadata.TargetsType], error) {
	published, err := r.published(role)
	if err != nil {
		return nil, err
	}
	m, err := optional(staged[metadata.TargetsType](r, role))
	if m != nil && published != nil && m.Signed.Version <= published.Signed.Version {
		m = nil
	}
	return m, err
}

// draft returns what is staged, else what is published.
func (r *Repository) draft(role string) (*metadata.Metadata[metadata.TargetsType], error) {
	m, err := r.stagedTargets(role)
	if err == nil && m == nil {
		m, err = r.published(role)
	}
	if err == nil && m == nil {
		err = fmt.Errorf("there is no role %s: %w", role, fs.ErrNotExist)
	}
	return m, err
}

// edit stages a change of the targets or a vendor's role. Signatures that were
// gathered are void.
func (r *Repository) edit(role string, change func(*metadata.TargetsType) error) error {
	m, err := r.stagedTargets(role)
	if err != nil {
		return err
	}
	if m == nil {
		if m, err = r.published(role); err != nil {
			return err
		}
		if m == nil {
			return fmt.Errorf("there is no role %s", role)
		}
		m.Signed.Version++
	}
	if err := change(&m.Signed); err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	m.Signed.Expires = r.until(TargetsLife)
	m.ClearSignatures()
	return r.stage(role, m)
}

func (r *Repository) editRoot(change func(*metadata.RootType) error) error {
	m, err := r.stagedRoot()
	if err != nil {
		return err
	}
	if m == nil {
		if _, m, err = r.root(); err != nil {
			return err
		}
		if m == nil {
			return errors.New("there is no root")
		}
		m.Signed.Version++
	}
	if err := change(&m.Signed); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	m.Signed.Expires = r.until(RootLife)
	m.ClearSignatures()
	return r.stage(metadata.ROOT, m)
}

// Extend stages a role ("root", "targets" or a vendor's) as it is, to be signed
// before it expires.
func (r *Repository) Extend(role string) error {
	if role == metadata.ROOT {
		return r.editRoot(func(*metadata.RootType) error { return nil })
	}
	return r.edit(role, func(*metadata.TargetsType) error { return nil })
}

// VendorRole names the role of a vendor.
func VendorRole(vendor uint16) string { return fmt.Sprintf("vendor-%04X", vendor) }

// AddVendor stages that keys speak of vendor's products, and of nothing else,
// and an empty role for them to sign.
func (r *Repository) AddVendor(vendor uint16, keys Keys) error {
	name := VendorRole(vendor)
	targets, err := r.draft(metadata.TARGETS)
	if err != nil {
		return err
	}
	if delegation(&targets.Signed, name) != nil {
		return fmt.Errorf("there is a role %s already", name)
	}
	// First: a delegation without its role could not be published.
	if err := r.stage(name, metadata.Targets(r.until(TargetsLife))); err != nil {
		return err
	}
	return r.edit(metadata.TARGETS, func(t *metadata.TargetsType) error {
		if t.Delegations == nil {
			t.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		}
		t.Delegations.Roles = append(t.Delegations.Roles, metadata.DelegatedRole{
			Name: name, Terminating: true, Paths: []string{fmt.Sprintf("%04X/*", vendor)},
		})
		return setVendorKeys(t, name, keys)
	})
}

// Rotate stages other keys for a role. A new root is to be signed by the old
// and the new threshold. The targets role and vendors' are staged with their
// new keys, to be signed by them.
func (r *Repository) Rotate(role string, keys Keys) error {
	if !strings.HasPrefix(role, "vendor-") {
		if err := r.editRoot(func(root *metadata.RootType) error { return setKeys(root, role, keys) }); err != nil {
			return err
		}
		if role == metadata.TARGETS {
			return r.Extend(role)
		}
		return nil
	}
	if err := r.edit(metadata.TARGETS, func(t *metadata.TargetsType) error { return setVendorKeys(t, role, keys) }); err != nil {
		return err
	}
	return r.Extend(role)
}

// Pending is a staged role.
type Pending struct {
	Role    string
	Version int64
	Signed  int   // signatures so far
	Missing error // what still lacks, nil where it can be published
}

// Pending lists what is staged.
func (r *Repository) Pending() ([]Pending, error) {
	var all []Pending
	root, err := r.stagedRoot()
	if err != nil {
		return nil, err
	}
	if root != nil {
		all = append(all, Pending{metadata.ROOT, root.Signed.Version, len(root.Signatures), r.rootMissing(root)})
	}
	files, err := filepath.Glob(filepath.Join(r.path("staged"), "*.json"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		role := strings.TrimSuffix(filepath.Base(f), ".json")
		if role == metadata.ROOT {
			continue
		}
		m, err := r.stagedTargets(role)
		if err != nil {
			return nil, err
		}
		if m != nil {
			all = append(all, Pending{role, m.Signed.Version, len(m.Signatures), r.targetsMissing(role, m)})
		}
	}
	return all, nil
}

// Discard forgets what is staged for a role.
func (r *Repository) Discard(role string) error {
	return os.Remove(r.path("staged/" + role + ".json"))
}

func delegation(t *metadata.TargetsType, name string) *metadata.DelegatedRole {
	if t.Delegations == nil {
		return nil
	}
	i := slices.IndexFunc(t.Delegations.Roles, func(d metadata.DelegatedRole) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Delegations.Roles[i]
}
