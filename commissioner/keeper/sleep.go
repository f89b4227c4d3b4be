package keeper

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/nodes"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// Limits of ours.
const (
	tableEvery = time.Second // between looks whether there are other keys for check-ins
	// deliverFor is how long a check-in is worth passing on: devices stay awake
	// for 5 s at least.
	deliverFor   = 10 * time.Second
	deliverTry   = 2 * time.Second
	deliverAgain = 250 * time.Millisecond
	// meetOnce is after a device was met: what it said before that is no news.
	meetOnce = 2 * time.Second
	// sleepSlack is how much later than it should a device may check in.
	sleepSlack = 30 * time.Second
	// defaultIdle is how long a device sleeps that did not say it.
	defaultIdle = time.Hour
)

// errWoke says that a device has woken up and has no subscription.
var errWoke = errors.New("the device woke up")

// sleeping is what is known of the devices that check in: whose check-ins are
// whose, on every gateway, and what is done with those of this gateway's.
type sleeping struct {
	table checkin.Table
	// HandOver tells another gateway that a device of its is awake.
	handOver func(ctx context.Context, owner, n cert.NodeID) error

	mu      sync.Mutex
	ciphers map[checkin.Name]*checkin.Cipher
	passing map[cert.NodeID]bool          // check-ins on their way to the owner
	woke    map[cert.NodeID]chan struct{} // holds one when the device has woken up
	naps    map[cert.NodeID]*nap
}

// nap is how this gateway stands with a device of its own that checks in.
type nap struct {
	since time.Time // of when it was met last, or not at all
	next  time.Time // of the next attempt to settle its registration
	wait  time.Duration
}

// HandOver says how another gateway is told that a device of its is awake. Set
// it before devices are met.
func (k *Keeper) HandOver(f func(ctx context.Context, owner, n cert.NodeID) error) {
	k.sleep.handOver = f
}

// keepTable keeps the keys of check-ins at hand, until ctx ends.
func (k *Keeper) keepTable(ctx context.Context) {
	ticker := time.NewTicker(tableEvery)
	defer ticker.Stop()
	for warned := false; ; {
		if err := k.fillTable(ctx); err != nil && ctx.Err() == nil && !warned {
			warned = true // once
			k.c.Log.Warn("devices that check in are not heard", "err", err)
		} else if err == nil {
			warned = false
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// fillTable makes the keys that the trust state knows those that are heard.
func (k *Keeper) fillTable(ctx context.Context) error {
	want := make(map[checkin.Name]checkin.Key)
	for n, d := range k.c.Ledger.State().Devices {
		c := d.CheckIn
		if c == nil {
			continue
		}
		counter, known := k.counter(n)
		for _, key := range []struct {
			epoch uint64
			start uint32
			fresh bool // nothing is known of where the counter is
		}{{c.Epoch, c.Counter, c.Phase == fabric.CheckInDue}, {c.Before, c.BeforeCounter, false}} {
			if key.fresh && known { // it counts on from where it was
				key.start = counter
			}
			last := key.start
			if known && int32(counter-last) > 0 { // else it was said before it got the key
				last = counter
			}
			if key.epoch != 0 {
				want[checkin.Name{Node: uint64(n), Epoch: key.epoch}] = checkin.Key{Start: key.start, Last: last}
			}
		}
	}
	err := k.ciphersFor(ctx, want)
	k.sleep.mu.Lock()
	for name, key := range want {
		if key.Cipher = k.sleep.ciphers[name]; key.Cipher == nil {
			delete(want, name)
			continue
		}
		want[name] = key
	}
	for name := range k.sleep.ciphers {
		if _, ok := want[name]; !ok {
			delete(k.sleep.ciphers, name)
		}
	}
	k.sleep.mu.Unlock()
	k.sleep.table.Set(want)
	return err
}

// ciphersFor opens the keys that are not at hand yet.
func (k *Keeper) ciphersFor(ctx context.Context, want map[checkin.Name]checkin.Key) error {
	var names []fabric.CheckInKey
	k.sleep.mu.Lock()
	for name := range want {
		if k.sleep.ciphers[name] == nil {
			names = append(names, fabric.CheckInKey{Node: cert.NodeID(name.Node), Epoch: name.Epoch})
		}
	}
	k.sleep.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	keys, err := k.c.Authority.CheckInKeys(ctx, names)
	if err != nil {
		return err
	}
	for i, secret := range keys {
		raw := secret.Reveal()
		cipher, err := checkin.New(message.Key(raw))
		clear(raw)
		secret.Erase()
		if err != nil {
			return err
		}
		k.sleep.mu.Lock()
		k.sleep.ciphers[checkin.Name{Node: uint64(names[i].Node), Epoch: names[i].Epoch}] = cipher
		k.sleep.mu.Unlock()
	}
	return nil
}

// overheard takes a message in that says it is a check-in.
func (k *Keeper) overheard(from radio.Addr, body []byte) {
	name, m, err := k.sleep.table.Open(body, k.c.Now())
	if err != nil {
		return // anybody can send one: it is not worth a line in the log
	}
	n := cert.NodeID(name.Node)
	k.sleep.mu.Lock()
	defer k.sleep.mu.Unlock()
	if k.sleep.passing[n] {
		return
	}
	k.sleep.passing[n] = true
	k.c.Log.Info("a device woke up", "device", n, "counter", m.Counter, "at", from)
	go k.deliver(n)
}

// deliver has whoever looks after a device told that it is awake. If that
// gateway is gone, somebody takes the device over meanwhile.
func (k *Keeper) deliver(n cert.NodeID) {
	defer func() {
		k.sleep.mu.Lock()
		defer k.sleep.mu.Unlock()
		delete(k.sleep.passing, n)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), deliverFor)
	defer cancel()
	for ctx.Err() == nil {
		d := k.c.Ledger.State().Devices[n]
		switch {
		case d == nil:
			return
		case k.Woke(n):
			return
		case k.tell(ctx, d.Gateway, n):
			return
		}
		select {
		case <-time.After(deliverAgain):
		case <-ctx.Done():
		}
	}
}

// tell tells a gateway that a device of its is awake. One that is gone is not
// waited for: by then another one may look after the device.
func (k *Keeper) tell(ctx context.Context, owner, n cert.NodeID) (told bool) {
	ctx, cancel := context.WithTimeout(ctx, deliverTry)
	defer cancel()
	return k.sleep.handOver != nil && k.sleep.handOver(ctx, owner, n) == nil
}

// Woke says that a device has checked in: it is met anew, if this gateway looks
// after it.
func (k *Keeper) Woke(n cert.NodeID) (ours bool) {
	if d := k.c.Ledger.State().Devices[n]; d == nil || d.Gateway != k.c.Identity().Node {
		return false
	}
	k.Nodes.Woke(n)
	select {
	case k.wokeUp(n) <- struct{}{}:
	default:
	}
	select {
	case k.own.came <- struct{}{}: // it may be new to this gateway
	default:
	}
	return true
}

// wokeUp holds one when a device has woken up.
func (k *Keeper) wokeUp(n cert.NodeID) chan struct{} {
	k.sleep.mu.Lock()
	defer k.sleep.mu.Unlock()
	if k.sleep.woke[n] == nil {
		k.sleep.woke[n] = make(chan struct{}, 1)
	}
	return k.sleep.woke[n]
}

// nap is what is remembered of a device that checks in. Call it with the lock.
func (k *Keeper) nap(n cert.NodeID) *nap {
	if k.sleep.naps[n] == nil {
		k.sleep.naps[n] = &nap{since: k.c.Now(), wait: firstMove / 2}
	}
	return k.sleep.naps[n]
}

// wakeless forgets how this gateway stood with a device.
func (k *Keeper) wakeless(n cert.NodeID) {
	k.sleep.mu.Lock()
	defer k.sleep.mu.Unlock()
	delete(k.sleep.naps, n)
	delete(k.sleep.woke, n)
}

// met notes that a device was met.
func (k *Keeper) met(n cert.NodeID) {
	k.sleep.mu.Lock()
	k.nap(n).since = k.c.Now()
	k.sleep.mu.Unlock()
	k.noteAwake(n)
}

// noteAwake notes that a device that checks in was heard.
func (k *Keeper) noteAwake(n cert.NodeID) {
	if k.checkIn(n) != nil {
		k.Nodes.Woke(n)
	}
}

// checkIn is a device's registration; nil: it has none.
func (k *Keeper) checkIn(n cert.NodeID) *fabric.CheckIn {
	if d := k.c.Ledger.State().Devices[n]; d != nil {
		return d.CheckIn
	}
	return nil
}

// cadence is how a device sleeps, as it said.
type cadence struct{ idle, active time.Duration }

// patience is how long a device that was awake may be silent: it may hold on to
// another gateway's subscription for as long as it sleeps once.
func (c cadence) patience() time.Duration { return 2*c.idle + c.active + sleepSlack }

func (k *Keeper) cadence(n cert.NodeID) cadence {
	said, _ := k.Nodes.Get(n)
	var idle, active uint32
	var threshold uint16
	attribute(&said, datamodel.ICDIdleModeDuration, &idle)
	attribute(&said, datamodel.ICDActiveModeDuration, &active)
	attribute(&said, datamodel.ICDActiveModeThreshold, &threshold)
	c := cadence{time.Duration(idle) * time.Second, time.Duration(max(active, uint32(threshold))) * time.Millisecond}
	if at := k.checkIn(n); c.idle == 0 && at != nil {
		c.idle = time.Duration(at.Idle) * time.Second
	}
	if c.idle == 0 {
		c.idle = defaultIdle
	}
	return c
}

// attribute is what a device said of its sleep.
func attribute(n *nodes.Node, id interaction.AttributeID, v any) bool {
	raw, ok := n.Values[nodes.Path{Endpoint: datamodel.RootEndpoint, Cluster: datamodel.ICDManagement, Attribute: id}]
	return ok && tlv.Unmarshal(raw, v) == nil
}

// counter is where a device's counter is, as it said itself.
func (k *Keeper) counter(n cert.NodeID) (counter uint32, known bool) {
	said, _ := k.Nodes.Get(n)
	known = attribute(&said, datamodel.ICDCounter, &counter)
	return counter, known
}

// sleepsLong reports whether a device checks in for all that is known.
func (k *Keeper) sleepsLong(n cert.NodeID) bool {
	c := k.checkIn(n)
	return c != nil && c.Phase == fabric.CheckInKept
}

// subscribed reports whether this gateway has a subscription to a device.
func (k *Keeper) subscribed(n cert.NodeID) bool {
	h, ok := k.Health(n)
	return ok && h.Reachable && !h.Asleep
}

// napping reports whether a device sleeps now, as it should: what it is asked for
// waits.
func (k *Keeper) napping(n cert.NodeID) bool {
	if !k.maySleep(n) { // most devices do not
		return false
	}
	said, _ := k.Nodes.Get(n)
	c, away := k.cadence(n), k.c.Now().Sub(said.Awake)
	return away > c.active && away <= c.patience()
}

// maySleep reports whether a device may have a registration, so that it sleeps
// long.
func (k *Keeper) maySleep(n cert.NodeID) bool {
	c := k.checkIn(n)
	return c != nil && (c.Phase != fabric.CheckInDue || c.Before != 0)
}

// overdue is when a device that does not answer, and checks in, should have
// done so at the latest.
func (k *Keeper) overdue(n cert.NodeID) (at time.Time, sleeps bool) {
	if !k.maySleep(n) {
		return at, false
	}
	said, _ := k.Nodes.Get(n)
	k.sleep.mu.Lock()
	since := k.nap(n).since
	k.sleep.mu.Unlock()
	if said.Awake.After(since) {
		since = said.Awake
	}
	at = since.Add(k.cadence(n).patience())
	return at, k.c.Now().Before(at)
}

// Sleeper is how a device that may sleep long stands with the home.
type Sleeper struct {
	Registered bool
	Awake      bool
	// Expected is when it should be heard next, at the latest; zero: nobody knows.
	Expected time.Time
}

// Sleeper tells of a device what the home's gateways know, whichever looks
// after it.
func (k *Keeper) Sleeper(n cert.NodeID) (s Sleeper) {
	if s.Registered = k.sleepsLong(n); !s.Registered {
		return s
	}
	if said, _ := k.Nodes.Get(n); !said.Awake.IsZero() {
		c := k.cadence(n)
		s.Awake = k.c.Now().Sub(said.Awake) <= c.active
		s.Expected = said.Awake.Add(c.active + c.idle)
	}
	return s
}
