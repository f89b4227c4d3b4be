package publish

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// shortIDLength is of what people compare, in hex digits.
const shortIDLength = 16

// ShortID is the beginning of a key's id. What is staged may come from anybody's
// stick: nothing of it reaches a terminal as it is.
func ShortID(id string) string {
	if _, err := hex.DecodeString(id); err != nil || len(id) < shortIDLength {
		return fmt.Sprintf("%.20q", id)
	}
	return id[:shortIDLength]
}

// signedBy is who signs for a role, in words.
func signedBy(threshold int, ids []string) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = ShortID(id)
	}
	return fmt.Sprintf("%d of %s", threshold, strings.Join(short, ", "))
}

// rootChanges says what a root changes of the one before, nil for the first.
func rootChanges(old, next *metadata.Metadata[metadata.RootType]) []string {
	changes := []string{}
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		is, was := next.Signed.Roles[role], ""
		if old != nil {
			was = signedBy(old.Signed.Roles[role].Threshold, old.Signed.Roles[role].KeyIDs)
		}
		if now := signedBy(is.Threshold, is.KeyIDs); now != was {
			changes = append(changes, fmt.Sprintf("%s is signed by %s", role, now))
		}
	}
	return changes
}

// targetsChanges says what a targets role, or a vendor's, changes of the one
// before, nil for the first.
func (r *Repository) targetsChanges(old, next *metadata.Metadata[metadata.TargetsType]) ([]string, error) {
	if old == nil {
		old = metadata.Targets()
	}
	changes := delegationChanges(&old.Signed, &next.Signed)
	names := slices.Sorted(maps.Keys(next.Signed.Targets))
	for name := range old.Signed.Targets {
		if next.Signed.Targets[name] == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") {
			continue // an image: its product's document tells
		}
		was, err := r.said(name, old.Signed.Targets[name])
		if err != nil {
			return nil, err
		}
		is, err := r.said(name, next.Signed.Targets[name])
		if err != nil {
			return nil, err
		}
		for _, c := range productChanges(was, is) {
			changes = append(changes, fmt.Sprintf("%q: %s", strings.TrimSuffix(name, ".json"), c))
		}
	}
	return changes, nil
}

func delegationChanges(old, next *metadata.TargetsType) []string {
	changes := []string{}
	who := func(t *metadata.TargetsType) map[string]string {
		m := map[string]string{}
		if t.Delegations != nil {
			for _, d := range t.Delegations.Roles {
				m[d.Name] = fmt.Sprintf("%s is entrusted with %q, signed by %s", d.Name, d.Paths, signedBy(d.Threshold, d.KeyIDs))
			}
		}
		return m
	}
	was, is := who(old), who(next)
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if is[name] != was[name] {
			changes = append(changes, is[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if is[name] == "" {
			changes = append(changes, name+" is entrusted with nothing any more")
		}
	}
	return changes
}

// said is the document that a role names, an empty one for nil.
func (r *Repository) said(name string, f *metadata.TargetFiles) (*manifest.Product, error) {
	if f == nil {
		return &manifest.Product{}, nil
	}
	data, err := os.ReadFile(r.target(name, manifest.Digest(f.Hashes["sha256"])))
	if err != nil {
		return nil, err
	}
	if err := f.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return manifest.ParseProduct(data)
}

func productChanges(old, next *manifest.Product) (changes []string) {
	add := func(format string, args ...any) { changes = append(changes, fmt.Sprintf(format, args...)) }
	if old.Minimum != next.Minimum {
		add("the lowest version that may run is %d, after %d", next.Minimum, old.Minimum)
	}
	for _, b := range next.Bad {
		if !slices.Contains(old.Bad, b) {
			add("%s must not run: %s", span(b), b.Reason)
		}
	}
	for _, b := range old.Bad {
		if !slices.Contains(next.Bad, b) {
			add("that %s must not run is said no more", span(b))
		}
	}
	was, is := releases(old), releases(next)
	for _, version := range slices.Sorted(maps.Keys(is)) {
		if is[version] != was[version] {
			add("release of %s", is[version])
		}
	}
	for _, version := range slices.Sorted(maps.Keys(was)) {
		if is[version] == "" {
			add("version %d is no release any more", version)
		}
	}
	return changes
}

func span(b manifest.Bad) string {
	if b.From == b.To {
		return fmt.Sprintf("version %d", b.From)
	}
	return fmt.Sprintf("versions %d to %d", b.From, b.To)
}

// releases are a product's, each in words.
func releases(p *manifest.Product) map[uint32]string {
	m := map[uint32]string{}
	for _, r := range p.Releases {
		s := fmt.Sprintf("version %d (%s), %d octets, SHA-256 %s", r.Version, r.Name, r.Size, r.SHA256)
		if r.Applies != nil {
			s += fmt.Sprintf(", for versions %d to %d", r.Applies.Min, r.Applies.Max)
		}
		if r.Hardware != nil {
			s += fmt.Sprintf(", for hardware versions %d to %d", r.Hardware.Min, r.Hardware.Max)
		}
		if r.Notes != "" {
			s += ", notes at " + r.Notes
		}
		m[r.Version] = s
	}
	return m
}
