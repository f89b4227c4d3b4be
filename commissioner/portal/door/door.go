// Package door is who may come in to a gateway's portal, and what they may do:
// the people of the home, their sessions and tokens, and the second factor
// that critical acts take.
//
// It promises that nobody comes in but by a proof that was checked, that what
// was taken away from somebody holds on every gateway as soon as it has heard
// of it, and that a secret is kept nowhere but sealed: of passes only digests
// are in the trust state. It serves no page and no API: package portal does.
package door

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

// Limits of ours.
const (
	sessionLasts    = 30 * 24 * time.Hour
	invitationLasts = 24 * time.Hour
	// freshFor is how long a second factor counts for critical acts.
	freshFor = 5 * time.Minute
	maxFresh = 10_000 // sessions whose second factor is remembered
)

// Ledger is the trust state.
type Ledger interface {
	State() *fabric.State
	Current(ctx context.Context) (*fabric.State, error)
	Propose(ctx context.Context, c fabric.Command) (*fabric.State, error)
}

// Vault opens and seals the secret of the list of people.
type Vault interface {
	OpenPeople(ctx context.Context, s *fabric.State) (seal.Secret, error)
	SealPeople(ctx context.Context, s *fabric.State, secret seal.Secret) (sealed []byte, number uint32, err error)
}

// Config is what a Door is made of.
type Config struct {
	Ledger Ledger
	Vault  Vault
	Cost   login.Cost // of passwords
	Site   login.Site // that passkeys are for
	// Authority makes the certificate of the web page's authority, in DER, whose
	// key follows from a secret.
	Authority func(secret seal.Secret, s *fabric.State) ([]byte, error)
	Now       func() time.Time
	Random    io.Reader
	Log       *slog.Logger
}

// Door lets people in to one gateway. Its methods may be called from several
// goroutines.
type Door struct {
	Config
	hasher    *login.Hasher
	passwords *login.Limiter
	codes     *login.Limiter

	steps login.Steps
	// passkeys is nil where browsers allow none: noPasskeys says why.
	passkeys   *login.Passkeys
	noPasskeys error

	mu         sync.Mutex
	fresh      map[string]time.Time // until when a pass's second factor counts
	enrolments map[string]enrolment // by pass
	key        peopleKey
}

// New is a Door.
func New(cfg Config) *Door {
	d := &Door{Config: cfg, hasher: login.NewHasher(cfg.Cost, cfg.Random), passwords: login.NewLimiter(login.PasswordLimits, cfg.Now),
		codes: login.NewLimiter(login.CodeLimits, cfg.Now), steps: new(login.MemorySteps), fresh: make(map[string]time.Time), enrolments: make(map[string]enrolment)}
	d.passkeys, d.noPasskeys = login.NewPasskeys(cfg.Site, cfg.Random, cfg.Now)
	return d
}

// Confirmed notes that the bearer of a pass has shown a second factor.
func (d *Door) Confirmed(pass string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Now()
	if len(d.fresh) >= maxFresh {
		for p, until := range d.fresh {
			if !until.After(now) {
				delete(d.fresh, p)
			}
		}
	}
	if len(d.fresh) < maxFresh {
		d.fresh[pass] = now.Add(freshFor)
	}
}

// FreshUntil is until when a pass's second factor counts; zero: it does not.
func (d *Door) FreshUntil(pass string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until := d.fresh[pass]; until.After(d.Now()) {
		return until
	}
	return time.Time{}
}
