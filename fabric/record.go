package fabric

import "gatehouse/fabric/audit"

// subject says in a record what a command decides, and about whom. What is new
// in a Command gets a line here; codes that were released stay as they are.
func (c *Command) subject() audit.Record {
	switch {
	case c.Found != nil:
		return audit.Record{What: "home-founded", Gateway: c.Found.Gateway.Node, Name: c.Found.Home.Name}
	case c.Restore != nil:
		return audit.Record{What: "home-restored", Gateway: c.Restore.Gateway.Node}
	case c.Reserve != nil:
		return audit.Record{What: "device-reserved", Device: c.Reserve.Node}
	case c.Issue != nil:
		return audit.Record{What: "device-issued", Device: c.Issue.Node}
	case c.Admit != nil:
		return audit.Record{What: "device-admitted", Device: c.Admit.Node}
	case c.Abandon != nil:
		return audit.Record{What: "device-abandoned", Device: c.Abandon.Node}
	case c.Remove != nil:
		return audit.Record{What: "device-removed", Device: c.Remove.Node}
	case c.Rename != nil:
		return audit.Record{What: "device-renamed", Device: c.Rename.Node}
	case c.Judge != nil:
		return audit.Record{What: "device-judged", Device: c.Judge.Node}
	case c.Enforce != nil:
		return audit.Record{What: "device-enforced", Device: c.Enforce.Node}
	case c.ReserveMove != nil:
		return audit.Record{What: "device-move-reserved", Device: c.ReserveMove.Node}
	case c.IssueMove != nil:
		return audit.Record{What: "device-move-issued", Device: c.IssueMove.Node}
	case c.AdmitMove != nil:
		return audit.Record{What: "device-moved", Device: c.AdmitMove.Node}
	case c.AbandonMove != nil:
		return audit.Record{What: "device-move-abandoned", Device: c.AbandonMove.Node}
	case c.LeftFormer != nil:
		return audit.Record{What: "device-left-former", Device: c.LeftFormer.Node}
	case c.TurnAway != nil:
		return audit.Record{What: "device-turned-away", Zone: c.TurnAway.Zone}
	case c.BeginUpdate != nil:
		return audit.Record{What: "device-update-begun", Device: c.BeginUpdate.Node}
	case c.FailUpdate != nil:
		return audit.Record{What: "device-update-failed", Device: c.FailUpdate.Node}
	case c.SetAccess != nil:
		return audit.Record{What: "access-rewritten"}
	case c.TakeOver != nil:
		return audit.Record{What: "devices-taken-over", Gateway: c.TakeOver.From}
	case c.AddZone != nil:
		return audit.Record{What: "zone-added", Zone: c.AddZone.Name}
	case c.AddAnchors != nil:
		return audit.Record{What: "anchors-added"}
	case c.RemoveAnchor != nil:
		return audit.Record{What: "anchor-removed"}
	case c.AddException != nil:
		return audit.Record{What: "exception-added", Name: c.AddException.Name}
	case c.RemoveException != nil:
		return audit.Record{What: "exception-removed", Name: c.RemoveException.Name}
	case c.SetRevocations != nil:
		return audit.Record{What: "revocations-set"}
	case c.SetNetwork != nil:
		return audit.Record{What: "network-set", Name: c.SetNetwork.Name}
	case c.RemoveNetwork != nil:
		return audit.Record{What: "network-removed", Name: c.RemoveNetwork.Name}
	case c.PreferNetwork != nil:
		return audit.Record{What: "network-preferred", Name: c.PreferNetwork.Name}
	case c.DescribeGateway != nil:
		return audit.Record{What: "gateway-described", Gateway: c.DescribeGateway.Node}
	case c.ReserveGateway != nil:
		return audit.Record{What: "gateway-reserved", Gateway: c.ReserveGateway.Node, Name: c.ReserveGateway.Name}
	case c.RenewGateway != nil:
		return audit.Record{What: "gateway-renewal-reserved", Gateway: c.RenewGateway.Node}
	case c.IssueGateway != nil:
		return audit.Record{What: "gateway-admitted", Gateway: c.IssueGateway.Node}
	case c.EvictGateway != nil:
		return audit.Record{What: "gateway-evicted", Gateway: c.EvictGateway.Node}
	case c.SetSealKey != nil:
		return audit.Record{What: "gateway-seal-key-set", Gateway: c.SetSealKey.Node}
	case c.Reseal != nil:
		return audit.Record{What: "secrets-resealed"}
	case c.RotateSealing != nil:
		return audit.Record{What: "sealing-rotated"}
	case c.Reroot != nil:
		return audit.Record{What: "root-changed"}
	case c.EndReroot != nil:
		return audit.Record{What: "root-change-ended"}
	case c.SetFirmwarePolicy != nil:
		return audit.Record{What: "firmware-policy-set", Zone: c.SetFirmwarePolicy.Zone}
	case c.AddFirmwareSource != nil:
		return audit.Record{What: "firmware-source-set", Name: c.AddFirmwareSource.Name}
	case c.RemoveFirmwareSource != nil:
		return audit.Record{What: "firmware-source-removed", Name: c.RemoveFirmwareSource.Name}
	case c.SetFirmwareLedger != nil:
		return audit.Record{What: "firmware-ledger-set"}
	case c.BeginRollout != nil:
		return audit.Record{What: "rollout-begun"}
	case c.StopRollout != nil:
		return audit.Record{What: "rollout-stopped"}
	case c.SetPeople != nil:
		return audit.Record{What: "people-key-set"}
	case c.SetPerson != nil:
		return audit.Record{What: "person-set", Name: c.SetPerson.Name}
	case c.RemovePerson != nil:
		return audit.Record{What: "person-removed"}
	case c.AddPass != nil:
		return audit.Record{What: "pass-given"}
	case c.EndPasses != nil:
		return audit.Record{What: "passes-ended"}
	case c.SetApproval != nil:
		return audit.Record{What: "approval-set"}
	case c.SetRoom != nil:
		return audit.Record{What: "device-placed", Device: c.SetRoom.Node}
	case c.SetHook != nil:
		return audit.Record{What: "hook-set", Name: c.SetHook.Name}
	case c.RemoveHook != nil:
		return audit.Record{What: "hook-removed", Name: c.RemoveHook.Name}
	case c.Adopt != nil:
		return audit.Record{What: "device-adopted", Device: c.Adopt.Node}
	case c.SetCheckIn != nil:
		return audit.Record{What: "device-check-in-set", Device: c.SetCheckIn.Node}
	}
	return audit.Record{What: unknownKind}
}

// unknownKind is what subject says of a command that it has no line for.
const unknownKind = "unknown"
