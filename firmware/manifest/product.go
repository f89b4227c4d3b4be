package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// DocumentVersion is the version of the product document that this package
// reads and writes. A document may gain fields within it: unknown ones are
// passed over. What older readers must not pass over takes another version.
const DocumentVersion = 1

// Limits of a product document. Lengths are in octets.
const (
	MaxDocument = 32 << 10
	MaxReleases = 64
	MaxBad      = 64
	MaxReason   = 256
	MaxName     = 64  // Matter: SoftwareVersionString
	MaxNotes    = 256 // Matter: ReleaseNotesURL
	MaxImage    = 64 << 20
	MaxFirmware = 512
	maxDepth    = 8
)

// Digest is the SHA-256 of an image. It is written as 64 lower-case hex
// digits.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Digest) UnmarshalText(text []byte) error {
	n, err := hex.Decode(d[:], text[:min(len(text), 2*len(d))])
	if err != nil || n != len(d) || d.String() != string(text) {
		return fmt.Errorf("a digest is %d lower-case hex digits", 2*len(d))
	}
	return nil
}

// Product is what a publisher says of a product's firmware.
type Product struct {
	Version   int       `json:"version"` // of the document
	VendorID  uint16    `json:"vendor"`
	ProductID uint16    `json:"product"`
	Minimum   uint32    `json:"minimum,omitempty"` // the lowest software version that may run, 0 for any
	Bad       []Bad     `json:"bad,omitempty"`
	Releases  []Release `json:"releases,omitempty"`
}

// Bad is a range of software versions, ends included, that must not run.
type Bad struct {
	From   uint32 `json:"from"`
	To     uint32 `json:"to"`
	Reason string `json:"reason"`
}

// Release is one software version and its image.
type Release struct {
	Version  uint32    `json:"version"`
	Name     string    `json:"name"`               // the software version string
	Applies  *Range    `json:"applies,omitempty"`  // to the software versions that can go to it, nil for any lower one
	Hardware *Hardware `json:"hardware,omitempty"` // the hardware versions it is for, nil for any
	SHA256   Digest    `json:"sha256"`             // of the whole image, header included
	Size     int64     `json:"size"`               // octets
	Notes    string    `json:"notes,omitempty"`    // an https URL for people
	Firmware string    `json:"firmware,omitempty"` // firmware information in the attestation of a device that runs it, in hex
}

// Range is software versions, ends included.
type Range struct {
	Min uint32 `json:"min"`
	Max uint32 `json:"max"`
}

// Hardware is hardware versions, ends included.
type Hardware struct {
	Min uint16 `json:"min"`
	Max uint16 `json:"max"`
}

// DocumentPath is the target that holds a product's document.
func DocumentPath(vendor, product uint16) string {
	return fmt.Sprintf("%04X/%04X.json", vendor, product)
}

// ImagePath is the target that holds an image of vendor's.
func ImagePath(vendor uint16, digest Digest) string {
	return fmt.Sprintf("%04X/%s.ota", vendor, digest)
}

// ParseProduct reads a product document. Names are in lower-case ASCII and come
// once per object, nothing is null, nothing follows the document.
func ParseProduct(data []byte) (*Product, error) {
	if len(data) > MaxDocument {
		return nil, refuse(Endless, "", "a document of %d octets, more than %d", len(data), MaxDocument)
	}
	if err := strict(data); err != nil {
		return nil, &Error{Malformed, "", err}
	}
	// The version comes first: the rest of a newer document may have other types.
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, &Error{Malformed, "", err}
	}
	if head.Version > DocumentVersion {
		return nil, refuse(Newer, "", "the document has version %d, and %d is known", head.Version, DocumentVersion)
	}
	var p Product
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, &Error{Malformed, "", err}
	}
	if err := p.Check(); err != nil {
		return nil, &Error{Malformed, "", err}
	}
	return &p, nil
}

// Marshal writes the document that [ParseProduct] reads. It refuses what Check
// refuses, and what is longer than MaxDocument.
func (p *Product) Marshal() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(p, "", " ")
	if err == nil && len(data) > MaxDocument {
		err = fmt.Errorf("a document of %d octets, more than %d", len(data), MaxDocument)
	}
	return data, err
}

// Check refuses a document that contradicts itself or exceeds a limit.
func (p *Product) Check() error {
	switch {
	case p.Version != DocumentVersion:
		return fmt.Errorf("document version %d", p.Version)
	case p.VendorID == 0:
		return fmt.Errorf("no vendor is named")
	case len(p.Bad) > MaxBad, len(p.Releases) > MaxReleases:
		return fmt.Errorf("%d bad ranges and %d releases, more than %d and %d", len(p.Bad), len(p.Releases), MaxBad, MaxReleases)
	}
	for _, b := range p.Bad {
		if b.From > b.To {
			return fmt.Errorf("bad versions from %d to %d", b.From, b.To)
		}
		if err := text("the reason", b.Reason, MaxReason); err != nil {
			return err
		}
	}
	seen := map[uint32]bool{}
	for _, r := range p.Releases {
		if seen[r.Version] {
			return fmt.Errorf("version %d comes twice", r.Version)
		}
		seen[r.Version] = true
		if err := r.check(); err != nil {
			return fmt.Errorf("version %d: %w", r.Version, err)
		}
	}
	return nil
}

func (r *Release) check() error {
	switch {
	case r.Size < 1 || r.Size > MaxImage:
		return fmt.Errorf("an image of %d octets, not 1 to %d", r.Size, MaxImage)
	// An image that applies to itself or to newer ones would be a way back.
	case r.Applies != nil && (r.Applies.Min > r.Applies.Max || r.Applies.Max >= r.Version):
		return fmt.Errorf("applies to versions %d to %d", r.Applies.Min, r.Applies.Max)
	case r.Hardware != nil && r.Hardware.Min > r.Hardware.Max:
		return fmt.Errorf("for hardware versions %d to %d", r.Hardware.Min, r.Hardware.Max)
	}
	if b, err := hex.DecodeString(r.Firmware); err != nil || len(b) > MaxFirmware {
		return fmt.Errorf("the firmware information is not hex of at most %d octets", MaxFirmware)
	}
	if err := text("the version's name", r.Name, MaxName); err != nil {
		return err
	}
	if r.Notes == "" {
		return nil
	}
	if err := text("the notes' address", r.Notes, MaxNotes); err != nil {
		return err
	}
	// It becomes a link in a web page: nothing but https may stand there.
	if u, err := url.Parse(r.Notes); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the notes' address is no https URL")
	}
	return nil
}

func text(what, s string, limit int) error {
	if s == "" || len(s) > limit || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s is not 1 to %d octets of printable text", what, limit)
	}
	return nil
}
