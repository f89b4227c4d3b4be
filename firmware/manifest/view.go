package manifest

import (
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// view is what a pass found said. It does not change.
type view struct {
	name     string
	signed   time.Time
	expires  time.Time
	roles    []Role
	products map[string]*Statement // by document path
	faults   []*Error
}

var documentName = regexp.MustCompile(`^[0-9A-F]{4}/[0-9A-F]{4}\.json$`)

// products reads the documents that the roles name.
func (p *pass) products() error {
	p.describe()
	names := p.documentNames()
	if len(names) > MaxProducts {
		return refuse(Endless, "targets", "%d products, more than %d", len(names), MaxProducts)
	}
	p.view.products = map[string]*Statement{}
	total := int64(0)
	for _, name := range names {
		file, role := p.resolve(name)
		if file == nil {
			continue // spoken of only by who has no say
		}
		hash, ok := sha256Of(file)
		if !ok || file.Length < 1 || file.Length > MaxDocument {
			p.fault(refuse(Malformed, name, "no SHA-256, or a length of %d", file.Length))
			continue
		}
		if total += file.Length; total > MaxDocuments {
			return refuse(Endless, name, "the documents exceed %d octets", MaxDocuments)
		}
		data, err := p.document(name, hash, file)
		if err != nil {
			return err
		}
		product, fault := p.parse(name, data)
		if fault != nil {
			p.fault(fault)
			continue
		}
		expires := p.trusted.Targets[role].Signed.Expires
		if p.view.expires.Before(expires) {
			expires = p.view.expires
		}
		p.view.products[name] = &Statement{Product: *product, Role: role, SHA256: hash, Expires: expires}
	}
	return nil
}

// describe notes names, versions and expiries.
func (p *pass) describe() {
	root, timestamp, snapshot := p.trusted.Root.Signed, p.trusted.Timestamp.Signed, p.trusted.Snapshot.Signed
	targets := p.trusted.Targets[metadata.TARGETS].Signed
	if name, _ := root.UnrecognizedFields[NameField].(string); text("", name, MaxName) == nil {
		p.view.name = name
	}
	signed, _ := timestamp.UnrecognizedFields[SignedField].(string)
	p.view.signed, _ = time.Parse(time.RFC3339, signed)
	p.view.roles = []Role{
		{metadata.ROOT, root.Version, root.Expires},
		{metadata.TIMESTAMP, timestamp.Version, timestamp.Expires},
		{metadata.SNAPSHOT, snapshot.Version, snapshot.Expires},
		{metadata.TARGETS, targets.Version, targets.Expires},
	}
	p.view.expires = slices.MinFunc(p.view.roles, func(a, b Role) int { return a.Expires.Compare(b.Expires) }).Expires
	for _, r := range p.delegated() {
		signed := p.trusted.Targets[r.Name].Signed
		p.view.roles = append(p.view.roles, Role{r.Name, signed.Version, signed.Expires})
	}
}

func (p *pass) delegated() []metadata.DelegatedRole {
	if d := p.trusted.Targets[metadata.TARGETS].Signed.Delegations; d != nil {
		return d.Roles
	}
	return nil
}

// documentNames lists what the roles say that there is, each within its own
// part.
func (p *pass) documentNames() []string {
	names := map[string]bool{}
	for name := range p.trusted.Targets[metadata.TARGETS].Signed.Targets {
		names[name] = documentName.MatchString(name)
	}
	for _, r := range p.delegated() {
		for _, name := range slices.Sorted(maps.Keys(p.trusted.Targets[r.Name].Signed.Targets)) {
			if ok, err := r.IsDelegatedPath(name); err != nil || !ok {
				p.fault(refuse(Outside, r.Name, "it speaks of %.80q", name))
			} else if documentName.MatchString(name) {
				names[name] = true
			}
		}
	}
	maps.DeleteFunc(names, func(_ string, document bool) bool { return !document })
	return slices.Sorted(maps.Keys(names))
}

// resolve finds who has the say on a target, in TUF's order: the targets role,
// then the delegated ones in theirs, until a terminating one.
func (p *pass) resolve(name string) (*metadata.TargetFiles, string) {
	targets := p.trusted.Targets[metadata.TARGETS].Signed
	if file := targets.Targets[name]; file != nil {
		return file, metadata.TARGETS
	}
	if targets.Delegations == nil {
		return nil, ""
	}
	for _, r := range targets.Delegations.GetRolesForTarget(name) {
		if file := p.trusted.Targets[r.Name].Signed.Targets[name]; file != nil {
			return file, r.Name
		}
		if r.Terminating {
			break
		}
	}
	return nil, ""
}

func (p *pass) document(name string, hash Digest, file *metadata.TargetFiles) ([]byte, error) {
	for _, seed := range p.seeds {
		if data := seed.Documents[name]; data != nil && file.VerifyLengthHashes(data) == nil {
			p.out.Documents[name] = data
			return data, nil
		}
	}
	if p.from == nil {
		return nil, refuse(Damaged, name, "the document is not the one that was signed")
	}
	data, err := read(p.ctx, p.from, TargetFile(name, hash), file.Length)
	if err != nil {
		return nil, err
	}
	if err := file.VerifyLengthHashes(data); err != nil {
		return nil, &Error{WrongContent, name, err}
	}
	p.out.Documents[name] = data
	return data, nil
}

// parse reads a document and holds it against its path and the images.
func (p *pass) parse(name string, data []byte) (*Product, *Error) {
	product, err := ParseProduct(data)
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, &Error{e.Code, name, e.Err}
	}
	if DocumentPath(product.VendorID, product.ProductID) != name {
		return nil, refuse(Malformed, name, "the document is of vendor %04X, product %04X", product.VendorID, product.ProductID)
	}
	for _, r := range product.Releases {
		image, _ := p.resolve(ImagePath(product.VendorID, r.SHA256))
		if image == nil {
			return nil, refuse(Malformed, name, "the image of version %d is not in the repository", r.Version)
		}
		if hash, _ := sha256Of(image); hash != r.SHA256 || image.Length != r.Size {
			return nil, refuse(Malformed, name, "the image of version %d has another digest or size", r.Version)
		}
	}
	return product, nil
}

func (p *pass) fault(e *Error) {
	if len(p.view.faults) < MaxFaults {
		p.view.faults = append(p.view.faults, e)
	}
}

func sha256Of(file *metadata.TargetFiles) (d Digest, ok bool) {
	hash := file.Hashes["sha256"]
	if len(hash) != len(d) {
		return d, false
	}
	return Digest(hash), true
}

// TargetFile is the file of a target, under consistent snapshots.
func TargetFile(name string, hash Digest) string {
	return path.Join("targets", path.Dir(name), hash.String()+"."+path.Base(name))
}
