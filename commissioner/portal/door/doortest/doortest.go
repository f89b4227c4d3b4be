// Package doortest has a home's trust state in memory, for tests of who may come
// in.
package doortest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

// Cheap is the cost of passwords in tests.
var Cheap = login.Cost{Memory: 64, Passes: 1, Lanes: 1}

// Home is a trust state in memory, of a home called villa with one gateway, and
// a vault that seals under one key.
type Home struct {
	mu    sync.Mutex
	state *fabric.State
	now   time.Time
	key   seal.Secret
	Opens int // how often the people's secret was opened
}

// New is a Home whose list of people has begun, and the door of its gateway.
func New(t testing.TB) (*Home, *door.Door) {
	t.Helper()
	key, err := seal.RandomSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &Home{state: &fabric.State{}, key: key, now: time.UnixMilli(1_800_000_000_000)}
	_, err = h.Propose(t.Context(), fabric.Command{Found: &fabric.Found{
		Home:       fabric.Home{Name: "villa", FabricID: 1, Root: []byte("root"), GatewayCAT: cert.NewCAT(1, 1)},
		Generation: fabric.Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed")},
		Gateway:    fabric.Gateway{Node: 0xA1, Name: "hall", NOC: []byte("noc"), Version: fabric.Version}}})
	if err != nil {
		t.Fatal(err)
	}
	d := h.Door()
	if err := d.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, d
}

// Door is that of another gateway of the same home.
func (h *Home) Door() *door.Door {
	return door.New(door.Config{Ledger: h, Vault: h, Cost: Cheap, Site: login.Site{Domain: "gatehouse.local", Home: "villa", Origins: []string{"https://gatehouse.local"}},
		Authority: func(seal.Secret, *fabric.State) ([]byte, error) { return []byte("der"), nil }, Now: h.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
}

// Now is the home's time.
func (h *Home) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Pass lets time pass.
func (h *Home) Pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// State is the trust state.
func (h *Home) State() *fabric.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// Current is State.
func (h *Home) Current(context.Context) (*fabric.State, error) { return h.State(), nil }

// Propose applies a command.
func (h *Home) Propose(_ context.Context, c fabric.Command) (*fabric.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.Version, c.Time = c.Needs(), h.now.UnixMilli()
	next, err := fabric.Apply(h.state, h.state.Index+1, &c)
	h.state = next
	return next, err
}

const purpose = "people"

// OpenPeople opens the people's secret.
func (h *Home) OpenPeople(_ context.Context, s *fabric.State) (seal.Secret, error) {
	h.Opens++
	return seal.Open(h.key, purpose, s.People.Key)
}

// SealPeople seals it.
func (h *Home) SealPeople(_ context.Context, s *fabric.State, secret seal.Secret) ([]byte, uint32, error) {
	b, err := seal.FirstSuite.Secrets().Seal(rand.Reader, h.key, purpose, secret.Reveal())
	return b, s.DataKey(), err
}

// Password is everybody's who was added.
const Password = "correct horse battery"

// Add has somebody come in by an invitation.
func Add(t testing.TB, d *door.Door, name string, role fabric.Role) *door.Opened {
	t.Helper()
	i, err := d.Invite(t.Context(), "", name, role, false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.Accept(t.Context(), i.Secret, "", Password, "test")
	if err != nil {
		t.Fatal(err)
	}
	return o
}
