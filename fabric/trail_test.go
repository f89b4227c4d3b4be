package fabric

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

var update = flag.Bool("update", false, "write the golden file of records; never what a release wrote")

// told is a home whose records are read.
type told struct {
	t       *testing.T
	state   *State
	records [][]byte
	kinds   map[string]string // what the records of each kind of command say first
}

func newTold(t *testing.T) *told { return &told{t: t, state: &State{}, kinds: map[string]string{}} }

// canary is what every octet string is in a command that is not known to be
// public.
const canary = "canary that is to stay in its cage"

// public are the names of octet strings that may be seen.
var public = []string{"Root", "ICAC", "NOC", "NOCs", "SealKey", "PublicKey", "Serial", "NOCHash", "DER", "ID", "To", "Of", "Recovery", "JSON", "SHA256", "Request", "Edge", "Last", "Authority"}

// cage puts the canary into all that may be secret in a command.
func cage(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			cage(v.Elem(), name)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			cage(v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if v.Type().Elem().Kind() == reflect.Slice && v.Type().Elem().Elem().Kind() == reflect.Uint8 && !slices.Contains(public, name) {
				v.SetMapIndex(k, reflect.ValueOf([]byte(canary)))
			} else {
				cage(v.MapIndex(k), name)
			}
		}
	case reflect.Slice:
		switch {
		case v.Type().Elem().Kind() != reflect.Uint8:
			for i := range v.Len() {
				cage(v.Index(i), name)
			}
		case v.Len() > 0 && !slices.Contains(public, name) && v.CanSet():
			v.SetBytes([]byte(canary))
		}
	}
}

// say applies a command as it comes from a gateway.
func (h *told) say(c Command) Code {
	h.t.Helper()
	cage(reflect.ValueOf(&c), "")
	if h.state.Version >= TrailVersion {
		c.By = second
	}
	if h.state.Version >= PeopleVersion {
		c.For = "Anna"
	}
	c.Version = c.Needs()
	c.Time = max(c.Time, start, h.state.Time+1000)
	next, records, err := Advance(h.state, h.state.Index+1, &c)
	had := h.state.TrailSize()
	if c.Restore != nil && err == nil {
		had = c.Restore.State.TrailSize()
	}
	if grown := next.TrailSize() - had; grown != uint64(len(records)) {
		h.t.Fatalf("%d records, the trail grew by %d", len(records), grown)
	}
	tree := audit.Tree{}
	if h.state.Trail != nil {
		tree = h.state.Trail.Tree
	} else if c.Restore != nil && err == nil && c.Restore.State.Trail != nil {
		tree = c.Restore.State.Trail.Tree
	}
	for _, line := range records {
		tree = tree.Append(line)
		if _, err := audit.Parse(line); err != nil {
			h.t.Fatal(err)
		}
		for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary))} {
			if bytes.Contains(line, []byte(form[:20])) {
				h.t.Errorf("a secret is in a record: %s", line)
			}
		}
	}
	if next.Trail != nil && !next.Trail.Tree.Same(tree) {
		h.t.Fatal("the trail does not hold the records")
	}
	if len(records) > 0 && err == nil {
		r, _ := audit.Parse(records[len(records)-1])
		h.kinds[kind(&c)] = r.What
	}
	h.state, h.records = next, append(h.records, records...)
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func (h *told) must(commands ...Command) {
	h.t.Helper()
	for _, c := range commands {
		if code := h.say(c); code != "" {
			h.t.Fatalf("%s: %s", kind(&c), code)
		}
	}
}

func (h *told) ledger() *ledger { return &ledger{h.t, h.state} }

// kind is the name of a command's pointer that is set.
func kind(c *Command) string {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Pointer && !v.Field(i).IsNil() {
			return v.Type().Field(i).Name
		}
	}
	return ""
}

// life has a command of every kind in it, most of them done.
func life(t *testing.T) *told {
	h := newTold(t)
	old := household(t)
	h.state = old.state
	public := append([]byte{4}, bytes.Repeat([]byte{9}, 64)...)
	join := func(n cert.NodeID) {
		h.must(Command{ReserveGateway: &ReserveGateway{Node: n, Name: "attic", PublicKey: public, SealKey: []byte("seal " + n.String()), Version: TrailVersion, Storage: "tpm2"}},
			Command{IssueGateway: &IssueGateway{Node: n, NOC: []byte("noc"), CAT: h.state.Home.GatewayCAT.Version()}})
	}
	hash, key := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{4}, 65)
	pair := func(n cert.NodeID, s *Standing) {
		h.must(Command{Reserve: &Reserve{Node: n, Gateway: gateway, FailSafe: 60_000, Name: "lamp", Standing: s, Attested: Attested{PAA: "6AFD", Exception: "test"},
			Facts: Facts{VendorID: 0xFFF1, ProductID: 0x8001, VendorName: "vendor", ProductName: "product", SoftwareVersion: 2}}},
			Command{Issue: &Issue{Node: n, NOCHash: hash, PublicKey: key, Gateway: gateway}}, Command{Admit: &Admit{Node: n, Gateway: gateway, Access: 1}})
	}
	h.must(Command{AddZone: &AddZone{"before the trail"}})
	h.must(Command{DescribeGateway: &DescribeGateway{gateway, TrailVersion, "file"}}, Command{DescribeGateway: &DescribeGateway{gateway, TrailVersion, "file"}})
	join(second)
	standing := &Standing{Verdict: QuarantineDevice, Version: 2, Attested: true, Deadline: start + 1,
		Reasons: []FirmwareReason{{Code: "firmware-recalled", From: "house", Text: "it \"burns\""}},
		Update:  &FirmwareImage{From: "house", Version: 3, Name: "3.0", SHA256: bytes.Repeat([]byte{3}, 32), Size: 1000}}
	pair(1, nil)
	pair(2, standing)
	h.must(Command{TurnAway: &TurnAway{Gateway: gateway, Zone: "home", Facts: Facts{VendorID: 0xFFF1, ProductID: 0x8001, ProductName: "product"},
		Reasons: standing.Reasons, Evidence: []Evidence{{From: "house", At: start}}}})
	of := standing.Update.SHA256
	begin := Command{BeginUpdate: &BeginUpdate{Node: 2, Gateway: gateway, SHA256: of}}
	h.must(begin, Command{FailUpdate: &FailUpdate{Node: 2, Gateway: gateway, SHA256: of, Failure: "fell silent", Stop: true}}, Command{BeginRollout: &BeginRollout{of}},
		Command{StopRollout: &StopRollout{of, "it flickers"}}, Command{BeginRollout: &BeginRollout{of}}, begin)
	judge := Command{Judge: &Judge{Node: 2, Gateway: gateway, Standing: Standing{Verdict: AdmitDevice, Version: 3}, Facts: &Facts{SoftwareVersion: 3}}}
	judge.Judge.Standing.Evidence = []Evidence{{From: "house", At: start, SHA256: bytes.Repeat([]byte{8}, 32)}}
	h.must(judge, judge, Command{ReserveMove: &ReserveMove{Node: 2, Gateway: gateway, FailSafe: 60_000, Renewal: true}})
	serial := h.ledger().next(2)
	h.must(Command{IssueMove: &IssueMove{Node: 2, Gateway: gateway, Serial: serial, NOCHash: hash, PublicKey: key}}, Command{AdmitMove: &AdmitMove{Node: 2, Gateway: gateway, Serial: serial}})
	h.must(Command{Enforce: &Enforce{2, gateway, AdmitDevice}}, Command{Enforce: &Enforce{2, gateway, AdmitDevice}},
		Command{Rename: &Rename{2, "other lamp"}}, Command{Rename: &Rename{2, "other lamp"}},
		Command{Reserve: &Reserve{Node: 3, Gateway: gateway, FailSafe: 60_000}}, Command{Abandon: &Abandon{Node: 3, Reason: "it fell silent"}},
		Command{AddZone: &AddZone{"attic"}},
		Command{AddAnchors: &AddAnchors{[]Anchor{{Kind: PAA, DER: []byte("der"), Test: true, Source: "file"}, {Kind: CDSigner, DER: []byte("signer"), Source: "file"}}}},
		Command{AddAnchors: &AddAnchors{[]Anchor{{Kind: PAA, DER: []byte("der"), Test: true, Source: "file"}}}},
		Command{RemoveAnchor: &RemoveAnchor{AnchorID([]byte("der"))}},
		Command{AddException: &Exception{Name: "test", VendorID: 0xFFF1, ProductID: 0x8001, Expires: start + 1e9}}, Command{RemoveException: &RemoveException{"test"}},
		Command{SetRevocations: &SetRevocations{[]byte("[]")}}, Command{SetRevocations: &SetRevocations{[]byte("[]")}},
		Command{SetNetwork: &SetNetwork{Name: "mesh", Kind: WiFi, ID: []byte("ssid"), Sealed: []byte("s"), DataKey: 1}}, Command{PreferNetwork: &PreferNetwork{"mesh"}},
		Command{SetFirmwarePolicy: &SetFirmwarePolicy{Zone: "attic", Policy: &FirmwarePolicy{Unknown: AdmitDevice, Grace: 1000}}}, Command{SetFirmwarePolicy: &SetFirmwarePolicy{}},
		Command{AddFirmwareSource: &AddFirmwareSource{"house", "https://me:" + canary + "@example.org/repo?token=" + canary, []byte("{}")}},
		Command{SetFirmwareLedger: &SetFirmwareLedger{"https://example.org#" + canary}}, Command{RemoveFirmwareSource: &RemoveFirmwareSource{"house"}},
		Command{RenewGateway: &RenewGateway{second}}, Command{IssueGateway: &IssueGateway{Node: second, NOC: []byte("noc"), CAT: 1}})
	h.must(Command{Reseal: h.ledger().sealed()})
	h.must(Command{RotateSealing: &RotateSealing{2}}, Command{SetSealKey: &SetSealKey{second, []byte("seal anew")}})
	suite := h.ledger().sealed()
	suite.Keyring.Suite = 2
	h.must(Command{Reseal: suite})
	join(third)
	h.must(Command{TakeOver: &TakeOver{gateway, []cert.NodeID{second, third}}}, Command{TakeOver: &TakeOver{gateway, []cert.NodeID{second}}})
	h.must(Command{EvictGateway: &EvictGateway{Node: third, Reason: "stolen"}}, Command{SetAccess: &SetAccess{[]cert.NodeID{1, 2}, 2}}, Command{SetAccess: &SetAccess{[]cert.NodeID{1, 2}, 2}})
	for _, n := range []cert.NodeID{gateway, second} {
		h.must(Command{RenewGateway: &RenewGateway{n}}, Command{IssueGateway: &IssueGateway{Node: n, NOC: []byte("noc"), CAT: 2}})
	}
	h.must(Command{TakeOver: &TakeOver{gateway, []cert.NodeID{second}}})
	suite = h.ledger().sealed()
	suite.Keyring.Suite = 2
	h.must(Command{Reseal: suite})
	root := h.ledger().rerooting()
	root.Reseal.Keyring.Suite = 2
	h.must(Command{Reroot: root}, reserveMove(1))
	h.must(issueMove(1, h.ledger().next(1)))
	h.must(abandonMove(1, h.ledger().next(1)), reserveMove(1))
	h.must(issueMove(1, h.ledger().next(1)))
	h.must(admitMove(1, h.ledger().next(1)), leftFormer(1), Command{EndReroot: &EndReroot{[]cert.NodeID{2}}}, remove(1), Command{RemoveNetwork: &RemoveNetwork{"mesh"}})
	return h
}

// crowd is a home with people.
func crowd(t *testing.T) *told {
	h := newTold(t)
	h.state = household(t).state
	h.must(Command{DescribeGateway: &DescribeGateway{gateway, PeopleVersion, "file"}}, Command{SetPeople: &SetPeople{Key: []byte("k"), DataKey: 1, Authority: []byte("der"), Of: h.state.Personal()}})
	set := func(id, name string, role Role) Command {
		c := Command{SetPerson: &SetPerson{ID: id, Name: name, Role: role, Sealed: []byte("s")}}
		if p := h.state.Person(id); p != nil {
			c.SetPerson.Of = p.Sealed
		}
		return c
	}
	h.must(set("01", "Anna", Administrator), set("02", "Bert", Guest))
	h.must(set("02", "Bertie", Resident))
	pass := Pass{ID: "0123456789abcdef0123456789abcdef", Name: "Firefox", Role: Resident, Expires: start + 1e9}
	h.must(Command{AddPass: &AddPass{Person: "02", Pass: pass, Of: h.state.Person("02").Sealed}})
	h.must(Command{EndPasses: &EndPasses{Person: "02"}}, Command{EndPasses: &EndPasses{Person: "02"}}, Command{RemovePerson: &RemovePerson{"02"}},
		Command{SetApproval: &SetApproval{Resident}}, Command{SetApproval: &SetApproval{Resident}})
	h.must(Command{Reserve: &Reserve{Node: 1, Gateway: gateway, FailSafe: 60_000, Name: "lamp"}}, Command{SetRoom: &SetRoom{1, "kitchen"}}, Command{SetRoom: &SetRoom{1, "kitchen"}},
		Command{SetHook: &SetHook{"phone", []byte("s")}}, Command{RemoveHook: &RemoveHook{"phone"}})
	h.sleeper(1)
	h.must(Command{SetCheckIn: &SetCheckIn{Node: 1, Phase: CheckInEnding}}, Command{SetCheckIn: &SetCheckIn{Node: 1}}, Command{SetCheckIn: &SetCheckIn{Node: 1}})
	return h
}

// restoredHome is the next life of a home.
func (h *told) restoredHome() *told {
	next := newTold(h.t)
	next.must(Command{Restore: h.restoration()})
	return next
}

func (h *told) restoration() *Restore {
	kept, err := h.state.Backup()
	if err != nil {
		h.t.Fatal(err)
	}
	r := &Restore{State: kept, Generation: Generation{Number: 40, ICAC: []byte("icac 40")}, CAT: 300}
	r.Gateway = Gateway{Node: heir, Name: "new", NOC: []byte("noc"), SealKey: []byte("s"), Serial: FirstSerial(40), CAT: 300, Version: TrailVersion}
	after := *kept
	after.Gateways = map[cert.NodeID]*Gateway{heir: &r.Gateway}
	r.Reseal = *(&ledger{h.t, &after}).sealed()
	r.Reseal.Keyring.Suite = after.Suite
	return r
}

// TestBadTrails has backups whose trail could not go on.
func TestBadTrails(t *testing.T) {
	h := life(t)
	for what, spoil := range map[string]func(*Restore){
		"no edge":                 func(r *Restore) { r.State.Trail = &Trail{Tree: audit.Tree{Size: 7}} },
		"too large":               func(r *Restore) { r.State.Trail = &Trail{Tree: audit.Tree{Size: 1 << 60, Edge: make([]byte, 32)}} },
		"for an older gateway":    func(r *Restore) { r.Gateway.Version = TrailVersion - 1 },
		"an older gateway's kind": nil,
	} {
		r, want := h.restoration(), CodeInvalid
		if spoil != nil {
			spoil(r)
		} else if r.State.Trail, want = nil, ""; (&Command{Restore: r}).Needs() >= TrailVersion {
			t.Error("a backup without a trail needs a gateway that keeps one")
		}
		if code := newTold(t).say(Command{Restore: r}); code != want {
			t.Errorf("%s: %q", what, code)
		}
	}
}

// TestRecords holds the record of every kind of command to its octets for ever:
// they are hashed on gateways of several releases.
func TestRecords(t *testing.T) {
	h := life(t)
	if h.state.Trail == nil || !strings.HasPrefix(string(h.records[0]), `{"index":0,`) || !strings.Contains(string(h.records[0]), "trail-begun") {
		t.Fatalf("the trail begins with %s", h.records[0])
	}
	next := h.restoredHome()
	if got := next.state.TrailSize(); got != h.state.TrailSize()+1 {
		t.Errorf("%d records after a restore with %d", got, h.state.TrailSize())
	}
	young := newTold(t)
	young.must(Command{Found: &Found{Home: Home{Name: "home", FabricID: 1, Root: []byte("root"), Birth: start, GatewayCAT: cert.NewCAT(1, 1)},
		Generation: Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed")}, Gateway: Gateway{Node: gateway, Name: "hall", NOC: []byte("noc"), Version: TrailVersion}}})
	crowd, heirs := crowd(t), heirs(t)
	all := slices.Concat(young.records, h.records, next.records, crowd.records, heirs.records)
	maps.Copy(h.kinds, next.kinds)
	maps.Copy(h.kinds, young.kinds)
	maps.Copy(h.kinds, crowd.kinds)
	maps.Copy(h.kinds, heirs.kinds)
	said := map[string]string{}
	for i, kinds := 0, reflect.TypeFor[Command](); i < kinds.NumField(); i++ {
		f := kinds.Field(i)
		what := h.kinds[f.Name]
		switch {
		case f.Type.Kind() != reflect.Pointer:
		case what == "" || what == unknownKind:
			t.Errorf("nothing is recorded of %s: subject, decided and this test need it", f.Name)
		case said[what] != "":
			t.Errorf("%s and %s are both %q", f.Name, said[what], what)
		default:
			said[what] = f.Name
		}
	}
	got := append(bytes.Join(all, []byte("\n")), '\n')
	path := filepath.Join("testdata", "records.jsonl")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Error(d)
	}
	t.Logf("%d records, %d octets each", len(all), len(got)/len(all))
}

// TestTrailWaits holds that nothing is recorded while a gateway does not know
// of it, and that none can end it.
func TestTrailWaits(t *testing.T) {
	h := newTold(t)
	h.state = household(t).state
	h.must(Command{Time: start, ReserveGateway: &ReserveGateway{Node: second, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: 4}},
		Command{IssueGateway: &IssueGateway{Node: second, NOC: []byte("noc"), CAT: 1}}, Command{DescribeGateway: &DescribeGateway{gateway, TrailVersion, "file"}}, Command{AddZone: &AddZone{"attic"}})
	if len(h.records) != 0 || h.state.Trail != nil {
		t.Fatalf("%d records", len(h.records))
	}
	// What the leader stamps takes a home that knows of it.
	c := Command{Version: TrailVersion, By: gateway, Time: start, AddZone: &AddZone{"cellar"}}
	var r *Refusal
	if _, err := Apply(h.state, 100, &c); !errors.As(err, &r) || r.Code != CodeOldMember {
		t.Errorf("got %v", err)
	}
	h.must(Command{DescribeGateway: &DescribeGateway{second, TrailVersion, "file"}})
	if len(h.records) != 2 {
		t.Errorf("%d records: %s", len(h.records), h.records)
	}
	if code := h.say(Command{DescribeGateway: &DescribeGateway{second, TrailVersion - 1, "file"}}); code != CodeOldMember || h.state.Version != TrailVersion {
		t.Errorf("a gateway goes back: %q", code)
	}
}

// TestRequestsAreRecordedOnce has a command that is sent again.
func TestRequestsAreRecordedOnce(t *testing.T) {
	h := life(t)
	c := Command{Request: bytes.Repeat([]byte{1}, RequestSize), AddZone: &AddZone{"cellar"}}
	h.must(c)
	n := len(h.records)
	h.must(c)
	if len(h.records) != n {
		t.Errorf("%s", h.records[n])
	}
}

// TestRefusalsAreBounded has a member propose nonsense for days.
func TestRefusalsAreBounded(t *testing.T) {
	h := life(t)
	n := len(h.records)
	nonsense := func(node cert.NodeID) Command {
		return Command{Reserve: &Reserve{Node: node, Gateway: 9, FailSafe: 60_000, Name: canary}}
	}
	for range 50 {
		if h.say(nonsense(7)) != CodeNotAMember {
			t.Fatal("taken")
		}
	}
	if len(h.records) != n+1 || !strings.Contains(string(h.records[n]), `"what":"command-refused","by":"00000000000000A2","device":"0000000000000007","refused":"gateway-not-a-member","details":{"command":"device-reserved"}}`) {
		t.Fatalf("%s", h.records[n:])
	}
	if h.say(Command{AddZone: &AddZone{"attic"}}) != CodeExists || h.say(issue(77)) != CodeUnknown || len(h.records) != n+1 {
		t.Fatalf("a person's mistake, or a race, is recorded: %s", h.records[n:])
	}
	for i := range cert.NodeID(200) {
		h.say(nonsense(1000 + i))
	}
	if got := len(h.records) - n; got != maxRefusals {
		t.Fatalf("%d refusals of one day are recorded", got)
	}
	h.must(Command{AddZone: &AddZone{"cellar"}})
	if last := h.records[len(h.records)-1]; !strings.Contains(string(last), `"skipped":169`) {
		t.Errorf("of what was left out: %s", last)
	}
	c := nonsense(5)
	c.Time = h.state.Time + day
	h.say(c)
	if got := len(h.records) - n; got != maxRefusals+2 || strings.Contains(string(h.records[len(h.records)-1]), "skipped") {
		t.Errorf("the day after: %d, %s", got, h.records[len(h.records)-1])
	}
}

// TestLongestRecords holds the records of the longest commands to their bound.
func TestLongestRecords(t *testing.T) {
	h := life(t)
	long := strings.Repeat("\x00", MaxText)
	standing := Standing{Verdict: QuarantineDevice, Version: 2, Update: &FirmwareImage{From: long, Name: long, SHA256: make([]byte, 32), Size: 1}}
	for range MaxReasons {
		standing.Reasons = append(standing.Reasons, FirmwareReason{long, long, long})
	}
	var anchors []Anchor
	for i := range MaxAnchors - 10 {
		anchors = append(anchors, Anchor{Kind: PAA, DER: fmt.Appendf(nil, "%d", i), Source: long})
	}
	h.must(Command{AddZone: &AddZone{long}},
		Command{Reserve: &Reserve{Node: 9, Gateway: gateway, Zone: long, FailSafe: 60_000, Name: long, Standing: &standing, Facts: Facts{VendorName: long, ProductName: long}, Attested: Attested{long, long}}},
		Command{AddAnchors: &AddAnchors{anchors}}, Command{AddFirmwareSource: &AddFirmwareSource{strings.Repeat("\x00", maxSourceName), long, []byte("{}")}})
	for i := range cert.NodeID(500) {
		h.must(Command{Reserve: &Reserve{Node: 1000 + i, Gateway: gateway, FailSafe: 600_000}})
	}
	var others []cert.NodeID
	for n := cert.NodeID(0xB0); len(h.state.Members()) < MaxGateways; n++ {
		h.must(Command{ReserveGateway: &ReserveGateway{Node: n, Name: long, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: Version, Storage: long}},
			Command{IssueGateway: &IssueGateway{Node: n, NOC: []byte("noc"), CAT: 2}})
		others = append(others, n)
	}
	h.must(Command{TakeOver: &TakeOver{gateway, others}})
	longest := 0
	for _, r := range h.records {
		longest = max(longest, len(r))
	}
	if longest > audit.MaxRecord {
		t.Errorf("a record of %d octets", longest)
	}
	t.Logf("the longest record has %d octets", longest)
	h.restoredHome()
}

// TestRecordsOfRandomCommands holds that Advance is total and deterministic
// whatever is proposed.
func TestRecordsOfRandomCommands(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 7))
		a, b := life(t), life(t)
		for range 100 {
			n := cert.NodeID(random.IntN(12))
			g := []cert.NodeID{gateway, second, third, 0}[random.IntN(4)]
			c := []Command{reserve(n), issue(n), admit(n), abandon(n), remove(n), judge(AdmitDevice, uint32(n)), {Enforce: &Enforce{n, g, AdmitDevice}}, {Rename: &Rename{n, "x"}},
				{TakeOver: &TakeOver{g, []cert.NodeID{gateway}}}, {SetAccess: &SetAccess{[]cert.NodeID{n}, uint16(random.IntN(4))}}, reserveMove(n), abandonMove(n, nil), leftFormer(n),
				{EndReroot: &EndReroot{}}, {RenewGateway: &RenewGateway{g}}, {IssueGateway: &IssueGateway{g, []byte("noc"), 2}}, {DescribeGateway: &DescribeGateway{g, uint8(n), ""}},
				{SetSealKey: &SetSealKey{g, []byte("s")}}, {RemoveAnchor: &RemoveAnchor{"x"}}, {RemoveNetwork: &RemoveNetwork{"x"}}, {PreferNetwork: &PreferNetwork{"x"}},
				{RemoveException: &RemoveException{"x"}}, {Found: &Found{}}, {Restore: &Restore{}}, {Reroot: &Reroot{}}, {Reseal: &Reseal{}}, {EvictGateway: &EvictGateway{Node: g}}, {}}[random.IntN(28)]
			if c.Reserve != nil {
				c.Reserve.Deadline, c.Reserve.FailSafe = 0, 1000
			}
			if a.say(c) != b.say(c) {
				t.Fatalf("seed %d: decided otherwise", seed)
			}
		}
		if d := cmp.Diff(a.state, b.state); d != "" || !slices.EqualFunc(a.records, b.records, bytes.Equal) {
			t.Fatalf("seed %d: another trail: %s", seed, d)
		}
	}
}

func TestAddress(t *testing.T) {
	for where, want := range map[string]string{
		"/media/stick": "/media/stick", "https://example.org/a/b": "https://example.org/a/b", "https://u:p@example.org": "https://example.org",
		"https://u:p@x@example.org/a@b?c=d": "https://example.org/a@b", "https://example.org?token=x#y": "https://example.org", "https://u:p/@example.org": "https://u:p/@example.org",
	} {
		if got := address(where); got != want {
			t.Errorf("%s is written %s", where, got)
		}
	}
}
