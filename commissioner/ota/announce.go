package ota

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
)

// Announce has a device know this gateway as its provider from now on, and ask
// it for an image soon. s is a session that administers the device.
func Announce(ctx context.Context, e *interaction.Engine, s *exchange.Session, vendor uint16, reason datamodel.AnnounceReason) error {
	providers := interaction.Attribute(datamodel.RootEndpoint, datamodel.OTARequestor, datamodel.OTARequestorProviders)
	errs, err := e.Write(ctx, s, 0, interaction.Write{Path: providers, Value: []datamodel.ProviderLocation{{Node: s.LocalNode(), Endpoint: Endpoint}}})
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("write its list of OTA providers: %w", err)
	}
	if err := e.InvokeCommand(ctx, s, 0, interaction.Command(datamodel.RootEndpoint, datamodel.OTARequestor, datamodel.OTARequestorAnnounce),
		&datamodel.AnnounceOTAProvider{Node: s.LocalNode(), VendorID: vendor, Reason: reason, Endpoint: Endpoint}, nil); err != nil {
		return fmt.Errorf("announce the OTA provider: %w", err)
	}
	return nil
}
