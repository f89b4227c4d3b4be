package keeper

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel/spake2p"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/cert"
)

// A window of ours has a fresh salt of the greatest length and costs whoever
// guesses at its passcode as much as a slow device can bear.
const (
	windowIterations = 10000
	windowSalt       = spake2p.MaxSalt
)

// Share is an open commissioning window and the code to it.
type Share struct {
	QR      string    `json:"qr"`
	Manual  string    `json:"manual"`
	Expires time.Time `json:"expires"`
}

// OpenWindow lets another controller pair the device, for a while. The code
// it returns holds a passcode: it is for the person who asked, and for no log.
func (k *Keeper) OpenWindow(ctx context.Context, n cert.NodeID, d time.Duration) (*Share, error) {
	seconds := d / time.Second
	if seconds < datamodel.MinWindow || seconds > datamodel.MaxWindow {
		return nil, commissioner.Fail(commissioner.CodeInvalidArgument, fmt.Errorf("a window is open for %d to %d seconds", datamodel.MinWindow, datamodel.MaxWindow))
	}
	device, err := k.device(ctx, n)
	if err != nil {
		return nil, err
	}
	payload := setup.Payload{VendorID: device.Facts.VendorID, ProductID: device.Facts.ProductID, Discovery: setup.DiscoverOnNetwork}
	request := datamodel.OpenCommissioningWindow{Timeout: uint16(seconds), Iterations: windowIterations, Salt: make([]byte, windowSalt)}
	if payload.Passcode, err = setup.RandomPasscode(k.c.Random); err != nil {
		return nil, err
	}
	var discriminator [2]byte
	for _, b := range [][]byte{request.Salt, discriminator[:]} {
		if _, err := io.ReadFull(k.c.Random, b); err != nil {
			return nil, err
		}
	}
	payload.Discriminator = setup.Long(binary.LittleEndian.Uint16(discriminator[:]))
	request.Discriminator, _ = payload.Discriminator.Full()
	secret, err := spake2p.Derive(payload.Passcode.Reveal(), request.Salt, windowIterations)
	if err != nil {
		return nil, err
	}
	verifier, err := secret.Verifier()
	if err != nil {
		return nil, err
	}
	request.Verifier = verifier.Bytes()
	share := &Share{Expires: k.c.Now().Add(seconds * time.Second).Truncate(time.Second)}
	if share.QR, err = payload.QR(); err != nil {
		return nil, err
	}
	payload.VendorID, payload.ProductID = 0, 0 // 11 digits are enough to type
	if share.Manual, err = payload.Manual(); err != nil {
		return nil, err
	}
	return share, k.window(ctx, n, datamodel.OpenCommissioningWindowID, &request)
}

// CloseWindow closes the commissioning window.
func (k *Keeper) CloseWindow(ctx context.Context, n cert.NodeID) error {
	return k.window(ctx, n, datamodel.RevokeCommissioningID, nil)
}

// window invokes a command of AdministratorCommissioning.
func (k *Keeper) window(ctx context.Context, n cert.NodeID, id interaction.CommandID, fields any) error {
	path := interaction.Command(datamodel.RootEndpoint, datamodel.AdministratorCommissioning, id)
	r, err := k.Invoke(ctx, n, timedDefault, interaction.Invocation{Path: path, Fields: fields})
	if err != nil {
		return err
	}
	if e, ok := r.Err.(*interaction.StatusError); ok && e.Cluster != nil {
		switch *e.Cluster {
		case datamodel.WindowBusy:
			return commissioner.Fail(commissioner.CodeWindowOpen, nil)
		case datamodel.WindowNotOpen:
			return commissioner.Fail(commissioner.CodeWindowNotOpen, nil)
		}
	}
	if r.Err != nil {
		return commissioner.Fail(commissioner.CodeDeviceStatus, r.Err)
	}
	return nil
}
