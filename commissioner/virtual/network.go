package virtual

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// Network is the radio of a device that is on no network yet, and what comes
// of its using it.
type Network struct {
	Feature     uint32 // datamodel.FeatureWiFi or FeatureThread
	WiFi        []datamodel.WiFiScanned
	Thread      []datamodel.ThreadScanned
	Max         int           // networks it has room for; 0: 1
	ConnectTime uint8         // s that it says joining may take
	Delay       time.Duration // that joining takes
	// Join is how an attempt to join ends.
	Join func(id, credentials []byte) datamodel.NetworkingStatus
	// Leaves says that it has a single radio: it leaves Bluetooth to join.
	Leaves bool
	// Joined is the id of the network it is on from the start; nil: none. It
	// uses Bluetooth all the same.
	Joined []byte
	// Beacon begins the advertising over Bluetooth, or ends it (nil).
	Beacon func(*radio.Advertisement)
}

// begin is the state of the radio as the device is switched on.
func (s *station) begin(n *Network) {
	s.up.Store(n == nil || n.Joined != nil)
	if n != nil && n.Joined != nil {
		s.networks, s.joined = []stored{{id: n.Joined}}, n.Joined
	}
}

// stored is a network the device was told of.
type stored struct{ id, credentials []byte }

// station is the state of a device's radio.
type station struct {
	networks []stored
	before   *[]stored // as the fail-safe began
	joined   []byte    // id of the network it is on; nil: none
	status   tlv.Null[datamodel.NetworkingStatus]
	lastID   tlv.Null[[]byte]
	up       atomic.Bool
}

// gated is a link that carries nothing while the device is on no network.
type gated struct {
	radio.Link
	up *atomic.Bool
}

func (g gated) Send(to radio.Addr, b []byte) error {
	if !g.up.Load() {
		return nil
	}
	return g.Link.Send(to, b)
}

func (g gated) Receive(b []byte) (int, radio.Addr, error) {
	for {
		n, from, err := g.Link.Receive(b)
		if err != nil || g.up.Load() {
			return n, from, err
		}
	}
}

// ethernet is the network of a device that has no radio: nothing to commission.
var ethernet = []datamodel.NetworkInfo{{ID: []byte("ethernet"), Connected: true}}

func (d *Device) networkCommissioning() *datamodel.Cluster {
	n, s := d.cfg.Network, &d.station
	c := &datamodel.Cluster{ID: datamodel.NetworkCommissioning, Revision: 2, Features: datamodel.FeatureEthernet,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.NetworkMax:        datamodel.Value(uint8(1)),
			datamodel.NetworkList:       datamodel.Value(ethernet),
			datamodel.NetworkEnabled:    datamodel.Value(true),
			datamodel.NetworkLastStatus: datamodel.Value(tlv.Null[uint8]{}),
			datamodel.NetworkLastID:     datamodel.Value(tlv.Null[[]byte]{}),
			datamodel.NetworkLastError:  datamodel.Value(tlv.Null[int32]{}),
		}}
	if n == nil {
		return c
	}
	read := func(f func() any) datamodel.AttributeServer {
		return datamodel.AttributeServer{ReadAccess: datamodel.Administer, Read: func(*interaction.Request) any {
			d.mu.Lock()
			defer d.mu.Unlock()
			return f()
		}}
	}
	c.Features = n.Feature
	c.Attributes[datamodel.NetworkMax] = datamodel.Value(uint8(n.Max))
	c.Attributes[datamodel.NetworkList] = read(func() any {
		list := []datamodel.NetworkInfo{}
		for _, known := range s.networks {
			list = append(list, datamodel.NetworkInfo{ID: known.id, Connected: s.joined != nil && string(known.id) == string(s.joined)})
		}
		return list
	})
	c.Attributes[datamodel.NetworkScanMaxTime] = datamodel.Value(uint8(5))
	c.Attributes[datamodel.NetworkConnectMaxTime] = datamodel.Value(n.ConnectTime)
	c.Attributes[datamodel.NetworkLastStatus] = read(func() any { return s.status })
	c.Attributes[datamodel.NetworkLastID] = read(func() any { return s.lastID })
	if n.Feature == datamodel.FeatureWiFi {
		c.Attributes[datamodel.NetworkWiFiBands] = datamodel.Value([]datamodel.WiFiBand{datamodel.WiFi2G4})
	} else {
		c.Attributes[datamodel.NetworkThreadFeatures] = datamodel.Value(uint16(1 << 2))
		c.Attributes[datamodel.NetworkThreadVersion] = datamodel.Value(uint16(4))
	}
	command := func(response interaction.CommandID, f invoke) datamodel.CommandServer {
		return datamodel.CommandServer{Access: datamodel.Administer, Response: response, Invoke: d.cfg.Hostile.command(f)}
	}
	c.Commands = map[interaction.CommandID]datamodel.CommandServer{
		datamodel.ScanNetworksID:   command(datamodel.ScanNetworksResponseID, d.scanNetworks),
		datamodel.RemoveNetworkID:  command(datamodel.NetworkConfigResponseID, d.removeNetwork),
		datamodel.ReorderNetworkID: command(datamodel.NetworkConfigResponseID, d.reorderNetwork),
		datamodel.ConnectNetworkID: command(datamodel.ConnectNetworkRspID, d.connectNetwork),
	}
	if n.Feature == datamodel.FeatureWiFi {
		c.Commands[datamodel.AddWiFiNetworkID] = command(datamodel.NetworkConfigResponseID, d.addWiFi)
	} else {
		c.Commands[datamodel.AddThreadNetworkID] = command(datamodel.NetworkConfigResponseID, d.addThread)
	}
	return c
}

func (d *Device) scanNetworks(context.Context, *interaction.Request, tlv.Raw) (any, interaction.StatusIB) {
	return &datamodel.ScanNetworksResponse{WiFi: d.cfg.Network.WiFi, Thread: d.cfg.Network.Thread}, interaction.StatusIB{}
}

// config runs a command that changes the list of networks. It needs the
// fail-safe, which brings the list back if it comes to that.
func (d *Device) config(f func(s *station) (datamodel.NetworkingStatus, int)) (any, interaction.StatusIB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.failSafe.armed() {
		return nil, interaction.StatusIB{Status: interaction.FailsafeRequired}
	}
	s := &d.station
	if s.before == nil {
		before := slices.Clone(s.networks)
		s.before = &before
	}
	status, index := f(s)
	s.status = tlv.Some(status)
	r := &datamodel.NetworkConfigResponse{Status: status}
	if status == datamodel.NetworkingOK {
		i := uint8(index)
		r.Index = &i
	}
	return r, interaction.StatusIB{}
}

func (s *station) find(id []byte) int {
	return slices.IndexFunc(s.networks, func(n stored) bool { return string(n.id) == string(id) })
}

func (d *Device) put(n stored) (any, interaction.StatusIB) {
	return d.config(func(s *station) (datamodel.NetworkingStatus, int) {
		i := s.find(n.id)
		switch {
		case i >= 0:
			s.networks[i] = n
		case len(s.networks) >= d.cfg.Network.Max:
			return datamodel.NetworkingBoundsExceeded, 0
		default:
			i = len(s.networks)
			s.networks = append(s.networks, n)
		}
		return datamodel.NetworkingOK, i
	})
}

func (d *Device) addWiFi(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.AddWiFiNetwork
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	if n := len(req.Credentials); len(req.SSID) == 0 || len(req.SSID) > 32 || n > 64 || n > 0 && n < 8 && n != 5 {
		return nil, interaction.StatusIB{Status: interaction.ConstraintError}
	}
	return d.put(stored{req.SSID, req.Credentials})
}

func (d *Device) addThread(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.AddThreadNetwork
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	const extendedPANID = 2 // TLV type
	for b := req.Dataset; len(b) >= 2 && len(b) >= 2+int(b[1]); b = b[2+int(b[1]):] {
		if b[0] == extendedPANID && b[1] == 8 {
			return d.put(stored{b[2:10], req.Dataset})
		}
	}
	return &datamodel.NetworkConfigResponse{Status: datamodel.NetworkingOutOfRange}, interaction.StatusIB{}
}

func (d *Device) removeNetwork(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.NetworkID
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	return d.config(func(s *station) (datamodel.NetworkingStatus, int) {
		i := s.find(req.ID)
		if i < 0 {
			return datamodel.NetworkingIDNotFound, 0
		}
		s.networks = slices.Delete(s.networks, i, i+1)
		return datamodel.NetworkingOK, i
	})
}

func (d *Device) reorderNetwork(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.ReorderNetwork
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	return d.config(func(s *station) (datamodel.NetworkingStatus, int) {
		i, to := s.find(req.ID), int(req.Index)
		switch {
		case i < 0:
			return datamodel.NetworkingIDNotFound, 0
		case to >= len(s.networks):
			return datamodel.NetworkingOutOfRange, 0
		}
		n := s.networks[i]
		s.networks = slices.Insert(slices.Delete(s.networks, i, i+1), to, n)
		return datamodel.NetworkingOK, to
	})
}

func (d *Device) connectNetwork(ctx context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.NetworkID
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	d.mu.Lock()
	armed, i := d.failSafe.armed(), d.station.find(req.ID)
	var n stored
	if i >= 0 {
		n = d.station.networks[i]
	}
	d.mu.Unlock()
	switch {
	case !armed:
		return nil, interaction.StatusIB{Status: interaction.FailsafeRequired}
	case i < 0:
		return &datamodel.ConnectNetworkResponse{Status: datamodel.NetworkingIDNotFound}, interaction.StatusIB{}
	}
	if d.cfg.Network.Leaves {
		defer r.Session.Link().Close() // before the answer
	}
	select {
	case <-time.After(d.cfg.Network.Delay):
	case <-ctx.Done():
	}
	status := d.cfg.Network.Join(n.id, n.credentials)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.station
	s.status, s.lastID = tlv.Some(status), tlv.Some(n.id)
	if status == datamodel.NetworkingOK && d.failSafe.armed() {
		d.join(n.id)
	}
	return &datamodel.ConnectNetworkResponse{Status: status}, interaction.StatusIB{}
}

// join puts the device on a network, or on none (nil). Call it with the lock.
func (d *Device) join(id []byte) {
	d.station.joined = id
	d.station.up.Store(id != nil)
	for what := range d.services {
		d.announce(what)
	}
}

// restoreNetworks is the fail-safe's share of them. Call it with the lock.
func (d *Device) restoreNetworks() {
	s := &d.station
	if d.cfg.Network == nil || s.before == nil {
		return
	}
	s.networks, s.before = *s.before, nil
	if s.joined != nil && s.find(s.joined) < 0 {
		d.join(nil)
	}
}

// Serve makes the device reachable over one more link, such as a Bluetooth
// connection.
func (d *Device) Serve(l radio.Link) { d.manager.Serve(l) }

// beacon advertises the window over Bluetooth while the device is on no
// network, or ends that (nil). Call it with the lock.
func (d *Device) beacon(ad *radio.Advertisement) {
	if n := d.cfg.Network; n != nil && n.Beacon != nil && (ad == nil || n.Joined != nil || !d.station.up.Load()) {
		n.Beacon(ad)
	}
}

// closeAir ends the sessions over Bluetooth, whose time is over.
func (d *Device) closeAir() {
	for _, s := range d.manager.Sessions(func(s *exchange.Session) bool { return s.Link().Reliable() }) {
		s.Link().Close()
	}
}
