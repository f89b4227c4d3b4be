package portal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"gatehouse/commissioner"
	"gatehouse/commissioner/nodes"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// Pair returns once the device has said all it has, so that it can be shown.
func (a *assistant) Pair(ctx context.Context, req hass.PairRequest) (cert.NodeID, error) {
	if !req.Discriminated {
		if err := a.discriminate(ctx, &req); err != nil {
			return 0, err
		}
	}
	network := ""
	if req.WiFi != "" && req.WiFi != defaultID {
		network = req.WiFi
	} else if req.Thread != "" && req.Thread != defaultID {
		network = req.Thread
	}
	ended := a.p.pairing(ctx, "", "Home Assistant")
	d, session, err := a.p.C.Pair(ctx, commissioner.PairRequest{Code: req.Code, Network: network}, func(step commissioner.Progress) {
		a.p.Log.Debug("a device is being paired", "step", step.Name, "state", step.State)
	})
	if ended(err); err != nil {
		return 0, err
	}
	a.p.K.Adopt(session)
	if err := a.interviewed(ctx, d.Node); err != nil {
		return d.Node, err
	}
	go a.relabel(context.WithoutCancel(ctx), d.Node)
	return d.Node, nil
}

// discriminate finds out the discriminator of a device of which something else
// is known.
func (a *assistant) discriminate(ctx context.Context, req *hass.PairRequest) error {
	limit, cancel := context.WithTimeout(ctx, interviewPatience)
	defer cancel()
	found := false
	a.p.C.Nearby(limit, dnssd.Commissionables(), func(ad radio.Advertisement) bool {
		at := func(addr radio.Addr) bool { return addr.IP.Addr().WithZone("") == req.Address.WithZone("") }
		if !ad.HasDiscriminator || req.Code.VendorID != 0 && ad.Vendor != req.Code.VendorID || req.DeviceType != 0 && ad.DeviceType != req.DeviceType ||
			req.Address.IsValid() && !slices.ContainsFunc(ad.Addrs, at) {
			return true
		}
		req.Code.Discriminator, found = setup.Long(ad.Discriminator), true
		return false
	})
	if !found {
		return commissioner.Fail(commissioner.CodeNotFound, nil)
	}
	return nil
}

func (a *assistant) interviewed(ctx context.Context, n cert.NodeID) error {
	limit, cancel := context.WithTimeout(ctx, interviewPatience)
	defer cancel()
	heard := make(chan struct{}, 1)
	_, stop := a.p.K.Nodes.Watch(func(c nodes.Change) {
		if c.Node == n && c.Full {
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	})
	defer stop()
	if a.Node(n) != nil {
		return nil
	}
	select {
	case <-heard:
		return nil
	case <-limit.Done():
		return &hass.Error{Code: hass.InterviewFailed, Details: fmt.Sprintf("node %d is paired, but has not said yet what it is", uint64(n))}
	}
}

func (a *assistant) Nearby(ctx context.Context) (all []hass.Commissionable, err error) {
	ctx, cancel := context.WithTimeout(ctx, nearbyLook)
	defer cancel()
	seen := make(map[string]bool)
	a.p.C.Nearby(ctx, dnssd.Commissionables(), func(ad radio.Advertisement) bool {
		key := ad.Instance + fmt.Sprint(ad.Addrs)
		if seen[key] || len(ad.Addrs) == 0 {
			return true
		}
		seen[key] = true
		c := hass.Commissionable{Instance: ad.Instance, Host: ad.Host, Discriminator: ad.Discriminator, Vendor: ad.Vendor, Product: ad.Product, Mode: uint8(ad.Mode), DeviceType: ad.DeviceType,
			Name: ad.DeviceName, Instruction: ad.PairingInstruction, Hint: ad.PairingHint, TCP: ad.TCPServer, RotatingID: hex.EncodeToString(ad.RotatingID), Addresses: []netip.Addr{}}
		for _, addr := range ad.Addrs {
			if addr.Transport == radio.UDP {
				c.Port, c.Addresses = addr.IP.Port(), append(c.Addresses, addr.IP.Addr())
			}
		}
		all = append(all, c)
		return len(all) < maxNearby
	})
	return all, nil
}

func (a *assistant) OpenWindow(ctx context.Context, n cert.NodeID, req hass.WindowRequest) (*hass.Window, error) {
	share, err := a.p.K.OpenWindow(ctx, n, req.Duration)
	if f := (*commissioner.Failure)(nil); errors.As(err, &f) && f.Code == commissioner.CodeWindowOpen {
		if err := a.p.K.CloseWindow(ctx, n); err != nil {
			return nil, err
		}
		share, err = a.p.K.OpenWindow(ctx, n, req.Duration)
	}
	if err != nil {
		return nil, err
	}
	code, err := setup.Parse(share.QR)
	if err != nil {
		return nil, err
	}
	return &hass.Window{Passcode: code[0].Passcode, Manual: share.Manual, QR: share.QR, Expires: share.Expires}, nil
}
