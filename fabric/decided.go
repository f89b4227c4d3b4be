package fabric

import (
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// decided are the records of a command that was applied: one, unless it decided
// nothing that was not so before, or ended several things at once. No octet of
// a secret is in any, sealed or not.
func (c *Command) decided(before, after *State) []audit.Record {
	r := c.subject()
	var o audit.Object
	switch {
	case c.Found != nil:
		o = o.Text("fabric", after.Home.FabricID.String()).Text("root", hash(after.Home.Root))
		if i := after.Import; i != nil {
			o = o.Text("from", i.Controller.String()).Flag("published", i.Published).Number("devices", int64(len(after.Devices)))
		}
	case c.Adopt != nil:
		d := after.Devices[r.Device]
		o = credential(o.Text("terms", d.Terms.String()).Number("access", int64(d.AccessVersion())), d.NOCHash, d.PublicKey)
	case c.SetCheckIn != nil:
		was, is := before.Devices[r.Device].CheckIn, after.Devices[r.Device].CheckIn
		if was == is || was != nil && is != nil && *was == *is {
			return nil
		}
		if is == nil {
			is = &CheckIn{}
		}
		o = o.Text("phase", is.Phase.String()).Number("epoch", int64(is.Epoch))
	case c.Restore != nil:
		return []audit.Record{restored(r, c.Restore, after)}
	case c.Reserve != nil:
		d := after.Devices[r.Device]
		o = standing(attested(facts(o.Text("serial", hex.EncodeToString(d.Serial)), &d.Facts), &d.Attested), d.Standing)
	case c.Issue != nil:
		o = credential(o, c.Issue.NOCHash, c.Issue.PublicKey)
	case c.Admit != nil:
		o = o.Number("access", int64(after.Devices[r.Device].AccessVersion()))
	case c.Abandon != nil:
		o = o.Text("phase", before.Devices[r.Device].Phase.String()).Text("reason", c.Abandon.Reason)
	case c.Remove != nil:
		o = o.Text("reason", c.Remove.Reason)
	case c.Rename != nil:
		if before.Devices[r.Device].Name == c.Rename.Name {
			return nil
		}
		o = o.Text("former", before.Devices[r.Device].Name)
	case c.Judge != nil:
		was, is := before.Devices[r.Device], after.Devices[r.Device]
		if reflect.DeepEqual(was.Standing, is.Standing) && reflect.DeepEqual(was.Facts, is.Facts) {
			return nil
		}
		o = standing(o, is.Standing)
	case c.Enforce != nil:
		if before.Devices[r.Device].Standing.Enforced {
			return nil
		}
		o = o.Text("verdict", c.Enforce.Verdict.String())
	case c.ReserveMove != nil:
		next := after.Devices[r.Device].Next
		o = o.Text("serial", hex.EncodeToString(next.Credential.Serial)).Flag("renewal", next.Renewal).Flag("tagged", !next.Untagged)
	case c.IssueMove != nil:
		o = credential(o, c.IssueMove.NOCHash, c.IssueMove.PublicKey)
	case c.AdmitMove != nil:
		if before.Devices[r.Device].Next.Renewal {
			r.What = "device-renewed"
		}
		d := after.Devices[r.Device]
		o = o.Number("generation", int64(d.Generation)).Number("access", int64(d.AccessVersion())).Flag("tagged", !d.Untagged)
	case c.AbandonMove != nil:
		o = o.Text("phase", before.Devices[r.Device].Next.Phase.String())
	case c.TurnAway != nil:
		f := c.TurnAway.Facts.bounded()
		o = evidence(reasons(facts(o.Text("at", c.TurnAway.Gateway.String()), &f), c.TurnAway.Reasons), c.TurnAway.Evidence)
	case c.BeginUpdate != nil:
		a := after.Devices[r.Device].Attempt
		o = o.Text("image", hex.EncodeToString(a.SHA256)).Number("version", int64(a.Version)).Number("try", int64(a.Tries)).Flag("asked", a.Asked)
	case c.FailUpdate != nil:
		a, rollout := after.Devices[r.Device].Attempt, after.Rollout(c.FailUpdate.SHA256)
		o = o.Text("image", hex.EncodeToString(a.SHA256)).Number("version", int64(a.Version)).Number("try", int64(a.Tries)).Text("why", a.Failure).
			Flag("stops", rollout != nil && rollout.Stopped != "")
	case c.SetAccess != nil:
		rewritten := changed(before, after, func(was, is *Device) bool { return was.AccessVersion() != is.AccessVersion() })
		if len(rewritten) == 0 {
			return nil
		}
		o = nodes(o.Number("access", int64(c.SetAccess.Version)), "devices", rewritten)
	case c.TakeOver != nil:
		moved := spreadTo(before, after)
		if moved == nil {
			return nil
		}
		o = o.Objects("to", moved)
	case c.AddZone != nil:
		o = o.Number("tag", int64(after.Zones[r.Zone].CAT))
	case c.AddAnchors != nil:
		if o = anchors(before, after); o == nil {
			return nil
		}
	case c.RemoveAnchor != nil:
		o = anchor(o, c.RemoveAnchor.ID, before.Anchors[c.RemoveAnchor.ID])
	case c.AddException != nil:
		o = o.Number("vendor_id", int64(c.AddException.VendorID)).Number("product_id", int64(c.AddException.ProductID)).Number("expires", c.AddException.Expires)
	case c.SetRevocations != nil:
		if string(before.Revocations) == string(after.Revocations) {
			return nil
		}
		o = o.Text("sha256", hash(after.Revocations)).Number("size", int64(len(after.Revocations)))
	case c.SetNetwork != nil:
		o = o.Text("kind", c.SetNetwork.Kind.String())
	default:
		return c.decidedOfHome(before, after, r)
	}
	r.Details = o
	return []audit.Record{r}
}

// decidedOfHome is decided of what is about gateways, the root, and what is
// settled for the whole home.
func (c *Command) decidedOfHome(before, after *State, r audit.Record) []audit.Record {
	var o audit.Object
	switch {
	case c.DescribeGateway != nil:
		if was, is := before.Gateways[r.Gateway], after.Gateways[r.Gateway]; was.Version == is.Version && was.Storage == is.Storage {
			return nil
		}
		o = o.Number("version", int64(c.DescribeGateway.Version)).Text("storage", c.DescribeGateway.Storage)
	case c.ReserveGateway != nil:
		o = o.Text("key", hex.EncodeToString(c.ReserveGateway.PublicKey)).Text("seal_key", hash(c.ReserveGateway.SealKey)).
			Number("version", int64(c.ReserveGateway.Version)).Text("storage", c.ReserveGateway.Storage)
	case c.RenewGateway != nil:
		o = o.Text("serial", hex.EncodeToString(after.Gateways[r.Gateway].Reserved))
	case c.IssueGateway != nil:
		if before.Gateways[r.Gateway].Member() {
			r.What = "gateway-renewed"
		}
		g := after.Gateways[r.Gateway]
		r.Name = g.Name
		o = o.Text("certificate", hash(g.NOC)).Text("serial", hex.EncodeToString(g.Serial)).Number("tag", int64(g.CATVersion()))
		if r.What == "gateway-admitted" {
			o = o.Text("key", hex.EncodeToString(g.PublicKey))
		}
	case c.EvictGateway != nil:
		r.Name = before.Gateways[r.Gateway].Name
		o = o.Text("reason", c.EvictGateway.Reason).Number("tag", int64(after.Home.GatewayCAT.Version())).Objects("to", spreadTo(before, after))
	case c.SetSealKey != nil:
		o = o.Text("seal_key", hash(c.SetSealKey.SealKey))
	case c.Reseal != nil:
		o = resealed(o, after).Flag("kit", c.Reseal.Recovery != nil)
	case c.RotateSealing != nil:
		o = o.Number("suite", int64(c.RotateSealing.Suite))
	case c.Reroot != nil:
		o = resealed(o.Text("root", hash(after.Home.Root)), after).Number("devices", int64(len(after.Stragglers())))
	case c.EndReroot != nil:
		return ended(before, after, r)
	case c.SetFirmwarePolicy != nil:
		if o = o.Flag("default", c.SetFirmwarePolicy.Policy == nil); c.SetFirmwarePolicy.Policy != nil {
			p := c.SetFirmwarePolicy.Policy
			o = o.Text("unknown", p.Unknown.String()).Text("recalled", p.Recalled.String()).Text("outdated", p.Outdated.String()).
				Text("uncertified", p.Uncertified.String()).Number("grace", p.Grace).Text("updates", p.Updates.String())
		}
	case c.AddFirmwareSource != nil:
		o = o.Text("where", address(c.AddFirmwareSource.Where)).Text("root", hash(c.AddFirmwareSource.Root))
	case c.SetFirmwareLedger != nil:
		o = o.Text("where", address(c.SetFirmwareLedger.URL))
	case c.BeginRollout != nil:
		v := after.Rollout(c.BeginRollout.SHA256)
		o = o.Text("image", hex.EncodeToString(v.Image.SHA256)).Number("vendor_id", int64(v.Vendor)).Number("product_id", int64(v.Product)).Number("version", int64(v.Image.Version))
	case c.SetPeople != nil, c.SetPerson != nil, c.RemovePerson != nil, c.AddPass != nil, c.EndPasses != nil, c.SetApproval != nil:
		return c.decidedOfPeople(before, after, r)
	case c.SetRoom != nil:
		if before.Devices[r.Device].Room == c.SetRoom.Room {
			return nil
		}
		o = o.Text("room", c.SetRoom.Room).Text("former", before.Devices[r.Device].Room)
	case c.StopRollout != nil:
		o = o.Text("image", hex.EncodeToString(c.StopRollout.SHA256)).Text("reason", c.StopRollout.Reason)
	}
	r.Details = o
	return []audit.Record{r}
}

// restored says where another life of the home goes on.
func restored(r audit.Record, c *Restore, after *State) audit.Record {
	was := &Trail{}
	if c.State.Trail != nil {
		was = c.State.Trail
	}
	var over []cert.NodeID
	for _, n := range slices.Sorted(maps.Keys(c.State.Devices)) {
		if after.Devices[n] == nil {
			over = append(over, n)
		}
	}
	root := was.Tree.Root()
	g := after.Gateways[r.Gateway]
	r.Name = g.Name
	r.Details = nodes(audit.Object(nil).Number("life", int64(after.Restores)).Number("generation", int64(after.Generation().Number)).
		Number("tag", int64(after.Home.GatewayCAT.Version())).Number("trail", int64(was.Tree.Size)).Text("trail_root", hex.EncodeToString(root[:])).
		Number("backup", c.State.Time).Number("devices", int64(len(after.Devices))), "abandoned", over)
	if key, err := g.Key(); err == nil {
		r.Details = r.Details.Text("key", hex.EncodeToString(key[:]))
	}
	return r
}

// ended are the records of a change of the root that is over, and of each device
// that was given up.
func ended(before, after *State, r audit.Record) (all []audit.Record) {
	for _, n := range slices.Sorted(maps.Keys(before.Devices)) {
		if after.Devices[n] == nil {
			all = append(all, audit.Record{What: "device-removed", Device: n, Details: audit.Object(nil).Text("reason", after.Tombstones[n].Reason)})
		}
	}
	return append(all, r)
}

func credential(o audit.Object, noc, key []byte) audit.Object {
	return o.Text("certificate", hex.EncodeToString(noc)).Text("key", hash(key))
}

func resealed(o audit.Object, after *State) audit.Object {
	return o.Number("data_key", int64(after.DataKey())).Number("suite", int64(after.SealSuite())).Number("generation", int64(after.Generation().Number))
}

func facts(o audit.Object, f *Facts) audit.Object {
	return o.Number("vendor_id", int64(f.VendorID)).Number("product_id", int64(f.ProductID)).Text("vendor", f.VendorName).Text("product", f.ProductName).
		Number("hardware", int64(f.HardwareVersion)).Number("software", int64(f.SoftwareVersion))
}

func attested(o audit.Object, a *Attested) audit.Object {
	if o = o.Text("paa", a.PAA); a.Exception != "" {
		o = o.Text("exception", a.Exception)
	}
	return o
}

// standing is what was decided of a device's software, with all that speaks
// against it.
func standing(o audit.Object, s *Standing) audit.Object {
	if s == nil {
		return o
	}
	o = o.Text("verdict", s.Verdict.String()).Number("version", int64(s.Version)).Flag("attested", s.Attested).Flag("enforced", s.Enforced)
	o = reasons(o, s.Reasons)
	if u := s.Update; u != nil {
		o = o.Object("update", audit.Object(nil).Text("from", u.From).Number("version", int64(u.Version)).Text("sha256", hex.EncodeToString(u.SHA256)))
	}
	if s.Deadline != 0 {
		o = o.Number("deadline", s.Deadline)
	}
	return evidence(o, s.Evidence)
}

func reasons(o audit.Object, all []FirmwareReason) audit.Object {
	if len(all) == 0 {
		return o
	}
	var list []audit.Object
	for _, r := range all {
		list = append(list, audit.Object(nil).Text("code", r.Code).Text("from", r.From).Text("text", r.Text))
	}
	return o.Objects("reasons", list)
}

func evidence(o audit.Object, all []Evidence) audit.Object {
	if len(all) == 0 {
		return o
	}
	var list []audit.Object
	for _, e := range all {
		list = append(list, audit.Object(nil).Text("from", e.From).Number("at", e.At).Text("sha256", hex.EncodeToString(e.SHA256)))
	}
	return o.Objects("evidence", list)
}

func anchor(o audit.Object, id string, a *Anchor) audit.Object {
	kind := "paa"
	if a.Kind == CDSigner {
		kind = "cd-signer"
	}
	return o.Text("id", id).Text("kind", kind).Flag("test", a.Test).Text("source", a.Source)
}

// anchors are those that came, nil if none did.
func anchors(before, after *State) audit.Object {
	var came []string
	for _, id := range slices.Sorted(maps.Keys(after.Anchors)) {
		if before.Anchors[id] == nil {
			came = append(came, id)
		}
	}
	if len(came) == 0 {
		return nil
	}
	var some []audit.Object
	for _, id := range came[:min(len(came), listed/2)] {
		some = append(some, anchor(nil, id, after.Anchors[id]))
	}
	// The hash over all ids, each with a line's end, is for those not listed.
	return audit.Object(nil).Number("added", int64(len(came))).Text("sha256", hash([]byte(strings.Join(came, "\n")+"\n"))).Objects("anchors", some)
}

// changed are the devices for which something is not as it was.
func changed(before, after *State, differs func(was, is *Device) bool) (all []cert.NodeID) {
	for _, n := range slices.Sorted(maps.Keys(after.Devices)) {
		if was := before.Devices[n]; was != nil && differs(was, after.Devices[n]) {
			all = append(all, n)
		}
	}
	return all
}

// spreadTo says which devices went to whom.
func spreadTo(before, after *State) (all []audit.Object) {
	moved := changed(before, after, func(was, is *Device) bool { return was.Gateway != is.Gateway })
	for _, g := range slices.Sorted(maps.Keys(after.Gateways)) {
		var got []cert.NodeID
		for _, n := range moved {
			if after.Devices[n].Gateway == g {
				got = append(got, n)
			}
		}
		if len(got) > 0 {
			all = append(all, nodes(audit.Object(nil).Text("gateway", g.String()), "devices", got))
		}
	}
	return all
}

// address is an address without what might be a password: who asks, and what
// is asked for.
func address(where string) string {
	where, _, _ = strings.Cut(where, "#")
	where, _, _ = strings.Cut(where, "?")
	scheme, rest, ok := strings.Cut(where, "://")
	if !ok {
		return where
	}
	host, path, slash := strings.Cut(rest, "/")
	host = host[strings.LastIndex(host, "@")+1:]
	if slash {
		host += "/" + path
	}
	return scheme + "://" + host
}
