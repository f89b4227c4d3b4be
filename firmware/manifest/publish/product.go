package publish

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"gatehouse/firmware/durable"
	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Edit stages a change of what role says of a product. Where the targets role
// speaks of it for the first time, it begins with what its vendor says: its
// word holds as a whole, and would hide the vendor's warnings.
func (r *Repository) Edit(role string, vendor, product uint16, change func(*manifest.Product) error) error {
	return r.edit(role, func(t *metadata.TargetsType) error {
		name := manifest.DocumentPath(vendor, product)
		p, err := r.document(role, name, t)
		if err != nil {
			return err
		}
		if p == nil {
			p = &manifest.Product{Version: manifest.DocumentVersion, VendorID: vendor, ProductID: product}
		}
		if err := change(p); err != nil {
			return err
		}
		data, err := p.Marshal()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		digest := manifest.Digest(sha256.Sum256(data))
		if err := r.write(r.target(name, digest), data); err != nil {
			return err
		}
		t.Targets[name] = targetFile(digest, int64(len(data)))
		for _, release := range p.Releases {
			t.Targets[manifest.ImagePath(vendor, release.SHA256)] = targetFile(release.SHA256, release.Size)
		}
		return nil
	})
}

// AddRelease keeps an image, and stages that role says release of it. Digest
// and size are taken from the image; a release of the same version is replaced.
func (r *Repository) AddRelease(role string, vendor, product uint16, release manifest.Release, image io.Reader) error {
	digest, size, err := r.keep(vendor, image)
	if err != nil {
		return fmt.Errorf("keep the image of version %d: %w", release.Version, err)
	}
	release.SHA256, release.Size = digest, size
	return r.Edit(role, vendor, product, func(p *manifest.Product) error {
		p.Releases = slices.DeleteFunc(p.Releases, func(old manifest.Release) bool { return old.Version == release.Version })
		p.Releases = append(p.Releases, release)
		return nil
	})
}

// SetMinimum stages the lowest software version that may run, 0 for any.
func (r *Repository) SetMinimum(role string, vendor, product uint16, minimum uint32) error {
	return r.Edit(role, vendor, product, func(p *manifest.Product) error {
		p.Minimum = minimum
		return nil
	})
}

// MarkBad stages that software versions must not run.
func (r *Repository) MarkBad(role string, vendor, product uint16, bad manifest.Bad) error {
	return r.Edit(role, vendor, product, func(p *manifest.Product) error {
		p.Bad = append(p.Bad, bad)
		return nil
	})
}

// keep writes an image under its digest. Until a document names it, nobody
// looks there.
func (r *Repository) keep(vendor uint16, image io.Reader) (manifest.Digest, int64, error) {
	sum, size := sha256.New(), int64(0)
	folder := path.Dir(r.target(manifest.ImagePath(vendor, manifest.Digest{}), manifest.Digest{}))
	if err := durable.Sweep(folder); err != nil {
		return manifest.Digest{}, 0, err
	}
	temporary, err := durable.Stage(folder, func(w io.Writer) (err error) {
		size, err = io.Copy(io.MultiWriter(w, sum), io.LimitReader(image, manifest.MaxImage+1))
		if err == nil && (size == 0 || size > manifest.MaxImage) {
			err = fmt.Errorf("the image is empty or exceeds %d octets", manifest.MaxImage)
		}
		return err
	})
	if err != nil {
		return manifest.Digest{}, 0, err
	}
	digest := manifest.Digest(sum.Sum(nil))
	return digest, size, durable.Rename(temporary, r.target(manifest.ImagePath(vendor, digest), digest))
}

// document reads what is said of a product in t, or for the targets role by
// its vendor; nil where nothing is.
func (r *Repository) document(role, name string, t *metadata.TargetsType) (*manifest.Product, error) {
	f := t.Targets[name]
	if f == nil && role == metadata.TARGETS {
		vendor, err := optional(r.draft("vendor-" + path.Dir(name)))
		if err != nil {
			return nil, err
		}
		if vendor != nil {
			f = vendor.Signed.Targets[name]
		}
	}
	if f == nil {
		return nil, nil
	}
	data, err := os.ReadFile(r.target(name, manifest.Digest(f.Hashes["sha256"])))
	if err != nil {
		return nil, err
	}
	return manifest.ParseProduct(data)
}

// target is where a target lies.
func (r *Repository) target(name string, digest manifest.Digest) string {
	return r.path(manifest.TargetFile(name, digest))
}

func targetFile(digest manifest.Digest, size int64) *metadata.TargetFiles {
	f := metadata.TargetFile()
	f.Length, f.Hashes = size, metadata.Hashes{"sha256": digest[:]}
	return f
}
