package commissioner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/tlv"
)

// Adopt takes a device that was taken over from another controller one step
// further, over a session with it on the terms it is on, and commits that. Each
// step may be repeated, and leaves the device reachable on the terms of before
// until the next are committed. The error is a *Failure.
func (c *Commissioner) Adopt(ctx context.Context, d *fabric.Device, s *exchange.Session) error {
	cmd := &fabric.Adopt{Node: d.Node, Gateway: c.Identity().Node}
	state := c.Ledger.State()
	var err error
	switch d.Terms {
	case fabric.ForeignTerms:
		cmd.Terms = fabric.SharedTerms
		if err = c.learn(ctx, d, s, cmd); err == nil {
			err = c.shareAccess(ctx, state, d, s)
		}
	case fabric.SharedTerms: // that this session is there says that the gateways' entry does what it should
		if cmd.Terms = fabric.HomeTerms; state.Import.Published {
			cmd.Terms = fabric.PublishedTerms
		}
		cmd.Access = c.tag(state, d).Version()
		err = c.WriteAccess(ctx, s, d)
	case fabric.PublishedTerms:
		cmd.Terms = fabric.RotatingTerms
		err = c.addIPK(ctx, d, s)
	case fabric.RotatingTerms:
		err = c.setIPK(ctx, d, s, false, true)
	default:
		return nil
	}
	if err != nil {
		return Explain(err, CodeProtocol)
	}
	if _, err := c.propose(ctx, fabric.Command{Adopt: cmd}); err != nil {
		return Explain(err, CodeCommit)
	}
	c.Log.Info("a device that was taken over is one step further", "device", d.Node, "terms", cmd.Terms)
	return nil
}

// learn takes the certificate that a device has: what the home knows it by from
// now on. It speaks for itself in a session that the root vouches for; where the
// controller of before knew its key, that session was with its holder.
func (c *Commissioner) learn(ctx context.Context, d *fabric.Device, s *exchange.Session, cmd *fabric.Adopt) error {
	own, err := c.ownCertificates(ctx, s)
	if err != nil {
		return err
	}
	node, err := c.Identity().Root.Verify(own.NOC, own.ICAC.Value, cert.AnyTime)
	switch {
	case err != nil:
		return Fail(CodeProtocol, err)
	case node.NodeID != d.Node || len(d.PublicKey) > 0 && string(d.PublicKey) != string(node.PublicKey[:]):
		return Fail(CodeProtocol, errors.New("it shows another certificate than it has"))
	}
	noc, err := cert.Parse(own.NOC)
	if err != nil {
		return Fail(CodeProtocol, err)
	}
	cmd.Serial, cmd.NOCHash, cmd.PublicKey = noc.Serial, hash(own.NOC), node.PublicKey[:]
	return nil
}

// shareAccess makes the gateways administrators beside the controller of
// before, in one entry and the first, and leaves all others as they are: no
// list becomes longer by it.
func (c *Commissioner) shareAccess(ctx context.Context, state *fabric.State, d *fabric.Device, s *exchange.Session) error {
	both := []uint64{uint64(c.tag(state, d).Subject()), uint64(state.Import.Controller)}
	var have []datamodel.ACLEntry
	if err := c.Engine.ReadAttribute(ctx, s, aclPath, &have); err != nil {
		return Explain(err, CodeACL)
	}
	want := []datamodel.ACLEntry{{Privilege: datamodel.Administer, AuthMode: datamodel.AuthCASE, Subjects: tlv.Some(both)}}
	for _, e := range have {
		if e.FabricIndex = 0; !administers(e) || slices.ContainsFunc(e.Subjects.Value, func(n uint64) bool { return !slices.Contains(both, n) }) {
			want = append(want, e)
		}
	}
	errs, err := c.Engine.Write(ctx, s, 0, interaction.Write{Path: aclPath, Value: want})
	if err == nil {
		err = errors.Join(errs...)
	}
	if err == nil {
		err = c.Engine.ReadAttribute(ctx, s, aclPath, &have)
	}
	if err != nil {
		return Explain(err, CodeACL)
	}
	if len(have) != len(want) || !administers(have[0]) || !slices.Equal(have[0].Subjects.Value, both) {
		return Fail(CodeACL, fmt.Errorf("it has %d entries, and not the gateways' first", len(have)))
	}
	return nil
}

// administers reports whether an entry gives named nodes all rights.
func administers(e datamodel.ACLEntry) bool {
	return e.Privilege == datamodel.Administer && e.AuthMode == datamodel.AuthCASE && len(e.Subjects.Value) > 0 && len(e.Targets.Value) == 0
}

// addIPK gives a device the home's IPK beside the published one, and sees that
// it goes by that. A device that does not keeps what it had.
func (c *Commissioner) addIPK(ctx context.Context, d *fabric.Device, s *exchange.Session) error {
	if err := c.setIPK(ctx, d, s, true, true); err != nil {
		return err
	}
	id := c.Identity()
	c.resumptions.Forget(id.Index, d.Node) // a resumed session proves no IPK
	met, err := c.dial(ctx, id, d.Node, &securechannel.Peer{Link: s.Link(), Addr: s.Addr()})
	switch {
	case err == nil:
		securechannel.Close(c.Manager, met)
		return nil
	case ctx.Err() != nil || silent(err):
		return Explain(err, CodeUnreachable)
	}
	if back := c.setIPK(ctx, d, s, true, false); back != nil {
		return back
	}
	return Fail(CodeIPKKept, err)
}

// Times from which keys are the present one, in µs since 2000: they only say
// which is the later.
const firstStart, laterStart = 1, 2

// setIPK has a device go by the published IPK, the home's, or both.
func (c *Commissioner) setIPK(ctx context.Context, d *fabric.Device, s *exchange.Session, published, home bool) error {
	set := datamodel.KeySet{ID: datamodel.IdentityProtectionSet}
	if published {
		set.Key0, set.Start0 = tlv.Some([]byte(issuer.PublishedIPK)), tlv.Some(uint64(firstStart))
	}
	if home {
		epoch, err := c.Authority.IPK(ctx)
		if err != nil {
			return Explain(err, CodeIssue)
		}
		defer epoch.Erase()
		if c.Ledger.State().OnFormer(d) { // then this is another fabric's key
			return Fail(CodeRerooted, nil)
		}
		raw := epoch.Reveal()
		defer clear(raw[:])
		if published {
			set.Key1, set.Start1 = tlv.Some(raw[:]), tlv.Some(uint64(laterStart))
		} else {
			set.Key0, set.Start0 = tlv.Some(raw[:]), tlv.Some(uint64(laterStart))
		}
	}
	if err := c.invoke(ctx, s, datamodel.GroupKeyManagement, datamodel.KeySetWriteID, &datamodel.KeySetWrite{Set: set}, nil); err != nil {
		return Explain(err, CodeIPKKept)
	}
	return nil
}
