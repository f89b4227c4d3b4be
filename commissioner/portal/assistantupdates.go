package portal

import (
	"context"
	"fmt"
	"io"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric/cert"
	"gatehouse/firmware"
)

// Check is the newer software that was decided to be the device's.
func (a *assistant) Check(_ context.Context, n cert.NodeID) (*hass.SoftwareVersion, error) {
	d := a.p.C.Ledger.State().Devices[n]
	if d == nil || d.Update() == nil {
		return nil, nil
	}
	i := d.Update()
	source := hass.FromHere
	if i.From == firmware.Ledger {
		source = hass.FromLedger
	}
	return &hass.SoftwareVersion{Vendor: d.Facts.VendorID, Product: d.Facts.ProductID, Version: i.Version, Name: i.Name, MaxApplicable: i.Version - 1, Source: source}, nil
}

func (a *assistant) Begin(ctx context.Context, n cert.NodeID, version uint32) (*hass.SoftwareVersion, error) {
	v, err := a.Check(ctx, n)
	switch {
	case err != nil:
		return nil, err
	case v == nil && a.runs(n) == version:
		return nil, nil
	case v == nil:
		return nil, commissioner.Fail(commissioner.CodeNoUpdate, nil)
	case v.Version != version:
		return nil, &hass.Error{Code: hass.UpdateFailed, Details: fmt.Sprintf("version %d is what the home's rules offer node %d, not %d", v.Version, uint64(n), version)}
	}
	return v, a.p.U.Ask(ctx, n)
}

// runs is the version of a device's software.
func (a *assistant) runs(n cert.NodeID) uint32 {
	if d := a.p.C.Ledger.State().Devices[n]; d != nil {
		return d.Facts.SoftwareVersion
	}
	return 0
}

// Store refuses: what nobody signed does not come to devices through the gate.
func (a *assistant) Store(context.Context, io.Reader) (*hass.SoftwareVersion, error) {
	return nil, &hass.Error{Code: hass.UploadFailed, Details: "this gateway takes images from signed sources only: gatehouse firmware source add"}
}
