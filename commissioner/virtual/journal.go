package virtual

import (
	"slices"
	"sync"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// maxEvents is how many events the device remembers.
const maxEvents = 64

// Priorities of events.
const (
	infoEvent     = 1
	criticalEvent = 2
)

// journal is what happened on the device.
type journal struct {
	mu     sync.Mutex
	next   uint64 // number
	events []interaction.Event
}

// since is what happened from a number on.
func (j *journal) since(min uint64) []interaction.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	first, _ := slices.BinarySearchFunc(j.events, min, func(e interaction.Event, min uint64) int { return int(int64(e.Number) - int64(min)) })
	return slices.Clone(j.events[first:])
}

// happened notes an event of a cluster of endpoint 0, and tells subscribers.
func (d *Device) happened(c interaction.ClusterID, id interaction.EventID, priority uint8, event any) {
	data, err := tlv.Marshal(event)
	if err != nil {
		d.cfg.Log.Error("an event cannot be told", "cluster", c, "event", id, "err", err)
		return
	}
	endpoint, at := interaction.EndpointID(0), uint64(d.cfg.Now().UnixMilli())
	j := &d.journal
	j.mu.Lock()
	j.events = append(j.events, interaction.Event{Path: interaction.EventPath{Endpoint: &endpoint, Cluster: &c, Event: &id}, Number: j.next, Priority: priority, Epoch: &at, Data: data})
	j.events = j.events[max(0, len(j.events)-maxEvents):]
	j.next++
	j.mu.Unlock()
	d.engine.Changed()
}
