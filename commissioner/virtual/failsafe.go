package virtual

import (
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// lastAnswer is how long a session outlives what it was for: an answer is
// still to be sent over it.
const lastAnswer = time.Second

// failSafe is what is taken back unless CommissioningComplete comes in time.
type failSafe struct {
	timer   *time.Timer // nil: not armed
	by      *exchange.Session
	fabric  uint8 // of the session that armed it; that of the NOC once there is one
	key     *issuer.PrivateKey
	root    *cert.Authority
	added   *fabric // by AddNOC
	updated *fabric // as it was before UpdateNOC
	forNOC  bool    // the key is for UpdateNOC
}

func (f *failSafe) armed() bool { return f.timer != nil }

func (f *failSafe) stop() {
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
}

// arm begins the fail-safe or makes it longer. Call it with the lock.
func (d *Device) arm(by *exchange.Session, length time.Duration) {
	if d.failSafe.timer != nil {
		d.failSafe.timer.Stop()
	} else {
		d.failSafe = failSafe{}
	}
	if by != nil && d.failSafe.by == nil {
		d.failSafe.by, d.failSafe.fabric = by, by.Fabric()
	}
	var timer *time.Timer
	timer = time.AfterFunc(length, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.failSafe.timer == timer {
			d.rollBack()
		}
	})
	d.failSafe.timer = timer
}

// rollBack takes back all that was not completed. Call it with the lock.
func (d *Device) rollBack() {
	f := d.failSafe
	f.stop()
	d.failSafe, d.breadcrumb = failSafe{}, 0
	d.restoreNetworks()
	if f.added != nil {
		d.drop(f.added)
	}
	if f.updated != nil {
		d.fabrics[f.updated.index] = f.updated
		d.resumptions.Forget(f.updated.index, 0)
	}
	if s := d.window.pase; s != nil {
		d.window.pase = nil
		time.AfterFunc(lastAnswer, s.Close)
	}
	d.reopen()
}

// drop leaves a fabric. Call it with the lock.
func (d *Device) drop(f *fabric) {
	delete(d.fabrics, f.index)
	delete(d.software.providers, f.index)
	d.advertise(f.name(), nil)
	d.resumptions.Forget(f.index, 0)
	if d.window.opener == f {
		d.window.opener = nil
	}
	sessions := d.manager.Sessions(func(s *exchange.Session) bool { return s.Kind() == exchange.CASE && s.Fabric() == f.index })
	time.AfterFunc(lastAnswer, func() {
		for _, s := range sessions {
			s.Close()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.fabrics) == 0 && d.cfg.Network != nil { // as good as new
			d.station.networks = nil
			d.join(nil)
			d.reopen()
		}
	})
	go d.changed(0, datamodel.OperationalCredentials, datamodel.CredentialsFabrics, datamodel.CredentialsCommissioned, datamodel.CredentialsNOCs, datamodel.CredentialsRoots)
}
