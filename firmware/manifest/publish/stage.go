package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"gatehouse/firmware/durable"

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
	if _, _, _, err := r.signersOf(role); err != nil {
		return err
	}
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
	// First: a delegation without its role could not be published. One that was
	// taken away once goes on from its last version: clients hold it to that.
	former, err := r.published(name)
	if err != nil {
		return err
	}
	empty := metadata.Targets(r.until(TargetsLife))
	if former != nil {
		empty.Signed.Version = former.Signed.Version + 1
	}
	if err := r.stage(name, empty); err != nil {
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

// RemoveVendor stages that nobody speaks for vendor any more, and forgets what
// is staged for its role. What the targets role says of its products stays.
func (r *Repository) RemoveVendor(vendor uint16) error {
	name := VendorRole(vendor)
	err := r.edit(metadata.TARGETS, func(t *metadata.TargetsType) error {
		if delegation(t, name) == nil {
			return fmt.Errorf("there is no role %s", name)
		}
		t.Delegations.Roles = slices.DeleteFunc(t.Delegations.Roles, func(d metadata.DelegatedRole) bool { return d.Name == name })
		forgetKeys(t.Delegations)
		if len(t.Delegations.Roles) == 0 {
			t.Delegations = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	return durable.Remove(r.path("staged/" + name + ".json"))
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

// Discard forgets what is staged for a role that is published. One that is not
// yet has nothing else: a vendor's is taken away with RemoveVendor.
func (r *Repository) Discard(role string) error {
	published, staged := false, false
	if role == metadata.ROOT {
		_, old, err1 := r.root()
		next, err2 := r.stagedRoot()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		published, staged = old != nil, next != nil
	} else {
		old, err1 := r.published(role)
		next, err2 := r.stagedTargets(role)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		published, staged = old != nil, next != nil
	}
	switch {
	case !staged:
		return fmt.Errorf("nothing is staged for %.70q", role)
	case !published:
		return fmt.Errorf("%s was never published: there would be nothing left of it", role)
	}
	return durable.Remove(r.path("staged/" + role + ".json"))
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
