package virtual

import (
	"context"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

func (d *Device) onOff() *datamodel.Cluster {
	command := func(next func(on bool) bool) datamodel.CommandServer {
		return datamodel.CommandServer{Invoke: func(context.Context, *interaction.Request, tlv.Raw) (any, interaction.StatusIB) {
			d.turn(next)
			return nil, interaction.StatusIB{}
		}}
	}
	return &datamodel.Cluster{ID: datamodel.OnOff, Revision: 6,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.OnOffState: {Read: func(*interaction.Request) any { return d.On() }},
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.OnOffOff:    command(func(bool) bool { return false }),
			datamodel.OnOffOn:     command(func(bool) bool { return true }),
			datamodel.OnOffToggle: command(func(on bool) bool { return !on }),
		}}
}

// turn switches the light, as its own button would too.
func (d *Device) turn(next func(on bool) bool) {
	d.mu.Lock()
	before := d.on
	d.on = next(before)
	now := d.on
	d.mu.Unlock()
	if before == now {
		return
	}
	if d.cfg.OnSwitch != nil {
		d.cfg.OnSwitch(now)
	}
	d.changed(1, datamodel.OnOff, datamodel.OnOffState)
}

// Press is a press of the light's own button.
func (d *Device) Press() { d.turn(func(on bool) bool { return !on }) }

// identify counts down while the light would blink.
func (d *Device) identify() *datamodel.Cluster {
	var until time.Time
	left := func() uint16 {
		d.mu.Lock()
		defer d.mu.Unlock()
		return uint16(max(0, until.Sub(d.cfg.Now()).Seconds()))
	}
	set := func(raw tlv.Raw, v any, seconds *uint16) bool {
		if tlv.Unmarshal(raw, v) != nil {
			return false
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		until = d.cfg.Now().Add(time.Duration(*seconds) * time.Second)
		return true
	}
	return &datamodel.Cluster{ID: 0x0003, Revision: 5,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			0: {Read: func(*interaction.Request) any { return left() }, Write: func(_ *interaction.Request, v tlv.Raw, _ bool) interaction.Status {
				var seconds uint16
				if !set(v, &seconds, &seconds) {
					return interaction.InvalidDataType
				}
				return interaction.Success
			}},
			1: datamodel.Value(uint8(1)), // IdentifyType: visible light
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			0: {Access: datamodel.Manage, Invoke: func(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
				var req struct {
					Seconds uint16 `tlv:"0"`
				}
				if !set(fields, &req, &req.Seconds) {
					return invalid()
				}
				return nil, interaction.StatusIB{}
			}},
		}}
}
