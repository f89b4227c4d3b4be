package virtual

import (
	"context"
	"errors"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/matter/securechannel/spake2p"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// window is the commissioning window. While the device is on no fabric, the
// one of the printed code is open.
type window struct {
	printed       securechannel.Window
	discriminator uint16

	current *securechannel.Window // nil: closed
	status  datamodel.WindowStatus
	opener  *fabric // nil: nobody's, or one that is gone
	timer   *time.Timer
	pase    *exchange.Session // who is pairing
}

func (w *window) stop() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// open opens a window; without a limit it stays. Call it with the lock.
func (d *Device) open(w *securechannel.Window, discriminator uint16, status datamodel.WindowStatus, opener *fabric, limit time.Duration) error {
	d.window.stop()
	d.window.current, d.window.status, d.window.opener, d.wrong = w, status, opener, 0
	mode := radio.BasicCommissioning
	if status == datamodel.WindowEnhanced {
		mode = radio.EnhancedCommissioning
	}
	d.advertiseWindow(mode, discriminator)
	if limit > 0 {
		d.window.timer = time.AfterFunc(limit, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.shut()
		})
	}
	return nil
}

// shut closes the window. Call it with the lock.
func (d *Device) shut() {
	d.window.stop()
	d.window.current, d.window.status, d.window.opener = nil, datamodel.WindowClosed, nil
	d.advertise("window", nil)
	d.beacon(nil)
}

// reopen opens the printed window again on a device that is on no fabric. Call
// it with the lock.
func (d *Device) reopen() {
	if len(d.fabrics) == 0 {
		printed := d.window.printed
		d.open(&printed, d.window.discriminator, datamodel.WindowBasic, nil, 0)
	}
}

// openedWindow is the window for a PASE attempt: none while one is pairing.
func (d *Device) openedWindow() *securechannel.Window {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.window.pase != nil {
		return nil
	}
	return d.window.current
}

// paired is told how a PASE attempt ended.
func (d *Device) paired(s *exchange.Session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		if d.wrong++; errors.Is(err, securechannel.ErrPasscode) && d.wrong >= maxWrongPasscodes {
			d.shut()
		}
		return
	}
	d.window.pase = s
	d.beacon(nil)
	if !d.failSafe.armed() {
		d.arm(nil, time.Minute) // a commissioner that says nothing loses its turn
	}
	go func() {
		<-s.Done()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.window.pase == s {
			d.window.pase = nil
			if d.failSafe.by == nil {
				d.rollBack()
			}
		}
	}()
}

const administratorRevision = 1

func (d *Device) administratorCommissioning() *datamodel.Cluster {
	locked := func(f func() any) datamodel.AttributeServer {
		return datamodel.AttributeServer{Read: func(*interaction.Request) any {
			d.mu.Lock()
			defer d.mu.Unlock()
			return f()
		}}
	}
	return &datamodel.Cluster{ID: datamodel.AdministratorCommissioning, Revision: administratorRevision, Features: 1,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.WindowStatusAttribute: locked(func() any { return d.window.status }),
			datamodel.WindowAdminFabric: locked(func() any {
				if d.window.opener == nil {
					return tlv.Null[uint8]{}
				}
				return tlv.Some(d.window.opener.index)
			}),
			datamodel.WindowAdminVendor: locked(func() any {
				if d.window.opener == nil {
					return tlv.Null[uint16]{}
				}
				return tlv.Some(d.window.opener.vendor)
			}),
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.OpenCommissioningWindowID: {Access: datamodel.Administer, Timed: true, Invoke: d.openEnhanced},
			datamodel.OpenBasicWindowID:         {Access: datamodel.Administer, Timed: true, Invoke: d.openBasic},
			datamodel.RevokeCommissioningID:     {Access: datamodel.Administer, Timed: true, Invoke: d.revoke},
		}}
}

func clusterStatus(code uint8) interaction.StatusIB {
	return interaction.StatusIB{Status: interaction.Failure, Cluster: &code}
}

// windowAllowed is the status of a window that cannot be opened now.
func (d *Device) windowAllowed(seconds uint16) interaction.StatusIB {
	switch {
	case d.window.current != nil || d.failSafe.armed():
		return clusterStatus(datamodel.WindowBusy)
	case seconds < datamodel.MinWindow || seconds > datamodel.MaxWindow:
		return interaction.StatusIB{Status: interaction.InvalidCommand}
	}
	return interaction.StatusIB{}
}

func (d *Device) openEnhanced(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.OpenCommissioningWindow
	if err := tlv.Unmarshal(fields, &req); err != nil {
		return nil, interaction.StatusIB{Status: interaction.InvalidCommand}
	}
	verifier, err := spake2p.ParseVerifier(req.Verifier)
	if err != nil || req.Iterations < spake2p.MinIterations || req.Iterations > spake2p.MaxIterations ||
		len(req.Salt) < spake2p.MinSalt || len(req.Salt) > spake2p.MaxSalt {
		return nil, clusterStatus(datamodel.WindowParameterError)
	}
	d.mu.Lock()
	s := d.windowAllowed(req.Timeout)
	if s.Status == interaction.Success {
		w := &securechannel.Window{Verifier: verifier, Iterations: int(req.Iterations), Salt: req.Salt}
		d.open(w, req.Discriminator, datamodel.WindowEnhanced, d.fabrics[r.Session.Fabric()], time.Duration(req.Timeout)*time.Second)
	}
	d.mu.Unlock()
	d.changed(0, datamodel.AdministratorCommissioning, datamodel.WindowStatusAttribute, datamodel.WindowAdminFabric, datamodel.WindowAdminVendor)
	return nil, s
}

func (d *Device) openBasic(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.OpenBasicWindow
	if err := tlv.Unmarshal(fields, &req); err != nil {
		return nil, interaction.StatusIB{Status: interaction.InvalidCommand}
	}
	d.mu.Lock()
	s := d.windowAllowed(req.Timeout)
	if s.Status == interaction.Success {
		printed := d.window.printed
		d.open(&printed, d.window.discriminator, datamodel.WindowBasic, d.fabrics[r.Session.Fabric()], time.Duration(req.Timeout)*time.Second)
	}
	d.mu.Unlock()
	d.changed(0, datamodel.AdministratorCommissioning, datamodel.WindowStatusAttribute, datamodel.WindowAdminFabric, datamodel.WindowAdminVendor)
	return nil, s
}

func (d *Device) revoke(context.Context, *interaction.Request, tlv.Raw) (any, interaction.StatusIB) {
	d.mu.Lock()
	if d.window.current == nil {
		d.mu.Unlock()
		return nil, clusterStatus(datamodel.WindowNotOpen)
	}
	d.shut()
	d.mu.Unlock()
	d.changed(0, datamodel.AdministratorCommissioning, datamodel.WindowStatusAttribute, datamodel.WindowAdminFabric, datamodel.WindowAdminVendor)
	return nil, interaction.StatusIB{}
}
