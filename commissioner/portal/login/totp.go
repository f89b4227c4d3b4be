package login

import (
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// What every authenticator app does (RFC 6238), whatever its URL says.
const (
	totpPeriod = 30 * time.Second
	totpDigits = otp.DigitsSix
	totpHash   = otp.AlgorithmSHA1
)

// Limits of ours.
const (
	totpSecretSize = 20 // octets
	totpSkew       = 1  // steps that a phone's clock may be wrong, either way
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// totpSecret is what an authenticator app and the gateway share.
type totpSecret struct {
	Name   string `cbor:"1,keyasint"`
	Secret []byte `cbor:"2,keyasint"`
	Added  int64  `cbor:"3,keyasint"` // Unix seconds
}

func (s totpSecret) sound() bool { return len(s.Secret) == totpSecretSize }
func (s totpSecret) item() Item  { return Item{s.Name, time.Unix(s.Added, 0).UTC()} }

// Steps remember which one-time codes were used. Take says whether a step of 30
// seconds is later than any that was taken under a key before, and takes it, in
// one act: nobody else may take it meanwhile.
type Steps interface {
	Take(key string, step int64) (bool, error)
}

// MemorySteps are Steps of one gateway: within its minute and a half a code can
// be used once at each of several gateways. The zero value is ready for use.
type MemorySteps struct {
	mu    sync.Mutex
	taken map[string]int64
}

// Take never fails.
func (m *MemorySteps) Take(key string, step int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.taken[key]; ok && step <= last {
		return false, nil
	}
	for other, last := range m.taken {
		if last < step-2*totpSkew { // nobody accepts a code of that age
			delete(m.taken, other)
		}
	}
	if m.taken == nil {
		m.taken = map[string]int64{}
	}
	m.taken[key] = step
	return true, nil
}

// Enrolment is the secret of an authenticator app that is being added. It
// cannot be printed. Keep it between the page that shows it and the code that
// confirms it, and no longer.
type Enrolment struct{ secret func() []byte }

// NewEnrolment draws a secret.
func NewEnrolment(random io.Reader) (*Enrolment, error) {
	secret := make([]byte, totpSecretSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("draw an authenticator's secret: %w", err)
	}
	return &Enrolment{func() []byte { return secret }}, nil
}

// URL is what the QR code holds that the app scans. It is secret. home and
// person are what the app shows.
func (e *Enrolment) URL(home, person string) string {
	plain := func(s string) string { return strings.ReplaceAll(s, ":", " ") } // parts the two in the label
	q := url.Values{"secret": {base32Text.EncodeToString(e.secret())}, "issuer": {plain(home)},
		"algorithm": {totpHash.String()}, "digits": {totpDigits.String()}, "period": {strconv.Itoa(int(totpPeriod / time.Second))}}
	// Apps show a plus as one.
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + plain(home) + ":" + plain(person), RawQuery: strings.ReplaceAll(q.Encode(), "+", "%20")}
	return u.String()
}

// Typed is the secret for who cannot scan: base32 in groups of four.
func (e *Enrolment) Typed() string {
	return grouped(base32Text.EncodeToString(e.secret()), 4, " ")
}

// Erase overwrites the secret.
func (e *Enrolment) Erase() { clear(e.secret()) }

func (Enrolment) String() string               { return redacted }
func (Enrolment) GoString() string             { return redacted }
func (Enrolment) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Enrolment) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Enrolment) LogValue() slog.Value         { return slog.StringValue(redacted) }

// AddAuthenticator takes an app's secret, once the app has shown a right code.
// account is whose the credentials are, as Steps know it.
func (c *Credentials) AddAuthenticator(e *Enrolment, name, code, account string, steps Steps, now time.Time) error {
	name, err := room(name, c.Authenticators(), maxAuthenticators, CodeCodesFull)
	if err != nil {
		return err
	}
	added := totpSecret{name, append([]byte(nil), e.secret()...), now.Unix()}
	if err := checkCode([]totpSecret{added}, code, account, steps, now); err != nil {
		clear(added.Secret)
		return err
	}
	c.held().TOTP = append(c.held().TOTP, added)
	return nil
}

// CheckCode says whether a code is one that an authenticator app shows now, or
// half a minute earlier or later, and takes it, so that it is not right twice.
func (c *Credentials) CheckCode(code, account string, steps Steps, now time.Time) error {
	return checkCode(c.held().TOTP, code, account, steps, now)
}

func checkCode(secrets []totpSecret, code, account string, steps Steps, now time.Time) error {
	code = strings.Map(func(r rune) rune {
		if r == ' ' {
			return -1
		}
		return r
	}, code)
	refusal := fail(CodeCodeWrong)
	for _, s := range secrets {
		for at := stepOf(now) - totpSkew; at <= stepOf(now)+totpSkew; at++ {
			if at < 0 || !shows(s, at, code) {
				continue
			}
			switch fresh, err := steps.Take(account+"\x00"+s.Name, at); {
			case err != nil:
				return fmt.Errorf("take a one-time code: %w", err)
			case fresh:
				return nil
			}
			refusal = fail(CodeCodeUsed)
		}
	}
	return refusal
}

func stepOf(now time.Time) int64 { return now.Unix() / int64(totpPeriod/time.Second) }

// shows says whether a code is that of a step; in constant time.
func shows(s totpSecret, step int64, code string) bool {
	right, err := hotp.ValidateCustom(code, uint64(step), base32Text.EncodeToString(s.Secret),
		hotp.ValidateOpts{Digits: totpDigits, Algorithm: totpHash})
	return right && err == nil
}

// grouped puts a separator after every n octets of ASCII.
func grouped(text string, n int, between string) string {
	var b strings.Builder
	for i := 0; i < len(text); i += n {
		if i > 0 {
			b.WriteString(between)
		}
		b.WriteString(text[i:min(i+n, len(text))])
	}
	return b.String()
}
