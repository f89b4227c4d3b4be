package login

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Limits of ours, of what is remembered about strangers. An entry takes some
// 200 octets.
const (
	maxAddresses = 4096
	maxAccounts  = 4096
	maxKnown     = 1024
	maxAccount   = 128 // octets of a name that are told apart

	// All strangers together may try so often: enough for a family, and no more
	// than a small board's core can hash.
	strangerBurst = 20
	strangerEvery = 500 * time.Millisecond
)

// Limits are how wrong attempts are answered. After Free of them each further
// one has to wait: First, then twice as long, up to Longest. After Forget
// without any they are forgotten.
type Limits struct {
	Free                   int
	First, Longest, Forget time.Duration
}

// PasswordLimits are for passwords: anybody can type a name, so that the longest
// wait must be bearable.
var PasswordLimits = Limits{5, time.Second, 15 * time.Minute, 24 * time.Hour}

// CodeLimits are for one-time codes and recovery codes, which only who knows the
// password is asked for: a code of six digits holds for a lifetime only if
// guesses become rare.
var CodeLimits = Limits{5, 10 * time.Second, 24 * time.Hour, 30 * 24 * time.Hour}

// Limiter locks out who tries too often. Wrong attempts are counted for each
// account and for each address (of IPv6: each /64). Who logged in well from an
// address before is counted apart for this very address, so that no stranger can
// keep a person out. It is safe for concurrent use.
//
// What it remembers is this gateway's alone, and gone after a restart.
type Limiter struct {
	limits Limits
	now    func() time.Time

	mu        sync.Mutex
	addresses *table[netip.Prefix, wrong]
	accounts  *table[string, wrong]
	known     *table[place, wrong]
	strangers float64 // attempts they may make now
	filled    time.Time
}

// place is an account at an address.
type place struct {
	account string
	address netip.Addr
}

// wrong is how many wrong attempts there were, or might be: an attempt counts as
// wrong from its beginning, so that a thousand at once are not all let through.
type wrong struct {
	attempts int
	last     time.Time
}

// NewLimiter makes a Limiter that knows nobody.
func NewLimiter(limits Limits, now func() time.Time) *Limiter {
	return &Limiter{limits: limits, now: now, addresses: newTable[netip.Prefix, wrong](maxAddresses),
		accounts: newTable[string, wrong](maxAccounts), known: newTable[place, wrong](maxKnown),
		strangers: strangerBurst, filled: now()}
}

// Locked is a refusal to try now. It is a commissioner.Failure of CodeWait.
type Locked struct {
	Wait time.Duration // until the next attempt may be made; whole seconds
	err  error
}

func (l *Locked) Error() string { return l.err.Error() }
func (l *Locked) Unwrap() error { return l.err }

func locked(wait time.Duration) error {
	wait = wait.Truncate(time.Second) + time.Second
	return &Locked{wait, because(CodeWait, fmt.Sprintf("wait %v", wait))}
}

// Attempt is one try, which counts as wrong until it is taken back.
type Attempt struct {
	l      *Limiter
	counts []*wrong
}

// Try asks whether an attempt may be made, before anything is spent on it: nil
// and Locked if not. account is what was typed, whether anybody has it or not.
// The zero Addr is an address as well.
func (l *Limiter) Try(account string, from netip.Addr) (*Attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, at := l.now(), placeOf(account, from)
	if count := l.known.get(at); count != nil {
		if wait := l.wait(count, now); wait > 0 {
			return nil, locked(wait)
		}
		return l.book(now, count), nil
	}
	if wait := max(l.wait(l.addresses.get(network(at.address)), now), l.wait(l.accounts.get(at.account), now)); wait > 0 {
		return nil, locked(wait)
	}
	if !l.letStranger(now) { // before anything is made: else they could push everything out of the tables
		return nil, locked(strangerEvery)
	}
	return l.book(now, l.addresses.make(network(at.address)), l.accounts.make(at.account)), nil
}

// book counts an attempt.
func (l *Limiter) book(now time.Time, counts ...*wrong) *Attempt {
	for _, count := range counts {
		count.attempts++
		count.last = now
	}
	return &Attempt{l, counts}
}

// wait is how long no attempt may be made, by one count. nil counts nothing.
func (l *Limiter) wait(count *wrong, now time.Time) time.Duration {
	if count == nil {
		return 0
	}
	if now.Before(count.last) { // the clock was set back: a lock must not last until then
		count.last = now
	}
	quiet := now.Sub(count.last)
	if quiet >= l.limits.Forget {
		count.attempts = 0
	}
	over := count.attempts - l.limits.Free
	if over < 0 {
		return 0
	}
	wait := l.limits.First
	for ; over > 0 && wait < l.limits.Longest; over-- {
		wait *= 2
	}
	return min(wait, l.limits.Longest) - quiet
}

// letStranger takes one of the attempts that all strangers share.
func (l *Limiter) letStranger(now time.Time) bool {
	if passed := now.Sub(l.filled); passed > 0 {
		l.strangers = min(strangerBurst, l.strangers+float64(passed)/float64(strangerEvery))
	}
	l.filled = now
	if l.strangers < 1 {
		return false
	}
	l.strangers--
	return true
}

// TakeBack says that the attempt was right, or that nothing was tried after all.
func (a *Attempt) TakeBack() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	for _, count := range a.counts {
		count.attempts = max(0, count.attempts-1)
	}
	a.counts = nil
}

// Know says that a person has logged in from an address, with every proof that
// was asked for.
func (l *Limiter) Know(account string, from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.known.make(placeOf(account, from)) = wrong{}
}

// Forget says that an account's sessions were ended, or that there is none of
// this name any more: nobody is known at any address.
func (l *Limiter) Forget(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	account = placeOf(account, netip.Addr{}).account
	l.known.remove(func(p place) bool { return p.account == account })
}

func placeOf(account string, from netip.Addr) place {
	if len(account) > maxAccount {
		account = account[:maxAccount]
	}
	return place{account, from.Unmap().WithZone("")}
}

// network is the part of an address that its user cannot choose.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the zero Prefix of the zero Addr
	return p
}
