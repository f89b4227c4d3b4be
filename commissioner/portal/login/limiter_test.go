package login

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner"
)

var (
	phone    = netip.MustParseAddr("192.168.1.20")
	stranger = netip.MustParseAddr("192.168.1.66")
)

type limited struct {
	*Limiter
	at time.Time
	t  *testing.T
}

func newLimited(t *testing.T, limits Limits) *limited {
	l := &limited{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), t: t}
	l.Limiter = NewLimiter(limits, func() time.Time { return l.at })
	return l
}

// wait is how long an attempt is refused; 0: it was made, and was wrong.
func (l *limited) wait(account string, from netip.Addr) time.Duration {
	l.t.Helper()
	a, err := l.Try(account, from)
	if err == nil {
		if a == nil {
			l.t.Fatal("neither an attempt nor a refusal")
		}
		return 0
	}
	var refusal *Locked
	var failure *commissioner.Failure
	if a != nil || !errors.As(err, &refusal) || !errors.As(err, &failure) || failure.Code != CodeWait || refusal.Wait <= 0 ||
		!strings.Contains(err.Error(), refusal.Wait.String()) || failure.Remedy == "" {
		l.t.Fatalf("refused with %v", err)
	}
	return refusal.Wait
}

// right makes a whole login that is right.
func (l *limited) right(account string, from netip.Addr) {
	l.t.Helper()
	a, err := l.Try(account, from)
	if err != nil {
		l.t.Fatalf("%v: a right attempt was refused: %v", l.at, err)
	}
	a.TakeBack()
	l.Know(account, from)
}

func TestWaitGrows(t *testing.T) {
	l := newLimited(t, PasswordLimits)
	for range 5 {
		if w := l.wait("anna", stranger); w != 0 {
			t.Fatalf("one of the free attempts waits %v", w)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} {
		want *= time.Second
		if w := l.wait("anna", stranger); w != want+time.Second {
			t.Fatalf("waits %v, want %v", w, want)
		}
		l.at = l.at.Add(want - time.Millisecond)
		if w := l.wait("anna", stranger); w != time.Second {
			t.Fatalf("a moment before its time: %v", w)
		}
		l.at = l.at.Add(time.Millisecond) // refused attempts do not count
		if w := l.wait("anna", stranger); w != 0 {
			t.Fatalf("after %v it waits %v more", want, w)
		}
	}
	l.at = l.at.Add(PasswordLimits.Forget)
	for range 5 {
		if w := l.wait("anna", stranger); w != 0 {
			t.Fatalf("a day later it waits %v", w)
		}
	}
}

func TestCountedByAccountAndAddress(t *testing.T) {
	l := newLimited(t, PasswordLimits)
	for i := range 5 { // one account from many addresses
		l.wait("anna", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	if l.wait("anna", phone) == 0 {
		t.Error("an account is not counted over addresses")
	}
	if w := l.wait("bert", phone); w != 0 {
		t.Errorf("another account waits %v", w)
	}
	for i := range 5 { // many accounts from one address
		l.wait(fmt.Sprint(i), stranger)
	}
	if l.wait("carl", stranger) == 0 {
		t.Error("an address is not counted over accounts")
	}
	six := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	l = newLimited(t, PasswordLimits)
	for i := range 5 {
		l.wait(fmt.Sprint(i), six(fmt.Sprintf("2001:db8:1:1::%d", i)))
	}
	if l.wait("x", six("2001:db8:1:1:ffff::1")) == 0 {
		t.Error("a /64 is not counted as one")
	}
	if l.wait("x", six("2001:db8:1:2::1")) != 0 {
		t.Error("the next /64 is counted with it")
	}
	l = newLimited(t, PasswordLimits)
	for range 5 {
		l.wait("anna", six("::ffff:192.168.1.66"))
	}
	if l.wait("bert", stranger) == 0 {
		t.Error("IPv4 within IPv6 is another address")
	}
	l = newLimited(t, PasswordLimits)
	for i := range 5 {
		l.wait(fmt.Sprint(i), six("fe80::1%eth0"))
	}
	if l.wait("x", six("fe80::2%eth1")) == 0 {
		t.Error("the zone tells addresses apart")
	}
	for range 7 { // a unix socket has none, and no long name fills memory
		l.wait(strings.Repeat("x", 1<<20), netip.Addr{})
	}
}

func TestStrangersDoNotLockOutWhoIsKnown(t *testing.T) {
	l := newLimited(t, PasswordLimits)
	l.right("anna", phone)
	for range 1000 {
		l.wait("anna", stranger)
		l.at = l.at.Add(time.Second)
	}
	if l.wait("anna", netip.MustParseAddr("192.168.1.30")) == 0 {
		t.Error("a thousand wrong attempts lock nothing")
	}
	for range 100 {
		l.right("anna", phone)
	}
	if l.wait("bert", stranger) == 0 {
		t.Error("a right login elsewhere frees a stranger's address")
	}
	for range 5 {
		l.wait("anna", phone)
	}
	if l.wait("anna", phone) == 0 {
		t.Error("who is known may guess for ever")
	}
	l.at = l.at.Add(time.Minute)
	l.right("anna", phone)
	l.Forget("anna")
	if l.known.get(place{"anna", phone}) != nil {
		t.Error("nobody was forgotten")
	}
}

func TestRightAttemptsDoNotCount(t *testing.T) {
	l := newLimited(t, PasswordLimits)
	for range 100 {
		l.right("anna", phone)
	}
	l.at = l.at.Add(time.Minute)
	for range 4 {
		l.wait("bert", stranger)
	}
	a, err := l.Try("anna", stranger)
	if err != nil {
		t.Fatal(err)
	}
	a.TakeBack()
	a.TakeBack() // of two no more is taken back than of one
	if w := l.wait("carl", stranger); w != 0 {
		t.Errorf("the fifth waits %v", w)
	}
	if l.wait("dora", stranger) == 0 {
		t.Error("a right login in between resets a stranger's address")
	}
}

// A thousand at once are not all let through before the first is found wrong.
func TestAttemptsCountFromTheirBeginning(t *testing.T) {
	l := newLimited(t, PasswordLimits)
	l.Know("anna", phone)
	for _, from := range []netip.Addr{phone, stranger} {
		begun := 0
		for range 1000 {
			if a, err := l.Try("anna", from); err == nil && a != nil {
				begun++
			}
		}
		if begun != PasswordLimits.Free {
			t.Errorf("from %v: %d were begun at once", from, begun)
		}
	}
}

func TestClockSetBack(t *testing.T) {
	l := newLimited(t, PasswordLimits)
	for range 6 {
		l.wait("anna", stranger)
	}
	l.at = l.at.AddDate(-10, 0, 0)
	l.wait("anna", stranger)
	l.at = l.at.Add(PasswordLimits.Longest)
	if w := l.wait("anna", stranger); w != 0 {
		t.Errorf("locked until the clock is where it was: %v", w)
	}
}

// Floods: by one address, and by as many as IPv6 gives. Who is known logs in
// whenever they like, next to nothing is spent on the rest, and the tables stay
// bounded.
func TestFlood(t *testing.T) {
	for name, from := range map[string]func(i int) netip.Addr{
		"one address": func(int) netip.Addr { return stranger },
		"every /64": func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(i >> 16), byte(i >> 8), byte(i)})
		},
	} {
		for account, typed := range map[string]func(i int) string{
			"one account": func(int) string { return "anna" },
			"any account": func(i int) string { return fmt.Sprint(i) },
		} {
			t.Run(name+", "+account, func(t *testing.T) {
				l := newLimited(t, PasswordLimits)
				l.right("anna", phone)
				begun := 0
				const seconds = 120
				for i := range seconds * 1000 {
					if l.wait(typed(i), from(i)) == 0 {
						begun++
					}
					l.at = l.at.Add(time.Millisecond)
					if i%10_000 == 0 {
						l.right("anna", phone)
					}
				}
				if most := strangerBurst + seconds*int(time.Second/strangerEvery); begun > most {
					t.Errorf("%d attempts were let through, more than %d", begun, most)
				}
				if l.addresses.order.Len() > begun+1 || l.accounts.order.Len() > begun+1 || len(l.addresses.at) != l.addresses.order.Len() {
					t.Errorf("%d addresses and %d accounts are remembered of %d attempts", l.addresses.order.Len(), l.accounts.order.Len(), begun)
				}
				t.Logf("%d attempts let through", begun)
			})
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	table := newTable[int, wrong](3)
	for i := range 3 {
		table.make(i).attempts = i + 1
	}
	table.get(0)
	table.make(3)
	for key, want := range map[int]int{0: 1, 1: -1, 2: 3, 3: 0} {
		got := -1
		if v := table.get(key); v != nil {
			got = v.attempts
		}
		if got != want {
			t.Errorf("key %d: %d, want %d", key, got, want)
		}
	}
	table.remove(func(k int) bool { return k == 2 })
	if table.get(2) != nil || len(table.at) != 2 || table.order.Len() != 2 {
		t.Error("not removed")
	}
}

// A code of six digits, three of which are right at a time, guessed for a year.
func TestCodesLastAYear(t *testing.T) {
	l := newLimited(t, CodeLimits)
	guesses := 0
	for end := l.at.AddDate(1, 0, 0); l.at.Before(end); {
		w := l.wait("anna", stranger)
		if w == 0 {
			guesses++
			continue
		}
		l.at = l.at.Add(w)
	}
	if guesses > 400 {
		t.Errorf("%d guesses in a year", guesses)
	}
}
