package fabric

import (
	"bytes"
	"fmt"

	"gatehouse/fabric/cert"
)

// Apply is the State after the command at a log index. A command that is
// refused with a *Refusal changes nothing but Index and Time, and what the trail
// says of refusals. s is left as it was.
func Apply(s *State, index uint64, c *Command) (*State, error) {
	next, _, err := Advance(s, index, c)
	return next, err
}

// advance is Apply but for the trail. again says that the command is one that
// was applied before.
func advance(s *State, index uint64, c *Command) (after *State, again bool, err error) {
	before := *s
	before.Index = index
	before.Time = max(s.Time, c.Time)
	if len(c.Request) > 0 {
		if o := s.outcome(c.Request); o != nil {
			return &before, true, o.err()
		}
	}
	next := before
	err = next.apply(c)
	if err != nil {
		next = before
	}
	next.Version = next.lowest()
	if len(c.Request) > 0 {
		next.remember(c.Request, err)
	}
	return &next, false, err
}

// Needs is the first version that knows a command of this kind, and all of its
// fields that are set. No command is taken that some gateway of the home would
// not understand.
func (c *Command) Needs() uint8 {
	switch {
	case c.SetPeople != nil, c.SetPerson != nil, c.RemovePerson != nil, c.AddPass != nil, c.EndPasses != nil, c.SetApproval != nil, c.SetRoom != nil, c.SetHook != nil, c.RemoveHook != nil, c.For != "",
		c.Reseal.peopled(), c.EvictGateway != nil && c.EvictGateway.Reseal.peopled(), c.Reroot != nil && c.Reroot.Reseal.peopled(),
		c.Restore != nil && (c.Restore.State.peopled() || c.Restore.Reseal.peopled() || c.Restore.State.imported()),
		c.Adopt != nil, c.SetCheckIn != nil, c.Found != nil && (c.Found.Import != nil || c.Found.Devices != nil):
		return PeopleVersion
	case c.ReserveMove != nil && c.ReserveMove.Renewal, c.Restore != nil && c.Restore.State.renewed():
		return renewalVersion
	case c.BeginUpdate != nil, c.FailUpdate != nil, c.BeginRollout != nil, c.StopRollout != nil, c.Restore != nil && c.Restore.State.rolledOut(),
		c.SetFirmwarePolicy != nil && c.SetFirmwarePolicy.Policy != nil && c.SetFirmwarePolicy.Policy.Updates != 0,
		c.Reserve != nil && (c.Reserve.Standing.detailed() || c.Reserve.Facts.Firmware != nil),
		c.Judge != nil && (c.Judge.Standing.detailed() || c.Judge.Facts != nil && c.Judge.Facts.Firmware != nil):
		return RolloutVersion
	case c.By != 0, c.TurnAway != nil, c.Restore != nil && c.Restore.State != nil && c.Restore.State.Trail != nil:
		return TrailVersion
	case c.SetFirmwarePolicy != nil, c.AddFirmwareSource != nil, c.RemoveFirmwareSource != nil, c.SetFirmwareLedger != nil, c.Judge != nil, c.Enforce != nil,
		c.Reserve != nil && c.Reserve.Standing != nil, c.Restore != nil && c.Restore.State.judged():
		return FirmwareVersion
	case c.RotateSealing != nil, c.Reroot != nil, c.ReserveMove != nil, c.IssueMove != nil, c.AdmitMove != nil, c.AbandonMove != nil,
		c.LeftFormer != nil, c.EndReroot != nil, c.Reseal.newer(), c.EvictGateway != nil && c.EvictGateway.Reseal.newer(),
		c.Restore != nil && (c.Restore.State.rerooted() || c.Restore.Reseal.newer()):
		return rerootVersion
	case len(c.Request) > 0, c.ReserveGateway != nil, c.RenewGateway != nil, c.IssueGateway != nil, c.EvictGateway != nil,
		c.SetSealKey != nil, c.Reseal != nil, c.TakeOver != nil, c.SetAccess != nil, c.DescribeGateway != nil, c.Restore != nil,
		c.Found != nil && c.Found.Keyring != nil, c.Reserve != nil && c.Reserve.FailSafe != 0, c.Issue != nil && c.Issue.Gateway != 0,
		c.Admit != nil && (c.Admit.Gateway != 0 || c.Admit.Access != 0), c.Abandon != nil && (c.Abandon.Gateway != 0 || c.Abandon.Phase != 0):
		return 2
	}
	return 1
}

func (s *State) apply(c *Command) error {
	switch {
	case c.Version != c.Needs():
		return refuse(CodeUnknownKind, fmt.Sprintf("the command says version %d and needs %d", c.Version, c.Needs()))
	case c.Found != nil:
		return s.found(c.Found)
	case c.Restore != nil:
		return s.restore(c.Restore)
	case c.DescribeGateway == nil && c.Version > s.lowest(): // which is how a gateway says that it was updated
		return refuse(CodeOldMember, fmt.Sprintf("a gateway knows version %d only, this takes %d", s.lowest(), c.Version))
	case len(c.Request) != 0 && len(c.Request) != RequestSize:
		return refuse(CodeInvalid, "a request's id has a wrong length")
	}
	if !s.Founded() {
		return refuse(CodeNotFounded, "this gateway has no fabric yet")
	}
	switch {
	case c.Reserve != nil:
		return s.reserve(c.Reserve)
	case c.Issue != nil:
		return s.issue(c.Issue)
	case c.Admit != nil:
		return s.admit(c.Admit)
	case c.Abandon != nil:
		return s.abandon(c.Abandon)
	case c.Remove != nil:
		return s.remove(c.Remove)
	case c.Rename != nil:
		return s.rename(c.Rename)
	case c.AddZone != nil:
		return s.addZone(c.AddZone)
	case c.AddAnchors != nil:
		return s.addAnchors(c.AddAnchors)
	case c.RemoveAnchor != nil:
		return s.removeAnchor(c.RemoveAnchor)
	case c.AddException != nil:
		return s.addException(c.AddException)
	case c.RemoveException != nil:
		return s.removeException(c.RemoveException)
	case c.SetRevocations != nil:
		s.Revocations = bytes.Clone(c.SetRevocations.JSON)
		return nil
	case c.SetNetwork != nil:
		return s.setNetwork(c.SetNetwork)
	case c.RemoveNetwork != nil:
		return s.removeNetwork(c.RemoveNetwork)
	case c.PreferNetwork != nil:
		return s.preferNetwork(c.PreferNetwork)
	case c.DescribeGateway != nil:
		return s.describeGateway(c.DescribeGateway)
	case c.ReserveGateway != nil:
		return s.reserveGateway(c.ReserveGateway)
	case c.RenewGateway != nil:
		return s.renewGateway(c.RenewGateway)
	case c.IssueGateway != nil:
		return s.issueGateway(c.IssueGateway)
	case c.EvictGateway != nil:
		return s.evictGateway(c.EvictGateway)
	case c.SetSealKey != nil:
		return s.setSealKey(c.SetSealKey)
	case c.Reseal != nil:
		return s.reseal(c.Reseal)
	case c.TakeOver != nil:
		return s.takeOver(c.TakeOver)
	case c.SetAccess != nil:
		return s.setAccess(c.SetAccess)
	case c.RotateSealing != nil:
		return s.rotateSealing(c.RotateSealing)
	case c.Reroot != nil:
		return s.reroot(c.Reroot)
	case c.ReserveMove != nil:
		return s.reserveMove(c.ReserveMove)
	case c.IssueMove != nil:
		return s.issueMove(c.IssueMove)
	case c.AdmitMove != nil:
		return s.admitMove(c.AdmitMove)
	case c.AbandonMove != nil:
		return s.abandonMove(c.AbandonMove)
	case c.LeftFormer != nil:
		return s.leftFormer(c.LeftFormer)
	case c.EndReroot != nil:
		return s.endReroot(c.EndReroot)
	case c.SetFirmwarePolicy != nil:
		return s.setFirmwarePolicy(c.SetFirmwarePolicy)
	case c.AddFirmwareSource != nil:
		return s.addFirmwareSource(c.AddFirmwareSource)
	case c.RemoveFirmwareSource != nil:
		return s.removeFirmwareSource(c.RemoveFirmwareSource)
	case c.SetFirmwareLedger != nil:
		return s.setFirmwareLedger(c.SetFirmwareLedger)
	case c.Judge != nil:
		return s.judge(c.Judge)
	case c.Enforce != nil:
		return s.enforce(c.Enforce)
	case c.BeginUpdate != nil:
		return s.beginUpdate(c.BeginUpdate)
	case c.FailUpdate != nil:
		return s.failUpdate(c.FailUpdate)
	case c.BeginRollout != nil:
		return s.beginRollout(c.BeginRollout)
	case c.StopRollout != nil:
		return s.stopRollout(c.StopRollout)
	case c.TurnAway != nil:
		return s.turnAway(c.TurnAway)
	case c.SetPeople != nil:
		return s.setPeople(c.SetPeople)
	case c.SetPerson != nil:
		return s.setPerson(c.SetPerson)
	case c.RemovePerson != nil:
		return s.removePerson(c.RemovePerson)
	case c.AddPass != nil:
		return s.addPass(c.AddPass)
	case c.EndPasses != nil:
		return s.endPasses(c.EndPasses)
	case c.SetApproval != nil:
		return s.setApproval(c.SetApproval)
	case c.SetRoom != nil:
		return s.setRoom(c.SetRoom)
	case c.SetHook != nil:
		return s.setHook(c.SetHook)
	case c.RemoveHook != nil:
		return s.removeHook(c.RemoveHook)
	case c.Adopt != nil:
		return s.adopt(c.Adopt)
	case c.SetCheckIn != nil:
		return s.setCheckIn(c.SetCheckIn)
	}
	return refuse(CodeUnknownKind, "the command is of a kind this release does not know")
}

func (s *State) found(f *Found) error {
	switch {
	case s.Founded():
		return refuse(CodeFounded, "this home already has a fabric")
	case len(f.Home.Root) == 0 || !f.Home.FabricID.Valid() || !f.Home.GatewayCAT.Valid() || len(f.Home.Name) > MaxText:
		return refuse(CodeInvalid, "the home lacks its root, fabric id or gateways' tag")
	case f.Generation.Number == 0 || len(f.Generation.ICAC) == 0:
		return refuse(CodeInvalid, "the first generation lacks its number or certificate")
	case !f.Gateway.Node.Operational() || len(f.Gateway.NOC) == 0:
		return refuse(CodeInvalid, "the first gateway lacks its node id or certificate")
	}
	gateway := f.Gateway
	s.Home, s.Keyring = f.Home, f.Keyring
	s.Generations = []Generation{f.Generation}
	s.Gateways = map[cert.NodeID]*Gateway{gateway.Node: &gateway}
	s.Devices = map[cert.NodeID]*Device{}
	s.Tombstones = map[cert.NodeID]*Tombstone{}
	s.Anchors = map[string]*Anchor{}
	s.Exceptions = map[string]*Exception{}
	s.Zones = map[string]*Zone{}
	if s.Keyring != nil && !s.SealedRight() {
		return refuse(CodeInvalid, "the keyring is not for the first gateway")
	}
	if err := s.addZone(&AddZone{defaultZone}); err != nil {
		return err
	}
	return s.takeIn(f.Import, f.Devices, gateway.Node)
}
