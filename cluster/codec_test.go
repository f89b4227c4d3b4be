package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

var update = flag.Bool("update", false, "write the golden files; never those of a release")

// commands has one of every kind, with every field set.
func commands() map[string]fabric.Command {
	all := map[string]fabric.Command{"found": found(), "reserve": reserve(7)}
	rooted := fabric.Reseal{IssuerKey: []byte("key"), IPK: []byte("ipk"), ICAC: []byte("icac"), Recovery: []byte("kit"), Former: []byte("former ipk")}
	credential := fabric.Credential{Generation: 2, Serial: []byte("serial"), NOCHash: []byte("hash"), PublicKey: []byte("key")}
	all["found"].Found.Home.VendorID = 0xFFF1
	all["found"].Found.Home.IPK = []byte("sealed ipk")
	all["found"].Found.Gateway.SealKey = []byte("public")
	*all["reserve"].Reserve = fabric.Reserve{Node: 7, Gateway: gateway, Zone: "home", Deadline: start + 60_000, Name: "lamp",
		Facts: fabric.Facts{VendorID: 0xFFF1, ProductID: 0x8001, VendorName: "vendor", ProductName: "product", SerialNumber: "sn",
			UniqueID: "id", HardwareVersion: 1, SoftwareVersion: 2, SoftwareString: "2.0"},
		Attested: fabric.Attested{PAA: "6AFD22771F511FECBF1641976710DCDC31A1717E", Exception: "test"}}
	envelope := []fabric.Envelope{{Gateway: gateway, Helper: gateway + 1, To: []byte("to"), Blob: []byte("closed")}}
	reseal := &fabric.Reseal{Keyring: fabric.Keyring{Number: 2, Issuing: envelope, Shared: envelope}, IssuerKey: []byte("key"), IPK: []byte("ipk"),
		Networks: map[string][]byte{"mesh": []byte("sealed")}, Recovery: []byte("kit"), ICAC: []byte("icac")}
	policy := &fabric.FirmwarePolicy{Unknown: fabric.AdmitDevice, Recalled: fabric.RefuseDevice, Outdated: fabric.QuarantineDevice, Uncertified: fabric.AdmitDevice, Grace: 1000}
	standing := &fabric.Standing{Verdict: fabric.QuarantineDevice, Since: start, Version: 2, Attested: true, Deadline: start + 1, Enforced: true,
		Reasons: []fabric.FirmwareReason{{Code: "firmware-recalled", From: "house", Text: "it burns"}},
		Update:  &fabric.FirmwareImage{From: "house", Version: 3, Name: "3.0", SHA256: bytes.Repeat([]byte{3}, 32), Size: 1000}}
	judged := &fabric.State{Version: 4, Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, Standing: standing}}, Zones: map[string]*fabric.Zone{"attic": {Name: "attic", Firmware: policy}},
		Firmware: &fabric.Firmware{Policy: *policy, Ledger: "https://example.org", Sources: map[string]*fabric.FirmwareSource{"house": {Name: "house", Where: "/media", Root: []byte("{}"), AddedAt: start}}}}
	pass := &fabric.Pass{ID: "digest", Name: "browser", Token: true, Role: fabric.Resident, Since: start, Expires: start + 1}
	for name, c := range map[string]fabric.Command{
		"issue":            {Issue: &fabric.Issue{Node: 7, NOCHash: bytes.Repeat([]byte{1}, 32), PublicKey: bytes.Repeat([]byte{4}, 65)}},
		"admit":            {Admit: &fabric.Admit{Node: 7}},
		"abandon":          {Abandon: &fabric.Abandon{Node: 7, Reason: "reason"}},
		"remove":           {Remove: &fabric.Remove{Node: 7, Reason: "reason"}},
		"rename":           {Rename: &fabric.Rename{Node: 7, Name: "other lamp"}},
		"add-zone":         {AddZone: &fabric.AddZone{Name: "attic"}},
		"add-anchors":      {AddAnchors: &fabric.AddAnchors{Anchors: []fabric.Anchor{{Kind: fabric.PAA, DER: []byte("der"), Test: true, Source: "file", AddedAt: start}}}},
		"remove-anchor":    {RemoveAnchor: &fabric.RemoveAnchor{ID: fabric.AnchorID([]byte("der"))}},
		"add-exception":    {AddException: &fabric.Exception{Name: "test", VendorID: 0xFFF1, ProductID: 0x8001, Expires: start + 1}},
		"remove-exception": {RemoveException: &fabric.RemoveException{Name: "test"}},
		"set-revocations":  {SetRevocations: &fabric.SetRevocations{JSON: []byte("[]")}},
		"set-network":      {SetNetwork: &fabric.SetNetwork{Name: "mesh", Kind: fabric.Thread, ID: []byte("12345678"), Sealed: []byte("sealed"), DataKey: 1}},
		"remove-network":   {RemoveNetwork: &fabric.RemoveNetwork{Name: "mesh"}},
		"prefer-network":   {PreferNetwork: &fabric.PreferNetwork{Name: "mesh"}},
		"describe-gateway": {DescribeGateway: &fabric.DescribeGateway{Node: gateway, Version: 2, Storage: "file"}},
		"reserve-gateway": {Request: bytes.Repeat([]byte{7}, fabric.RequestSize), ReserveGateway: &fabric.ReserveGateway{Node: gateway + 1, Name: "attic",
			PublicKey: bytes.Repeat([]byte{4}, 65), SealKey: []byte("seal"), Version: 2, Storage: "tpm2"}},
		"renew-gateway": {RenewGateway: &fabric.RenewGateway{Node: gateway}},
		"issue-gateway": {IssueGateway: &fabric.IssueGateway{Node: gateway + 1, NOC: []byte("noc"), CAT: 1}},
		"evict-gateway": {EvictGateway: &fabric.EvictGateway{Node: gateway + 1, Reason: "stolen", Reseal: reseal}},
		"set-seal-key":  {SetSealKey: &fabric.SetSealKey{Node: gateway, SealKey: []byte("another")}},
		"reseal":        {Reseal: reseal},
		"restore": {Restore: &fabric.Restore{State: &fabric.State{Version: 2, Restores: 1}, Gateway: fabric.Gateway{Node: gateway, Version: 2},
			Generation: fabric.Generation{Number: 17, ICAC: []byte("icac")}, CAT: 9, Reseal: *reseal}},
		"rotate-sealing": {RotateSealing: &fabric.RotateSealing{Suite: 2}},
		"reseal-3": {Reseal: &fabric.Reseal{Keyring: fabric.Keyring{Number: 2, Issuing: envelope, Shared: envelope, Suite: 2}, IssuerKey: []byte("key"), IPK: []byte("ipk"),
			Networks: map[string][]byte{}}},
		"take-over":    {TakeOver: &fabric.TakeOver{From: gateway, To: []cert.NodeID{gateway + 1}}},
		"set-access":   {SetAccess: &fabric.SetAccess{Nodes: []cert.NodeID{7}, Version: 2}},
		"reserve-2":    {Reserve: &fabric.Reserve{Node: 7, Gateway: gateway, FailSafe: 60_000}},
		"issue-2":      {Issue: &fabric.Issue{Node: 7, NOCHash: bytes.Repeat([]byte{1}, 32), PublicKey: bytes.Repeat([]byte{4}, 65), Gateway: gateway}},
		"admit-2":      {Admit: &fabric.Admit{Node: 7, Gateway: gateway, Access: 1}},
		"reroot":       {Reroot: &fabric.Reroot{Root: []byte("other root"), NOCs: map[cert.NodeID][]byte{gateway: []byte("noc")}, Reseal: rooted}},
		"reserve-move": {ReserveMove: &fabric.ReserveMove{Node: 7, Gateway: gateway, FailSafe: 60_000}},
		"issue-move": {IssueMove: &fabric.IssueMove{Node: 7, Gateway: gateway, Serial: []byte("serial"), NOCHash: bytes.Repeat([]byte{1}, 32),
			PublicKey: bytes.Repeat([]byte{4}, 65)}},
		"admit-move":   {AdmitMove: &fabric.AdmitMove{Node: 7, Gateway: gateway, Serial: []byte("serial"), Access: 1}},
		"abandon-move": {AbandonMove: &fabric.AbandonMove{Node: 7, Gateway: gateway, Serial: []byte("serial")}},
		"left-former":  {LeftFormer: &fabric.LeftFormer{Node: 7, Gateway: gateway}},
		"end-reroot":   {EndReroot: &fabric.EndReroot{GiveUp: []cert.NodeID{7}}},
		"restore-3": {Restore: &fabric.Restore{State: &fabric.State{Version: 3, Former: &fabric.Former{Root: []byte("root"), ICAC: []byte("icac"), Generation: 1,
			GatewayCAT: cert.NewCAT(1, 1), IPK: []byte("ipk"), Since: start},
			Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, Before: &credential}, 8: {Node: 8, Next: &fabric.Move{Credential: credential, Phase: fabric.Issued, Deadline: start}}}},
			Gateway: fabric.Gateway{Node: gateway, Version: 3}, Generation: fabric.Generation{Number: 17, ICAC: []byte("icac")}, CAT: 9, Reseal: rooted}},
		"reserve-4":              {Reserve: &fabric.Reserve{Node: 7, Gateway: gateway, FailSafe: 60_000, Standing: standing}},
		"restore-4":              {Restore: &fabric.Restore{State: judged, Gateway: fabric.Gateway{Node: gateway, Version: 4}, Generation: fabric.Generation{Number: 17}, CAT: 9}},
		"set-firmware-policy":    {SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Zone: "attic", Policy: policy}},
		"add-firmware-source":    {AddFirmwareSource: &fabric.AddFirmwareSource{Name: "house", Where: "https://example.org", Root: []byte("{}")}},
		"remove-firmware-source": {RemoveFirmwareSource: &fabric.RemoveFirmwareSource{Name: "house"}},
		"set-firmware-ledger":    {SetFirmwareLedger: &fabric.SetFirmwareLedger{URL: "https://example.org"}},
		"judge":                  {Judge: &fabric.Judge{Node: 7, Gateway: gateway, Standing: *standing, Facts: &fabric.Facts{SoftwareVersion: 3}}},
		"enforce":                {Enforce: &fabric.Enforce{Node: 7, Gateway: gateway, Verdict: fabric.QuarantineDevice}},
		"rename-5":               {By: gateway, Rename: &fabric.Rename{Node: 7, Name: "other lamp"}},
		"restore-trail": {Restore: &fabric.Restore{State: &fabric.State{Version: 5, Trail: &fabric.Trail{Tree: audit.Tree{}.Append([]byte("{}")), Day: 1, Refused: 2, Last: []byte("12345678"), Skipped: 3}},
			Gateway: fabric.Gateway{Node: gateway, Version: 5}, Generation: fabric.Generation{Number: 17}, CAT: 9}},
		"reserve-5": {Reserve: &fabric.Reserve{Node: 7, Gateway: gateway, FailSafe: 60_000, Facts: fabric.Facts{Firmware: []byte("information")},
			Standing: &fabric.Standing{Verdict: fabric.AdmitDevice, Evidence: []fabric.Evidence{{From: "house", At: start, SHA256: bytes.Repeat([]byte{3}, 32)}}}}},
		"judge-5": {Judge: &fabric.Judge{Node: 7, Gateway: gateway, Facts: &fabric.Facts{Firmware: []byte("information")}}},
		"turn-away": {TurnAway: &fabric.TurnAway{Gateway: gateway, Zone: "home", Facts: fabric.Facts{VendorID: 0xFFF1}, Reasons: standing.Reasons,
			Evidence: []fabric.Evidence{{From: "house", At: start}}}},
		"begin-update":          {BeginUpdate: &fabric.BeginUpdate{Node: 7, Gateway: gateway, SHA256: standing.Update.SHA256, Asked: true}},
		"fail-update":           {FailUpdate: &fabric.FailUpdate{Node: 7, Gateway: gateway, SHA256: standing.Update.SHA256, Failure: "fell silent", Stop: true}},
		"begin-rollout":         {BeginRollout: &fabric.BeginRollout{SHA256: standing.Update.SHA256}},
		"stop-rollout":          {StopRollout: &fabric.StopRollout{SHA256: standing.Update.SHA256, Reason: "it flickers"}},
		"set-firmware-policy-5": {SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: &fabric.FirmwarePolicy{Updates: fabric.UpdateAll}}},
		"reserve-move-5":        {ReserveMove: &fabric.ReserveMove{Node: 7, Gateway: gateway, FailSafe: 60_000, Renewal: true}},
		"restore-5": {Restore: &fabric.Restore{State: &fabric.State{Version: 5, Firmware: &fabric.Firmware{Rollouts: map[string]*fabric.Rollout{"03": {Vendor: 0xFFF1, Product: 0x8001, Image: *standing.Update,
			Since: start, First: 7, Passed: true, Stopped: "it flickers", All: true}}}, Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, Untagged: true,
			Attempt: &fabric.Attempt{SHA256: standing.Update.SHA256, Version: 3, Tries: 2, Since: start, Failure: "fell silent", Asked: true}},
			8: {Node: 8, Next: &fabric.Move{Credential: credential, Phase: fabric.Issued, Renewal: true, Untagged: true}}}},
			Gateway: fabric.Gateway{Node: gateway, Version: 5}, Generation: fabric.Generation{Number: 17}, CAT: 9}},
		"set-people": {SetPeople: &fabric.SetPeople{Key: []byte("key"), DataKey: 1, Authority: []byte("der"), Sealed: map[string][]byte{"01": []byte("proof")}, Of: []byte("digest"),
			Hooks: map[string][]byte{"phone": []byte("address")}}},
		"set-hook":      {SetHook: &fabric.SetHook{Name: "phone", Sealed: []byte("address")}},
		"remove-hook":   {RemoveHook: &fabric.RemoveHook{Name: "phone"}},
		"set-person":    {For: "Anna", SetPerson: &fabric.SetPerson{ID: "01", Name: "Anna", Role: fabric.Administrator, Sealed: []byte("proof"), Of: []byte("before"), First: true}},
		"remove-person": {RemovePerson: &fabric.RemovePerson{ID: "01"}},
		"add-pass":      {AddPass: &fabric.AddPass{Person: "01", Pass: *pass, Of: []byte("proof")}},
		"end-passes":    {EndPasses: &fabric.EndPasses{Person: "01", IDs: []string{"digest"}, Except: "other"}},
		"set-approval":  {SetApproval: &fabric.SetApproval{Role: fabric.Resident}},
		"set-room":      {SetRoom: &fabric.SetRoom{Node: 7, Room: "kitchen"}},
		"reseal-6":      {Reseal: &fabric.Reseal{Keyring: fabric.Keyring{Number: 2}, IssuerKey: []byte("key"), IPK: []byte("ipk"), Networks: map[string][]byte{}, People: []byte("people")}},
		"restore-6": {Restore: &fabric.Restore{State: &fabric.State{Version: 6, People: &fabric.People{Key: []byte("key"), Authority: []byte("der"), Approve: fabric.Resident, Exposed: true, Hooks: map[string]*fabric.Hook{"phone": {Name: "phone", Sealed: []byte("address"), Since: start}},
			Persons: map[string]*fabric.Person{"01": {ID: "01", Name: "Anna", Role: fabric.Administrator, Sealed: []byte("proof"), Since: start, Passes: map[string]*fabric.Pass{"digest": pass}}}},
			Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, Room: "kitchen"}}}, Gateway: fabric.Gateway{Node: gateway, Version: 6}, Generation: fabric.Generation{Number: 17}, CAT: 9}},
		"found-6": {Found: &fabric.Found{Home: fabric.Home{Name: "home", FabricID: 1, Root: []byte("root")}, Generation: fabric.Generation{Number: 1}, Gateway: fabric.Gateway{Node: gateway, Version: 6},
			Import: &fabric.Import{Controller: 112233, Published: true}, Devices: []fabric.Inherited{{Node: 7, Name: "lamp", Facts: fabric.Facts{VendorID: 0xFFF1}, Serial: []byte{1}, NOCHash: []byte("hash"), PublicKey: []byte("key")}}}},
		"adopt": {Adopt: &fabric.Adopt{Node: 7, Gateway: gateway, Terms: fabric.SharedTerms, Serial: []byte{1}, NOCHash: []byte("hash"), PublicKey: []byte("key"), Access: 1}},
		"restore-import": {Restore: &fabric.Restore{State: &fabric.State{Version: 6, Import: &fabric.Import{Controller: 112233, Published: true},
			Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, Terms: fabric.RotatingTerms}}}, Gateway: fabric.Gateway{Node: gateway, Version: 6}, Generation: fabric.Generation{Number: 17}, CAT: 9}},
		"set-check-in": {SetCheckIn: &fabric.SetCheckIn{Node: 7, Phase: fabric.CheckInKept, Epoch: 70, Counter: 9, Idle: 3600}},
		"restore-check-in": {Restore: &fabric.Restore{State: &fabric.State{Version: 6, People: &fabric.People{Key: []byte("key"), Authority: []byte("der")},
			Devices: map[cert.NodeID]*fabric.Device{7: {Node: 7, CheckIn: &fabric.CheckIn{Phase: fabric.CheckInDue, Epoch: 70, Counter: 9, Idle: 3600, Before: 60, BeforeCounter: 8}}}},
			Gateway: fabric.Gateway{Node: gateway, Version: 6}, Generation: fabric.Generation{Number: 17}, CAT: 9}},
		"abandon-2": {Abandon: &fabric.Abandon{Node: 7, Reason: "reason", Gateway: gateway}},
	} {
		c.Version, c.Time = c.Needs(), start
		all[name] = c
	}
	return all
}

// state is made of every kind of command.
func state(t testing.TB) *fabric.State {
	s, all := &fabric.State{}, commands()
	second, third := reserve(8), reserve(9)
	abandon := fabric.Command{Version: 1, Abandon: &fabric.Abandon{Node: 9, Reason: "lost"}}
	for i, c := range []fabric.Command{all["found"], all["add-zone"], all["add-anchors"], all["add-exception"], all["set-revocations"],
		all["reserve"], all["issue"], all["admit"], all["rename"], second, third, abandon} {
		var err error
		if s, err = fabric.Apply(s, uint64(i+3), &c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// trailed is a state with a trail.
func trailed(t testing.TB) *fabric.State {
	s, skipped, rename := &fabric.State{}, fabric.Command{Time: start, Reserve: &fabric.Reserve{Node: 8, Gateway: 9}}, commands()["rename-5"]
	begin, first := commands()["found"], reserve(7)
	modern := *begin.Found
	modern.Gateway.Version = 5
	begin.Found = &modern
	for i, c := range []fabric.Command{begin, first, rename, skipped, skipped} {
		c.Version = c.Needs()
		s, _ = fabric.Apply(s, uint64(i+3), &c)
	}
	if s.TrailSize() != 5 || s.Trail.Skipped != 1 {
		t.Fatalf("%+v", s.Trail)
	}
	return s
}

// mixed is a home in which one gateway knows version 5 and the other does not. Its
// golden file was written by the release of version 4.
func mixed(t testing.TB) *fabric.State {
	s, all := &fabric.State{}, commands()
	begin := all["found"]
	old := *begin.Found
	old.Gateway.Version = 4
	begin.Found = &old
	for i, c := range []fabric.Command{begin, all["add-zone"],
		{ReserveGateway: &fabric.ReserveGateway{Node: gateway + 1, PublicKey: bytes.Repeat([]byte{4}, 65), SealKey: []byte("seal"), Version: 5}},
		{IssueGateway: &fabric.IssueGateway{Node: gateway + 1, NOC: []byte("noc"), CAT: 1}},
		{DescribeGateway: &fabric.DescribeGateway{Node: gateway + 1, Version: 5, Storage: "tpm2"}},
		all["reserve"], all["issue"], all["admit"], all["judge"], all["enforce"], all["rename"], all["set-firmware-ledger"],
		{Reserve: &fabric.Reserve{Node: 7, Gateway: 9}}, {Remove: &fabric.Remove{Node: 7, Reason: "sold"}}} {
		c.Version, c.Time = c.Needs(), start+int64(i)
		s, _ = fabric.Apply(s, uint64(i+3), &c)
	}
	if s.Version != 4 || len(s.Tombstones) != 1 || len(s.Gateways) != 2 {
		t.Fatalf("%+v", s)
	}
	return s
}

// TestGolden holds this and every later release to the octets of the first:
// what is in a log or a snapshot must be read for ever, and a value must have
// one encoding.
func TestGolden(t *testing.T) {
	for name, c := range commands() {
		b, err := encodeCommand(&c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeCommand(golden(t, name, b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(&c, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	first := state(t)
	set := commands()["set-network"]
	networks, err := fabric.Apply(first, 100, &set)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]*fabric.State{"state": first, "state-networks": networks, "state-trail": trailed(t), "state-mixed": mixed(t)} {
		b, err := encodeState(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeState(golden(t, name, b))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// golden is the octets of a file in hex, which now must be b.
func golden(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s is encoded %x, was %x", name, b, want)
	}
	return want
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	b, err := encoding.Marshal(map[int]any{0: fabric.Version, 1: start, 5: map[int]any{0: 7, 9: "new"}, 99: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := decodeCommand(b)
	if err != nil || c.Admit == nil || c.Admit.Node != 7 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestBadSnapshots(t *testing.T) {
	good, err := encodeState(state(t))
	if err != nil {
		t.Fatal(err)
	}
	newer, err := encodeState(&fabric.State{Version: fabric.Version + 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := decodeState(bad); err == nil {
			t.Fatalf("octet %d changed: accepted", i)
		}
		if _, err := decodeState(good[:i]); err == nil {
			t.Fatalf("cut off at %d: accepted", i)
		}
	}
	if _, err := decodeState(newer); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("a newer release's: %v", err)
	}
}

// bounded fails if do allocates more than a multiple of its input.
func bounded(t *testing.T, input []byte, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20+1000*uint64(len(input)) {
		t.Errorf("%d octets allocated for %d", used, len(input))
	}
}

func FuzzCommand(f *testing.F) {
	for _, c := range commands() {
		b, err := encodeCommand(&c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c *fabric.Command
		var err error
		bounded(t, b, func() { c, err = decodeCommand(b) })
		if err != nil {
			return
		}
		once, err := encodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeCommand(once)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Error(d)
		}
		for _, s := range []*fabric.State{state(t), trailed(t)} {
			if _, err := fabric.Apply(s, 100, c); err != nil && err.Error() == "" {
				t.Error("refused without a reason")
			}
		}
	})
}

// snapshotOf is body, with the head and checksum of a snapshot.
func snapshotOf(body []byte) []byte {
	b := append(append([]byte(snapshotMagic), snapshotFormat), body...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func FuzzState(f *testing.F) {
	b, err := encodeState(state(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[snapshotHead : len(b)-32])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := snapshotOf(body)
		var s *fabric.State
		var err error
		bounded(t, b, func() { s, err = decodeState(b) })
		if err != nil {
			return
		}
		once, err := encodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeState(once)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, again); d != "" {
			t.Error(d)
		}
	})
}
