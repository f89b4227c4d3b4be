package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// TrailVersion is the first that keeps a trail of what was decided. Before all
// gateways know it nothing is recorded, so that all have the same State.
const TrailVersion = 5

// Limits of ours. Whatever members propose that is refused, the trail grows by
// no more than maxRefusals records a day of it.
const (
	maxRefusals = 32
	day         = 24 * 60 * 60 * 1000 // ms
	sameRefusal = 8                   // octets that tell refusals apart
)

// Trail is what the State keeps of the record of all decisions: enough to tell
// what was recorded, and to add to it. The records are each gateway's own to
// keep.
type Trail struct {
	Tree audit.Tree `cbor:"0,keyasint"`
	// What bounds the recording of refusals: the day of the last one, how many
	// were recorded on it, what the last one was, and how many were not recorded
	// since the last record.
	Day     int64  `cbor:"1,keyasint,omitempty"` // of the ledger, since 1970
	Refused uint8  `cbor:"2,keyasint,omitempty"`
	Last    []byte `cbor:"3,keyasint,omitempty"`
	Skipped uint64 `cbor:"4,keyasint,omitempty"`
}

// TrailSize is how many records the trail has.
func (s *State) TrailSize() uint64 { return s.TrailTree().Size }

// TrailTree is the tree of all its records.
func (s *State) TrailTree() audit.Tree {
	if s.Trail == nil {
		return audit.Tree{}
	}
	return s.Trail.Tree
}

// Advance is Apply, and the records that it adds to the trail, each one line.
func Advance(s *State, index uint64, c *Command) (*State, [][]byte, error) {
	next, again, err := advance(s, index, c)
	if again || !next.Founded() || next.Version < TrailVersion {
		return next, nil, err
	}
	var decided []audit.Record
	trail := &Trail{}
	if next.Trail != nil {
		*trail = *next.Trail
	} else {
		decided = append(decided, next.begun())
	}
	var refusal *Refusal
	if err == nil {
		decided = append(decided, c.decided(s, next)...)
	} else if errors.As(err, &refusal) && trail.takes(c, next.Time, refusal.Code) {
		decided = append(decided, c.refused(refusal.Code))
	}
	var records [][]byte
	for _, r := range decided {
		r.Index, r.Time, r.Entry, r.By, r.For = trail.Tree.Size, next.Time, index, c.By, c.For
		r.Skipped, trail.Skipped = trail.Skipped, 0
		next.locate(s, &r)
		line := r.Append(nil)
		trail.Tree = trail.Tree.Append(line)
		records = append(records, line)
	}
	next.Trail = trail
	return next, records, err
}

// begun is the first record: what is believed without one.
func (s *State) begun() audit.Record {
	var members []audit.Object
	for _, g := range s.Members() {
		o := audit.Object(nil).Text("gateway", g.Node.String()).Text("name", g.Name)
		if key, err := g.Key(); err == nil {
			o = o.Text("key", hex.EncodeToString(key[:]))
		}
		members = append(members, o)
	}
	return audit.Record{What: "trail-begun", Name: s.Home.Name, Details: audit.Object(nil).Text("fabric", s.Home.FabricID.String()).
		Objects("gateways", members).Number("devices", int64(len(s.Devices))).Number("former", int64(len(s.Tombstones)))}
}

// locate says of the device that a record is about whose and where it is.
func (s *State) locate(before *State, r *audit.Record) {
	d := s.Devices[r.Device]
	if d == nil {
		d = before.Devices[r.Device]
	}
	if d == nil || r.Refused != "" {
		return
	}
	r.Gateway, r.Zone, r.Name = d.Gateway, d.Zone, d.Name
}

// telling are the refusals that a gateway in order does not ask for. The others
// are races, and a person's mistakes.
var telling = []Code{CodeInvalid, CodeUsed, CodeNotAMember, CodeOwner, CodeSerial, CodeLastGateway, CodeFull, CodeUnknownKind}

// takes reports whether a refusal is recorded, and counts it if it would have
// been but for its number.
func (t *Trail) takes(c *Command, now int64, code Code) bool {
	if !slices.Contains(telling, code) {
		return false
	}
	r := c.subject()
	sum := sha256.Sum256([]byte(r.What + "\n" + c.By.String() + r.Device.String() + r.Gateway.String() + string(code)))
	if today := now / day; t.Day != today {
		t.Day, t.Refused, t.Last = today, 0, nil
	}
	if t.Refused >= maxRefusals || bytes.Equal(t.Last, sum[:sameRefusal]) {
		t.Skipped++
		return false
	}
	t.Refused, t.Last = t.Refused+1, sum[:sameRefusal]
	return true
}

// refused is the record of a command that changed nothing: of what it says, only
// whom it was about.
func (c *Command) refused(code Code) audit.Record {
	r := c.subject()
	return audit.Record{What: "command-refused", Device: r.Device, Gateway: r.Gateway, Refused: string(code), Details: audit.Object(nil).Text("command", r.What)}
}

// TrailOrigin names the home's trail in its checkpoints.
func (s *State) TrailOrigin() string { return audit.Origin(s.Home.FabricID) }

// Checkpoint names what the trail holds.
func (s *State) Checkpoint() audit.Checkpoint {
	return audit.Checkpoint{Origin: s.TrailOrigin(), Size: s.TrailSize(), Root: s.TrailTree().Root()}
}

// flaw is what keeps it from being a Trail, else empty.
func (t *Trail) flaw() string {
	if t != nil && t.Tree.Check() != nil {
		return "the trail is not in order"
	}
	return ""
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// listed are some of many.
const listed = 64

func nodes(o audit.Object, name string, all []cert.NodeID) audit.Object {
	var some []string
	for _, n := range all[:min(len(all), listed)] {
		some = append(some, n.String())
	}
	o = o.Texts(name, some)
	if len(all) > listed {
		o = o.Number(name+"_in_all", int64(len(all)))
	}
	return o
}
