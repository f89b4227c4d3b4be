package manifest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// state is metadata and documents as they were signed, so that they can be
// verified again.
type state struct {
	Roots     [][]byte // those after the root given at set-up
	Timestamp []byte
	Snapshot  []byte
	Roles     map[string][]byte `json:",omitempty"`
	Documents map[string][]byte `json:",omitempty"` // by path
}

// pass is one walk through a repository, in the order of TUF's client workflow
// (section 5). trustedmetadata judges each file. go-tuf's updater, which would
// fetch and keep them, is not used: it keeps files one by one and unsynced, so
// that a cut leaves a mixed cache, gives up for good on a damaged one, and goes
// back to the first root whenever it starts.
type pass struct {
	ctx     context.Context
	from    Fetcher  // nil: nothing but the seeds
	seeds   []*state // what was verified before
	now     time.Time
	trusted *trustedmetadata.TrustedMetadata
	out     state // what was verified now, also where the pass fails
	view    view
}

// verify walks through the repository from the root given at set-up. The pass
// is returned even with an error: what it did verify must not be forgotten.
func verify(ctx context.Context, root []byte, from Fetcher, seeds []*state, now time.Time) (p *pass, err error) {
	p = &pass{ctx: ctx, from: from, seeds: seeds, now: now}
	p.out.Roles, p.out.Documents = map[string][]byte{}, map[string][]byte{}
	defer rescue(&err)
	if err := p.roots(root); err != nil {
		return p, err
	}
	for _, step := range []func() error{p.timestamp, p.snapshot, p.targets, p.products} {
		if err := step(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// rescue makes an error of a panic. go-tuf panics on some of what a key holder
// can sign: a null among keys or files, an Ed25519 key of the wrong length.
func rescue(err *error) {
	if r := recover(); r != nil {
		*err = refuse(Malformed, "", "%v", r)
	}
}

func (p *pass) roots(initial []byte) (err error) {
	if p.trusted, err = trustedmetadata.New(initial); err != nil {
		return classify("root", err, Rollback)
	}
	p.trusted.RefTime = p.now
	update := func(data []byte) error {
		_, err := p.trusted.UpdateRoot(data)
		if err == nil {
			p.out.Roots = append(p.out.Roots, data)
		}
		return err
	}
	for _, seed := range p.seeds {
		for _, data := range seed.Roots {
			_ = update(data) // one that was there already, or that another set-up knew
		}
	}
	for n := 0; p.from != nil && n < MaxRotations; n++ {
		name := fmt.Sprintf("metadata/%d.root.json", p.trusted.Root.Signed.Version+1)
		data, err := read(p.ctx, p.from, name, MaxRoot)
		if missing(err) {
			break
		} else if err != nil {
			return err
		}
		if err := update(data); err != nil {
			return classify("root", err, Rollback)
		}
	}
	if !p.trusted.Root.Signed.ConsistentSnapshot {
		return refuse(Malformed, "root", "no consistent snapshots")
	}
	return nil
}

func (p *pass) timestamp() error {
	update := func(data []byte) error {
		before := p.trusted.Timestamp
		_, err := p.trusted.UpdateTimestamp(data)
		if p.trusted.Timestamp == before {
			return err
		}
		// Never kept: go-tuf would panic over it in each later pass.
		if p.trusted.Timestamp.Signed.Meta["snapshot.json"] == nil {
			return refuse(Malformed, "timestamp", "no snapshot is named")
		}
		p.out.Timestamp = data
		return err
	}
	for _, seed := range p.seeds {
		// One that has expired, too, says what must not be gone back behind. One
		// whose key was rotated away does not: so a version run up by a thief ends.
		if err := update(seed.Timestamp); err != nil && p.from == nil {
			return classify("timestamp", err, Rollback)
		}
	}
	if p.from == nil {
		return nil
	}
	data, err := read(p.ctx, p.from, "metadata/timestamp.json", MaxTimestamp)
	if err != nil {
		return err
	}
	err = update(data)
	if errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return nil
	}
	return classify("timestamp", err, Rollback)
}

func (p *pass) snapshot() error {
	update := func(data []byte, seed bool) error {
		before := p.trusted.Snapshot
		_, err := p.trusted.UpdateSnapshot(data, seed)
		if p.trusted.Snapshot == before {
			return classify("snapshot", err, Rollback)
		}
		for name, meta := range p.trusted.Snapshot.Signed.Meta {
			if meta == nil {
				return refuse(Malformed, "snapshot", "nothing is said of %.40q", name)
			}
		}
		if seed || err == nil {
			p.out.Snapshot = data
		}
		return classify("snapshot", err, Mixed)
	}
	for _, seed := range p.seeds {
		_ = update(seed.Snapshot, true) // as with the timestamp
	}
	meta := p.trusted.Timestamp.Signed.Meta["snapshot.json"]
	data, err := p.metadata("snapshot", meta, MaxSnapshot, func(s *state) []byte { return s.Snapshot })
	if err != nil {
		return err
	}
	return update(data, false)
}

var (
	roleName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	topLevelRole = []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS}
)

// VendorRole reports whether a role may have this name beside the top-level
// ones.
func VendorRole(name string) bool {
	return roleName.MatchString(name) && !slices.Contains(topLevelRole, name)
}

func (p *pass) targets() error {
	if err := p.role(metadata.TARGETS, metadata.ROOT, MaxTargets); err != nil {
		return err
	}
	delegations := p.trusted.Targets[metadata.TARGETS].Signed.Delegations
	if delegations == nil {
		return nil
	}
	if delegations.SuccinctRoles != nil || len(delegations.Roles) > MaxVendors {
		return refuse(Malformed, "targets", "delegations in bins, or to more than %d roles", MaxVendors)
	}
	// A vendor that does not renew must not freeze the home: the snapshot
	// vouches that this is its last word, and the statement is marked expired.
	p.trusted.RefTime = time.Time{}
	for _, r := range delegations.Roles {
		if !VendorRole(r.Name) || p.trusted.Targets[r.Name] != nil {
			return refuse(Malformed, "targets", "a role named %.40q", r.Name)
		}
		if err := p.role(r.Name, metadata.TARGETS, MaxVendor); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) role(name, parent string, limit int64) error {
	meta := p.trusted.Snapshot.Signed.Meta[name+".json"]
	if meta == nil {
		return refuse(Mixed, name, "the snapshot does not list it")
	}
	data, err := p.metadata(name, meta, limit, func(s *state) []byte { return s.Roles[name] })
	if err != nil {
		return err
	}
	if _, err := p.trusted.UpdateDelegatedTargets(data, name, parent); err != nil {
		return classify(name, err, Mixed)
	}
	p.out.Roles[name] = data
	return nil
}

// metadata brings a role's file: from a seed where that is certainly the same,
// else from the repository.
func (p *pass) metadata(role string, meta *metadata.MetaFiles, limit int64, kept func(*state) []byte) ([]byte, error) {
	for _, seed := range p.seeds {
		data := kept(seed)
		if p.from == nil || data != nil && len(meta.Hashes) > 0 && meta.VerifyLengthHashes(data) == nil {
			return data, nil
		}
	}
	if meta.Length > limit {
		return nil, refuse(Endless, role, "%d octets are announced, more than %d", meta.Length, limit)
	}
	if meta.Length > 0 {
		limit = meta.Length
	}
	return read(p.ctx, p.from, fmt.Sprintf("metadata/%d.%s.json", meta.Version, role), limit)
}
