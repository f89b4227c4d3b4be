package virtual

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// Sleep is how a device sleeps once somebody has registered to hear that it
// wakes up; until then it stays awake.
type Sleep struct {
	Idle      time.Duration // that it sleeps, in s
	Active    time.Duration // that it is awake, in ms
	Threshold time.Duration // that it stays awake after it heard something, in ms
	// Resolve finds a node by its instance's name; nil: the device's Discovery.
	Resolve func(ctx context.Context, instance string) (radio.Advertisement, error)
}

const (
	registrations = 2 // per fabric
	resolveLimit  = 5 * time.Second
	// lie is what a device that lies adds to its counter.
	lie = 1 << 20
)

// client is somebody who is registered.
type client struct {
	datamodel.Registration
	cipher *checkin.Cipher
}

// sleeper is where a device is between sleep and waking.
type sleeper struct {
	asleep atomic.Bool
	rouse  chan struct{} // holds one when it is to wake up

	mu      sync.Mutex
	until   time.Time // awake
	counter uint32    // of check-ins, used last
	sent    int       // check-ins
}

// drowsy is a link that carries nothing while the device sleeps: what is sent
// to it is lost, and what it sends itself wakes it up.
type drowsy struct {
	radio.Link
	d *Device
}

func (l drowsy) Send(to radio.Addr, b []byte) error {
	if l.d.sleeper.asleep.Swap(false) {
		l.d.Wake()
	}
	return l.Link.Send(to, b)
}

func (l drowsy) Receive(b []byte) (int, radio.Addr, error) {
	for {
		n, from, err := l.Link.Receive(b)
		if err != nil || !l.d.sleeper.asleep.Load() {
			l.d.sleeper.stay(l.d.cfg.Now().Add(l.d.cfg.Sleep.Threshold))
			return n, from, err
		}
	}
}

func (s *sleeper) stay(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.until) {
		s.until = until
	}
}

// Wake wakes the device up, as its button does.
func (d *Device) Wake() {
	select {
	case d.sleeper.rouse <- struct{}{}:
	default:
	}
}

// Asleep reports whether the device sleeps.
func (d *Device) Asleep() bool { return d.sleeper.asleep.Load() }

// CheckIns is how many the device has sent.
func (d *Device) CheckIns() int {
	d.sleeper.mu.Lock()
	defer d.sleeper.mu.Unlock()
	return d.sleeper.sent
}

// SetCounter has the device's counter go on from somewhere else, as after many
// restarts.
func (d *Device) SetCounter(counter uint32) {
	d.sleeper.mu.Lock()
	defer d.sleeper.mu.Unlock()
	d.sleeper.counter = counter
}

// Clients are those registered, on all fabrics.
func (d *Device) Clients() (all []datamodel.Registration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(d.fabrics)) {
		for _, n := range slices.Sorted(maps.Keys(d.fabrics[i].clients)) {
			all = append(all, d.fabrics[i].clients[n].Registration)
		}
	}
	return all
}

// ForgetClients has the device lose its registrations, as a faulty one does.
func (d *Device) ForgetClients() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.fabrics {
		clear(f.clients)
	}
}

// doze sleeps and wakes up in turn, until the device is closed.
func (d *Device) doze() {
	s, cfg := &d.sleeper, d.cfg.Sleep
	wait := func(length time.Duration) (roused bool) {
		timer := time.NewTimer(length)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-s.rouse:
			return true
		case <-d.ctx.Done():
			return false
		}
	}
	s.stay(d.cfg.Now().Add(cfg.Active))
	for d.ctx.Err() == nil {
		s.mu.Lock()
		left := s.until.Sub(d.cfg.Now())
		s.mu.Unlock()
		if left <= 0 && len(d.Clients()) == 0 {
			left = cfg.Active
		}
		if left > 0 {
			wait(left)
			continue
		}
		s.asleep.Store(true)
		wait(cfg.Idle)
		s.asleep.Store(false)
		s.stay(d.cfg.Now().Add(cfg.Active))
		d.checkIn()
	}
}

// checkIn tells those who are registered, and not subscribed, that the device
// is awake.
func (d *Device) checkIn() {
	var due []client
	var names []string
	d.mu.Lock()
	subscribers := d.engine.Subscribers()
	for _, f := range d.fabrics {
		for _, c := range f.clients {
			watched := func(s *exchange.Session) bool {
				return s.Fabric() == f.index && named(tlv.Some([]uint64{c.Subject}), s)
			}
			if !slices.ContainsFunc(subscribers, watched) {
				due, names = append(due, *c), append(names, radio.OperationalInstance(uint64(f.compressed), c.CheckInNode))
			}
		}
	}
	d.mu.Unlock()
	if len(due) == 0 {
		return
	}
	s := &d.sleeper
	s.mu.Lock()
	s.counter++
	counter := s.counter
	s.mu.Unlock()
	for i, c := range due {
		go d.sendCheckIn(&c, names[i], counter)
	}
}

func (d *Device) sendCheckIn(c *client, instance string, counter uint32) {
	ctx, cancel := context.WithTimeout(d.ctx, resolveLimit)
	defer cancel()
	ad, err := d.resolve(ctx, instance)
	if err != nil || len(ad.Addrs) == 0 {
		d.cfg.Log.Info("nobody to check in with", "instance", instance, "err", err)
		return
	}
	threshold := binary.LittleEndian.AppendUint16(nil, uint16(d.cfg.Sleep.Threshold/time.Millisecond))
	for _, b := range d.cfg.Hostile.checkIns(c.cipher, checkin.Message{Counter: counter, Data: threshold}) {
		if err := d.manager.SendUnsecured(d.cfg.Link, ad.Addrs[0], message.SecureChannel, checkin.Opcode, b); err != nil {
			d.cfg.Log.Info("checking in failed", "err", err)
		}
	}
	d.sleeper.mu.Lock()
	defer d.sleeper.mu.Unlock()
	d.sleeper.sent++
}

func (d *Device) resolve(ctx context.Context, instance string) (radio.Advertisement, error) {
	if d.cfg.Sleep.Resolve != nil {
		return d.cfg.Sleep.Resolve(ctx, instance)
	}
	return d.cfg.Discovery.Resolve(ctx, instance)
}

// icdManagement is how others register.
func (d *Device) icdManagement() *datamodel.Cluster {
	cfg, s := d.cfg.Sleep, &d.sleeper
	return &datamodel.Cluster{ID: datamodel.ICDManagement, Revision: 3, Features: datamodel.ICDCheckIn | datamodel.ICDLongIdle,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.ICDIdleModeDuration:    datamodel.Value(uint32(cfg.Idle / time.Second)),
			datamodel.ICDActiveModeDuration:  datamodel.Value(uint32(cfg.Active / time.Millisecond)),
			datamodel.ICDActiveModeThreshold: datamodel.Value(uint16(cfg.Threshold / time.Millisecond)),
			datamodel.ICDRegisteredClients:   {Read: d.readClients, ReadAccess: datamodel.Administer},
			datamodel.ICDCounter: {ReadAccess: datamodel.Administer, Read: func(*interaction.Request) any {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.counter
			}},
			datamodel.ICDClientsSupported: datamodel.Value(uint16(registrations)),
			datamodel.ICDOperatingMode: {Read: func(*interaction.Request) any {
				if len(d.Clients()) > 0 {
					return datamodel.LongIdle
				}
				return datamodel.ShortIdle
			}},
			9: datamodel.Value(uint32(cfg.Idle / time.Second)), // MaximumCheckInBackOff
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.RegisterClientID:    {Access: datamodel.Manage, Response: datamodel.RegisterClientResponseID, Invoke: d.registerClient},
			datamodel.UnregisterClientID:  {Access: datamodel.Manage, Invoke: d.unregisterClient},
			datamodel.StayActiveRequestID: {Access: datamodel.Manage, Response: datamodel.StayActiveResponseID, Invoke: d.stayActive},
		}}
}

func (d *Device) readClients(r *interaction.Request) any {
	list := []datamodel.Registration{}
	for _, c := range d.Clients() {
		if !r.FabricFiltered || c.FabricIndex == r.Session.Fabric() {
			list = append(list, c)
		}
	}
	return list
}

func (d *Device) registerClient(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.RegisterClient
	if tlv.Unmarshal(fields, &req) != nil || len(req.Key) != message.KeySize {
		return invalid()
	}
	if subject := cert.NodeID(req.Subject); !cert.NodeID(req.CheckInNode).Operational() || !subject.Operational() && !tagged(subject) {
		return nil, interaction.StatusIB{Status: interaction.ConstraintError}
	}
	cipher, err := checkin.New(message.Key(req.Key))
	if err != nil {
		return nil, interaction.StatusIB{Status: interaction.Failure}
	}
	administers := d.grants(r, 0, datamodel.ICDManagement) >= datamodel.Administer
	d.mu.Lock()
	f := d.fabrics[r.Session.Fabric()]
	switch {
	case f == nil:
		d.mu.Unlock()
		return nil, interaction.StatusIB{Status: interaction.UnsupportedAccess}
	case f.clients[req.CheckInNode] == nil && len(f.clients) >= registrations:
		d.mu.Unlock()
		return nil, interaction.StatusIB{Status: interaction.ResourceExhausted}
	case f.clients[req.CheckInNode] != nil && !administers: // no key to compare is kept
		d.mu.Unlock()
		return nil, interaction.StatusIB{Status: interaction.Failure}
	}
	if d.cfg.Hostile != ForgetClient {
		kind := req.ClientType
		f.clients[req.CheckInNode] = &client{datamodel.Registration{CheckInNode: req.CheckInNode, Subject: req.Subject, ClientType: &kind, FabricIndex: f.index}, cipher}
	}
	d.mu.Unlock()
	d.changed(0, datamodel.ICDManagement, datamodel.ICDRegisteredClients, datamodel.ICDOperatingMode)
	d.sleeper.mu.Lock()
	defer d.sleeper.mu.Unlock()
	return &datamodel.RegisterClientResponse{Counter: d.cfg.Hostile.counter(d.sleeper.counter)}, interaction.StatusIB{}
}

func tagged(subject cert.NodeID) bool { _, ok := subject.CAT(); return ok }

func (d *Device) unregisterClient(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.UnregisterClient
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	d.mu.Lock()
	f := d.fabrics[r.Session.Fabric()]
	if f == nil || f.clients[req.CheckInNode] == nil {
		d.mu.Unlock()
		return nil, interaction.StatusIB{Status: interaction.NotFound}
	}
	delete(f.clients, req.CheckInNode)
	d.mu.Unlock()
	d.changed(0, datamodel.ICDManagement, datamodel.ICDRegisteredClients, datamodel.ICDOperatingMode)
	return nil, interaction.StatusIB{}
}

func (d *Device) stayActive(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.StayActiveRequest
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	length := min(time.Duration(req.Duration)*time.Millisecond, d.cfg.Sleep.Idle)
	d.sleeper.stay(d.cfg.Now().Add(length))
	return &datamodel.StayActiveResponse{Promised: uint32(length / time.Millisecond)}, interaction.StatusIB{}
}

// pace lets who subscribes hear of a device no more often than it wakes up.
func (d *Device) pace(asked time.Duration) time.Duration {
	if len(d.Clients()) == 0 {
		return asked
	}
	return max(asked, d.cfg.Sleep.Idle)
}
