package publish

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Role is how a role stands. Keys are given by their ids: see [KeyID].
type Role struct {
	Name      string    `json:"role"`
	Keys      []string  `json:"keys"` // who signs for it now, or if nothing is published, will
	Threshold int       `json:"threshold"`
	Version   int64     `json:"version,omitempty"` // that clients see, 0 before the first Publish
	Expires   time.Time `json:"expires,omitzero"`
	Staged    *Staged   `json:"staged,omitempty"`
}

// Staged is a role's next version.
type Staged struct {
	Version int64        `json:"version"`
	Expires time.Time    `json:"expires"`
	Changes []string     `json:"changes"` // sentences; what it holds that the published one does not
	Needs   []Signatures `json:"needs"`   // a root's: of the keys of now, and of its own
	May     []string     `json:"may_sign"`
}

// Lacks is how many signatures are missing.
func (s *Staged) Lacks() (n int) {
	for _, need := range s.Needs {
		n += need.Lacks()
	}
	return n
}

// Signatures are those that a set of keys gives.
type Signatures struct {
	Keys      []string `json:"keys"`
	Threshold int      `json:"threshold"`
	Given     []string `json:"given"` // by whom, as far as they are good
}

// Lacks is how many are missing.
func (s Signatures) Lacks() int { return max(0, s.Threshold-len(s.Given)) }

// KeyID names a public key, in 64 hex digits.
func KeyID(public crypto.PublicKey) (string, error) {
	id, _, err := key(public)
	return id, err
}

// Name is what the repository is called.
func (r *Repository) Name() (string, error) {
	root, err := r.newestRoot()
	if err != nil {
		return "", err
	}
	name, _ := root.Signed.UnrecognizedFields[manifest.NameField].(string)
	return name, nil
}

// Root is the newest published root.json, nil before the first Publish.
func (r *Repository) Root() ([]byte, error) {
	data, _, err := r.root()
	return data, err
}

// newestRoot is the staged root, else the published one.
func (r *Repository) newestRoot() (*metadata.Metadata[metadata.RootType], error) {
	root, err := r.stagedRoot()
	if err == nil && root == nil {
		if _, root, err = r.root(); err == nil && root == nil {
			err = errors.New("there is no root")
		}
	}
	return root, err
}

// Roles lists all roles: root, targets, the vendors', snapshot, timestamp.
func (r *Repository) Roles() ([]Role, error) {
	root, err := r.rootRole()
	if err != nil {
		return nil, err
	}
	all := []Role{root}
	targets, err := r.draft(metadata.TARGETS)
	if err != nil {
		return nil, err
	}
	names := []string{metadata.TARGETS}
	if targets.Signed.Delegations != nil {
		for _, d := range targets.Signed.Delegations.Roles {
			names = append(names, d.Name)
		}
	}
	for _, name := range names {
		role, err := r.targetsRole(name)
		if err != nil {
			return nil, err
		}
		all = append(all, role)
	}
	online, err := r.onlineRoles()
	return append(all, online...), err
}

func (r *Repository) rootRole() (Role, error) {
	_, published, err1 := r.root()
	next, err2 := r.stagedRoot()
	if err := errors.Join(err1, err2); err != nil {
		return Role{}, err
	}
	role := r.topLevel(metadata.ROOT, published, next)
	if published != nil {
		role.Version, role.Expires = published.Signed.Version, published.Signed.Expires
	}
	if next == nil {
		return role, nil
	}
	role.Staged = &Staged{Version: next.Signed.Version, Expires: next.Signed.Expires, Changes: rootChanges(published, next)}
	for _, by := range []*metadata.Metadata[metadata.RootType]{published, next} {
		if by != nil {
			n := needs(metadata.ROOT, by.Signed.Keys, by.Signed.Roles[metadata.ROOT].KeyIDs, by.Signed.Roles[metadata.ROOT].Threshold, next)
			role.Staged.Needs = append(role.Staged.Needs, n)
		}
	}
	role.Staged.May, err1 = r.mayStage(metadata.ROOT)
	return role, err1
}

// topLevel is a role by a root: the published one, where there is one.
func (r *Repository) topLevel(name string, published, next *metadata.Metadata[metadata.RootType]) Role {
	if published == nil {
		published = next
	}
	entry := published.Signed.Roles[name]
	return Role{Name: name, Keys: entry.KeyIDs, Threshold: entry.Threshold}
}

func (r *Repository) targetsRole(name string) (Role, error) {
	role := Role{Name: name}
	published, err1 := r.published(name)
	next, err2 := r.stagedTargets(name)
	known, ids, threshold, err3 := r.signersOf(name)
	if err := errors.Join(err1, err2, err3); err != nil {
		return role, err
	}
	role.Keys, role.Threshold = ids, threshold
	if published != nil {
		role.Version, role.Expires = published.Signed.Version, published.Signed.Expires
	}
	if next == nil {
		return role, nil
	}
	role.Staged = &Staged{Version: next.Signed.Version, Expires: next.Signed.Expires, Needs: []Signatures{needs(name, known, ids, threshold, next)}}
	role.Staged.Changes, err1 = r.targetsChanges(published, next)
	role.Staged.May, err2 = r.mayStage(name)
	return role, errors.Join(err1, err2)
}

// signersOf are the keys of a role by what is staged, else by what is published.
func (r *Repository) signersOf(name string) (known map[string]*metadata.Key, ids []string, threshold int, err error) {
	root, err := r.newestRoot()
	if err != nil {
		return nil, nil, 0, err
	}
	if entry := root.Signed.Roles[name]; entry != nil {
		return root.Signed.Keys, entry.KeyIDs, entry.Threshold, nil
	}
	targets, err := r.draft(metadata.TARGETS)
	if err != nil {
		return nil, nil, 0, err
	}
	d := delegation(&targets.Signed, name)
	if d == nil {
		return nil, nil, 0, fmt.Errorf("there is no role %s", name)
	}
	return targets.Signed.Delegations.Keys, d.KeyIDs, d.Threshold, nil
}

// Keys are a role's, with what is staged.
func (r *Repository) Keys(role string) (Keys, error) {
	known, ids, threshold, err := r.signersOf(role)
	if err != nil {
		return Keys{}, err
	}
	keys := Keys{Threshold: threshold}
	for _, id := range ids {
		if known[id] == nil {
			return Keys{}, fmt.Errorf("%s: key %s is missing", role, ShortID(id))
		}
		public, err := known[id].ToPublicKey()
		if err != nil {
			return Keys{}, fmt.Errorf("%s: key %s: %w", role, ShortID(id), err)
		}
		keys.Public = append(keys.Public, public)
	}
	return keys, nil
}

func (r *Repository) onlineRoles() ([]Role, error) {
	_, published, err1 := r.root()
	next, err2 := r.stagedRoot()
	timestamp, snapshot, err3 := r.state()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	all := []Role{r.topLevel(metadata.SNAPSHOT, published, next), r.topLevel(metadata.TIMESTAMP, published, next)}
	if timestamp != nil {
		all[0].Version, all[0].Expires = snapshot.Signed.Version, snapshot.Signed.Expires
		all[1].Version, all[1].Expires = timestamp.Signed.Version, timestamp.Signed.Expires
	}
	return all, nil
}

// needs says what a set of keys has signed of m. Each key is asked for alone:
// a signature that is no good counts for nothing.
func needs[T metadata.Roles](role string, known map[string]*metadata.Key, ids []string, threshold int, m *metadata.Metadata[T]) Signatures {
	s := Signatures{Keys: ids, Threshold: threshold, Given: []string{}}
	for _, id := range ids {
		one := metadata.Root()
		one.Signed.Keys = known
		one.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
		if one.VerifyDelegate(role, m) == nil && !slices.Contains(s.Given, id) {
			s.Given = append(s.Given, id)
		}
	}
	return s
}
