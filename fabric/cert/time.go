package cert

import (
	"fmt"
	"time"
)

// epoch is 2000-01-01T00:00:00Z in Unix time.
const epoch = 946684800

// Time is a time in certificates: seconds since 2000-01-01 UTC. Zero stands
// for the time X.509 calls undefined, 9999-12-31T23:59:59Z. The last Time is
// in February 2136.
type Time uint32

// undefined is what zero stands for.
var undefined = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// TimeOf is t in certificates, to the second.
func TimeOf(t time.Time) (Time, error) {
	if t.Equal(undefined) {
		return 0, nil
	}
	s := t.Unix() - epoch
	if s <= 0 || int64(Time(s)) != s {
		return 0, fmt.Errorf("time %v cannot be written in a certificate", t.UTC().Format(time.RFC3339))
	}
	return Time(s), nil
}

// Time is t as a time.Time, in UTC.
func (t Time) Time() time.Time {
	if t == 0 {
		return undefined
	}
	return time.Unix(epoch+int64(t), 0).UTC()
}

func (t Time) String() string { return t.Time().Format(time.RFC3339) }

// Policy says whether a certificate that is valid from notBefore to notAfter
// (0: for ever) may be used.
type Policy func(notBefore, notAfter Time) error

// At enforces both ends, for a clock that is right: what gateways use.
func At(now time.Time) Policy {
	s := now.Unix() - epoch
	return func(notBefore, notAfter Time) error {
		if s < int64(notBefore) {
			return fmt.Errorf("not valid before %v", notBefore)
		}
		return expired(s, notAfter)
	}
}

// NotBehind enforces the end alone, for a clock that is known not to be ahead
// but may have stood still: last known good time.
func NotBehind(t time.Time) Policy {
	s := t.Unix() - epoch
	return func(_, notAfter Time) error { return expired(s, notAfter) }
}

// AnyTime accepts every certificate. Devices that know only last known good
// time mostly do: it cannot show that a certificate is not yet valid, and they
// would rather accept an expired one than be unreachable.
func AnyTime(_, _ Time) error { return nil }

func expired(s int64, notAfter Time) error {
	if notAfter != 0 && s > int64(notAfter) {
		return fmt.Errorf("expired on %v", notAfter)
	}
	return nil
}
