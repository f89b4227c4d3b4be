package checkin

import (
	"errors"
	"sync"
	"time"
)

// Limits of ours.
const (
	// ahead is how many messages after the last one a device may have written
	// that nobody got, and still be found at once.
	ahead = 32
	// recent is how many messages of a device are remembered that were taken
	// since it was last met, and repeatAfter for how long.
	recent      = 8
	repeatAfter = 10 * time.Second
	// Keys tried per second for messages that are not found at once, all
	// together; and how many may be tried in a row. One takes some 2 µs.
	triesPerSecond = 4000
	mostTries      = 2 * triesPerSecond
)

// spent is how far the counter may go with one key (4.22.3.4.1).
const spent = 1 << 31

// Spent reports whether a key is to be replaced: the counter has come so far
// since the device got it that what is new could soon not be told from what is
// old.
func Spent(start, last uint32) bool { return last-start >= spent }

// ErrReplay says that the message, or a later one, was taken before.
var ErrReplay = errors.New("checkin: it came before")

// Name tells a key: the device's node id, and which of its keys it is.
type Name struct{ Node, Epoch uint64 }

// Key is one that a device has.
type Key struct {
	Cipher *Cipher
	Start  uint32 // the counter when it got the key
	Last   uint32 // what the device said itself of the counter since
}

// Table tells which device wrote a message. Its zero value is one without keys;
// it may be used by several goroutines.
type Table struct {
	mu    sync.Mutex
	keys  map[Name]*known
	next  map[[nonceSize]byte]Name // what may come next, and what came last
	tries float64                  // that are left
	at    time.Time                // when that was so
}

// known is a key and what was taken of it.
type known struct {
	Key
	nonces map[uint32][nonceSize]byte // in Table.next
	taken  []taken                    // after Last, oldest first
}

type taken struct {
	counter uint32
	at      time.Time
}

// Set makes want, whatever follows from the trust state and what devices said,
// the table's keys. A key that is there already stays; its Last goes where the
// device says.
func (t *Table) Set(want map[Name]Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys, t.next, t.tries = make(map[Name]*known), make(map[[nonceSize]byte]Name), mostTries
	}
	for name, k := range t.keys {
		if _, ok := want[name]; !ok {
			for _, nonce := range k.nonces {
				delete(t.next, nonce)
			}
			delete(t.keys, name)
		}
	}
	for name, w := range want {
		k := t.keys[name]
		switch {
		case k == nil:
			k = &known{Key: w, nonces: make(map[uint32][nonceSize]byte)}
			t.keys[name] = k
			t.expect(name, k)
		case k.Start != w.Start || k.Last != w.Last:
			k.Start, k.Last, k.taken = w.Start, w.Last, nil
			t.expect(name, k)
		}
	}
}

// expect has the messages found at once that may come next.
func (t *Table) expect(name Name, k *known) {
	for counter, nonce := range k.nonces {
		if counter-k.Last > ahead {
			delete(k.nonces, counter)
			delete(t.next, nonce)
		}
	}
	for i := range uint32(ahead + 1) {
		if _, ok := k.nonces[k.Last+i]; !ok {
			nonce := k.Cipher.nonce(k.Last + i)
			k.nonces[k.Last+i], t.next[nonce] = nonce, name
		}
	}
}

// Open tells whose message it is. It takes none that is not after what the device
// itself said of its counter, and each only once in a while: what is taken says
// nothing of the counter, so that who stole a key cannot have the device's own
// messages refused.
func (t *Table) Open(b []byte, now time.Time) (name Name, m Message, err error) {
	if !sized(b) {
		return name, m, ErrForeign
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name = t.next[[nonceSize]byte(b)]
	k := t.keys[name]
	if k != nil {
		m, err = k.Cipher.Open(b)
	} else {
		name, m, err = t.try(b, now)
		k = t.keys[name]
	}
	if err != nil {
		return name, m, err
	}
	if m.Counter-k.Start <= k.Last-k.Start {
		return name, m, ErrReplay
	}
	for _, t := range k.taken {
		if t.counter == m.Counter && now.Sub(t.at) < repeatAfter {
			return name, m, ErrReplay
		}
	}
	if k.taken = append(k.taken, taken{m.Counter, now}); len(k.taken) > recent {
		k.taken = k.taken[1:]
	}
	return name, m, nil
}

// try tries all keys, as long as there are tries left: a device may have
// counted on while nobody heard it, and one that restarts counts on by itself.
func (t *Table) try(b []byte, now time.Time) (Name, Message, error) {
	if !t.at.IsZero() {
		t.tries = min(mostTries, t.tries+triesPerSecond*now.Sub(t.at).Seconds())
	}
	if t.at = now; t.tries < float64(len(t.keys)) {
		return Name{}, Message{}, ErrForeign
	}
	for name, k := range t.keys {
		t.tries--
		if m, err := k.Cipher.Open(b); err == nil {
			return name, m, nil
		}
	}
	return Name{}, Message{}, ErrForeign
}
