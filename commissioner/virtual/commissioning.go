package virtual

import (
	"context"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

const (
	failSafeSeconds    = 60
	maxFailSafeSeconds = 900
)

func (d *Device) generalCommissioning() *datamodel.Cluster {
	command := func(response interaction.CommandID, f func(context.Context, *interaction.Request, tlv.Raw) (any, interaction.StatusIB)) datamodel.CommandServer {
		return datamodel.CommandServer{Access: datamodel.Administer, Response: response, Invoke: d.cfg.Hostile.command(f)}
	}
	return &datamodel.Cluster{ID: datamodel.GeneralCommissioning, Revision: 2,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.CommissioningBreadcrumb: {
				Read: func(*interaction.Request) any { d.mu.Lock(); defer d.mu.Unlock(); return d.breadcrumb },
				Write: func(_ *interaction.Request, v tlv.Raw, _ bool) interaction.Status {
					d.mu.Lock()
					defer d.mu.Unlock()
					if tlv.Unmarshal(v, &d.breadcrumb) != nil {
						return interaction.InvalidDataType
					}
					return interaction.Success
				}, WriteAccess: datamodel.Administer},
			datamodel.CommissioningInfo:       datamodel.Value(datamodel.BasicCommissioningInfo{FailSafe: d.cfg.FailSafe, MaxFailSafe: maxFailSafeSeconds}),
			datamodel.CommissioningRegulatory: datamodel.Value(datamodel.IndoorOutdoor),
			datamodel.CommissioningLocation:   datamodel.Value(datamodel.IndoorOutdoor),
			datamodel.CommissioningConcurrent: datamodel.Value(d.cfg.Network == nil || !d.cfg.Network.Leaves),
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.ArmFailSafeID:           command(datamodel.ArmFailSafeResponseID, d.armFailSafe),
			datamodel.SetRegulatoryConfigID:   command(datamodel.SetRegulatoryResponseID, d.setRegulatory),
			datamodel.CommissioningCompleteID: command(datamodel.CommissioningCompleteRspID, d.complete),
		}}
}

func answer(code datamodel.CommissioningError) (any, interaction.StatusIB) {
	return &datamodel.CommissioningResponse{Code: code}, interaction.StatusIB{}
}

func (d *Device) armFailSafe(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.ArmFailSafe
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &d.failSafe
	if f.by != nil && f.by != r.Session && (f.fabric == 0 || f.fabric != r.Session.Fabric()) {
		return answer(datamodel.CommissioningBusyWithOtherAdmin)
	}
	switch {
	case req.Seconds > maxFailSafeSeconds:
		return answer(datamodel.CommissioningValueOutsideRange)
	case req.Seconds > 0:
		d.arm(r.Session, time.Duration(req.Seconds)*time.Second)
		d.breadcrumb = req.Breadcrumb
	case f.armed():
		d.rollBack()
	}
	return answer(datamodel.CommissioningOK)
}

func (d *Device) setRegulatory(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.SetRegulatoryConfig
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.failSafe.armed() {
		return answer(datamodel.CommissioningNoFailSafe)
	}
	d.breadcrumb = req.Breadcrumb
	return answer(datamodel.CommissioningOK)
}

func (d *Device) complete(_ context.Context, r *interaction.Request, _ tlv.Raw) (any, interaction.StatusIB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.failSafe.armed():
		return answer(datamodel.CommissioningNoFailSafe)
	case r.Session.Kind() != exchange.CASE || r.Session.Fabric() != d.failSafe.fabric:
		return answer(datamodel.CommissioningInvalidAuthentication)
	}
	d.failSafe.stop()
	d.failSafe, d.breadcrumb, d.station.before = failSafe{}, 0, nil
	d.shut()
	if s := d.window.pase; s != nil {
		d.window.pase = nil
		go s.Close()
	}
	go d.closeAir()
	return answer(datamodel.CommissioningOK)
}
