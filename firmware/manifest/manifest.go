// Package manifest reads what publishers sign about firmware: a repository of
// The Update Framework (TUF 1.0, consistent snapshots) in a plain folder, on a
// USB stick or behind https.
//
//	metadata/timestamp.json, metadata/<n>.<role>.json
//	targets/<VID>/<sha256>.<PID>.json    what is said of a product: [Product]
//	targets/<VID>/<sha256>.<sha256>.ota  the images
//
// The targets role, the household's or the integrator's own, may speak of any
// product. It may entrust a vendor's folder to a role of the vendor's. Where
// several speak of one product, TUF's order decides, and one document holds as
// a whole.
//
// It promises that no octet of a repository is acted upon that the keys of the
// root given at set-up do not vouch for, directly or by rotation; that it never
// goes back behind what it has seen, over restarts and power cuts too; that a
// Refresh that fails leaves the last good statements readable; and that each
// attack has its own [Code]. What only its own signer can do wrong (a document
// that is malformed, a vendor that speaks of others) spoils nothing but that
// statement, and is listed among [Status]'s faults.
//
// It never reads the clock, never decides what runs, and does not follow what
// vendors delegate further.
package manifest

import "time"

// Limits of a repository. Sizes are in octets. They bound what a client holds
// in memory, whoever signs.
const (
	MaxRoot      = 64 << 10
	MaxTimestamp = 16 << 10
	MaxSnapshot  = 64 << 10
	MaxTargets   = 1 << 20
	MaxVendor    = 256 << 10
	MaxVendors   = 64
	MaxProducts  = 1024
	MaxDocuments = 8 << 20 // all documents together
	MaxRotations = 64      // of the root, in one Refresh
	MaxFaults    = 64
	MaxRefresh   = 5 * time.Minute
)

// Fields of ours in TUF's metadata, which other clients pass over.
const (
	NameField   = "x-gatehouse-name"   // in root: what the repository is called
	SignedField = "x-gatehouse-signed" // in timestamp: when, as in RFC 3339
)

// Statement is what is said of one product, and by whom.
type Statement struct {
	Product
	Role    string    // "targets", or a vendor's
	SHA256  Digest    // of the document
	Expires time.Time // when the first of the signatures that it rests on expires
	Expired bool      // at the time of asking
}

// Role is one role's present metadata.
type Role struct {
	Name    string
	Version int64
	Expires time.Time
}

// Status is what is known of a repository, and how fresh it is.
type Status struct {
	Name, From string
	Signed     time.Time // when the timestamp was signed, zero where the publisher does not say
	Expires    time.Time // when the first of the top-level roles expires, zero before the first Refresh
	Expired    bool
	Roles      []Role
	Products   int
	Faults     []*Error // what was refused of a repository that is otherwise good
	Refreshed  time.Time
	Tried      time.Time // since the start, zero for never
	Err        error     // of the last try, or of reading the cache; nil where all is well
}
