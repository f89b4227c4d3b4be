package publish

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// parse reads metadata that may have been on a stick in other hands. go-tuf
// panics over some of it.
func parse[T metadata.Roles](data []byte) (m *metadata.Metadata[T], err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not TUF's: %v", r)
		}
	}()
	if m, err = new(metadata.Metadata[T]).FromBytes(data); err == nil {
		err = sound(m)
	}
	return m, err
}

// sound refuses metadata over which this package or go-tuf would panic later.
func sound(m any) error {
	switch m := m.(type) {
	case *metadata.Metadata[metadata.RootType]:
		for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
			if m.Signed.Roles[role] == nil {
				return fmt.Errorf("there is no role %s", role)
			}
		}
		return soundKeys(m.Signed.Keys)
	case *metadata.Metadata[metadata.TargetsType]:
		if m.Signed.Targets == nil {
			return errors.New("it lists nothing")
		}
		for name, f := range m.Signed.Targets {
			if f == nil || len(f.Hashes["sha256"]) != sha256.Size {
				return fmt.Errorf("%q has no SHA-256", name)
			}
		}
		if m.Signed.Delegations == nil {
			return nil
		}
		for _, d := range m.Signed.Delegations.Roles {
			if !manifest.VendorRole(d.Name) { // it becomes part of paths
				return fmt.Errorf("a role named %.40q", d.Name)
			}
		}
		return soundKeys(m.Signed.Delegations.Keys)
	case *metadata.Metadata[metadata.SnapshotType]:
		if m.Signed.Meta == nil {
			return errors.New("it lists nothing")
		}
		for name, f := range m.Signed.Meta {
			if f == nil {
				return fmt.Errorf("nothing is said of %q", name)
			}
		}
	case *metadata.Metadata[metadata.TimestampType]:
		if m.Signed.Meta["snapshot.json"] == nil {
			return errors.New("no snapshot is named")
		}
	}
	return nil
}

func soundKeys(keys map[string]*metadata.Key) error {
	if keys == nil {
		return errors.New("there are no keys")
	}
	for id, k := range keys {
		if k == nil {
			return fmt.Errorf("key %s is missing", ShortID(id))
		}
		public, err := k.ToPublicKey()
		if err != nil {
			return fmt.Errorf("key %s: %w", ShortID(id), err)
		}
		if p, ok := public.(ed25519.PublicKey); ok && len(p) != ed25519.PublicKeySize {
			return fmt.Errorf("key %s has the wrong length", ShortID(id))
		}
	}
	return nil
}
