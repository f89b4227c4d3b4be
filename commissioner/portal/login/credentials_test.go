package login_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
)

// cheap is for tests that do not measure.
var cheap = login.Cost{Memory: 64, Passes: 1, Lanes: 1}

const good = "three wet herons sing"

// full are credentials with a proof of every kind.
func full(t testing.TB) *login.Credentials {
	t.Helper()
	now := newClock()
	p, err := login.NewPasskeys(login.Site{Domain: domain, Home: "Lindenhof", Origins: []string{origin}}, rand.Reader, now.now)
	if err != nil {
		t.Fatal(err)
	}
	c := login.New()
	if err := add(p, c, newKey(), "phone", purpose); err != nil {
		t.Fatal(err)
	}
	if err := login.NewHasher(cheap, rand.Reader).Set(context.Background(), c, good); err != nil {
		t.Fatal(err)
	}
	enrolled(t, c, "app", now)
	if _, err := c.NewRecoveryCodes(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCredentialsAreStored(t *testing.T) {
	for name, c := range map[string]*login.Credentials{"none": login.New(), "all": full(t)} {
		stored, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := login.Decode(stored)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b, err := again.Encode(); err != nil || !bytes.Equal(b, stored) {
			t.Errorf("%s: stored anew they differ", name)
		}
		if again.SecondFactor() != (name == "all") || again.HasPassword() != (name == "all") {
			t.Errorf("%s: second factor %v, password %v", name, again.SecondFactor(), again.HasPassword())
		}
		t.Logf("%s: %d octets", name, len(stored))
	}
}

func TestCredentialsNotRead(t *testing.T) {
	stored, err := full(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte{2}, stored[1:]...)
	for name, test := range map[string]struct {
		stored []byte
		want   commissioner.Code
	}{
		"empty":       {nil, login.CodeUnreadable},
		"version 0":   {append([]byte{0}, stored[1:]...), login.CodeUnreadable},
		"newer":       {newer, login.CodeNewer},
		"cut":         {stored[:len(stored)-1], login.CodeUnreadable},
		"longer":      {append(bytes.Clone(stored), 0), login.CodeUnreadable},
		"unknown key": {[]byte{1, 0xa1, 0x09, 0x00}, login.CodeUnreadable},
		"not minimal": {[]byte{1, 0xb8, 0x00}, login.CodeUnreadable},
		"no salt":     {[]byte{1, 0xa1, 0x04, 0xa1, 0x02, 0x81, 0x41, 0x00}, login.CodeUnreadable},
		"null":        {[]byte{1, 0xf6}, login.CodeUnreadable},
		// A password hash that asks for 4 TiB.
		"costly": {bytes.Replace(stored, []byte{0xa5, 0x01, 0x18, 0x40}, []byte{0xa5, 0x01, 0x1a, 0xff, 0xff, 0xff, 0xff}, 1), login.CodeUnreadable},
		"large":  {make([]byte, 1<<20), login.CodeUnreadable},
	} {
		if c, err := login.Decode(test.stored); code(err) != test.want || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	c := full(t)
	e, err := login.NewEnrolment(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		C *login.Credentials
		c login.Credentials
		e *login.Enrolment
	}
	h := holder{c, *c, e}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "c", c, "v", *c, "h", h, "e", e, "p", h.e)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "c", c, "v", *c, "h", h, "e", e)
	for _, v := range []any{c, *c, &h, h, e, *e, []any{c, *c}, []login.Credentials{h.c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(b)
	}
	stored := encoded(t, c)
	printed := log.String()
	for i := 0; i+8 <= len(stored); i++ {
		part := stored[i : i+8]
		if bytes.Equal(part, make([]byte, 8)) { // the passkey's model
			continue
		}
		for _, as := range []string{string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), strings.Trim(fmt.Sprint(part), "[]")} {
			if strings.Contains(printed, as) {
				t.Fatalf("octets %d of the stored credentials were printed as %q", i, as)
			}
		}
	}
	if typed := strings.Fields(e.Typed()); strings.Contains(printed, typed[0]+typed[1]) {
		t.Error("an authenticator's secret was printed")
	}
	if !strings.Contains(printed, "[credentials]") {
		t.Error("nothing was printed")
	}
}

func TestErased(t *testing.T) {
	c := full(t)
	c.Erase()
	if c.HasPassword() || c.SecondFactor() || c.RecoveryCodes() != 0 {
		t.Error("erased credentials prove something")
	}
	c.Erase()
	(*login.Credentials)(nil).Erase()
}

func FuzzDecode(f *testing.F) {
	all, err := full(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(all)
	f.Add([]byte{1, 0xa0})
	f.Add([]byte{1, 0xa1, 0x03, 0x9a, 0xff, 0xff, 0xff, 0xff})
	h := login.NewHasher(cheap, rand.Reader)
	f.Fuzz(func(t *testing.T, stored []byte) {
		var c *login.Credentials
		var err error
		if n := testing.AllocsPerRun(1, func() { c, err = login.Decode(stored) }); n > 5_000 {
			t.Errorf("%v allocations", n)
		}
		if err != nil {
			if got := code(err); got != login.CodeUnreadable && got != login.CodeNewer {
				t.Errorf("code %q", got)
			}
			return
		}
		if !bytes.Equal(encoded(t, c), stored) {
			t.Error("stored anew it differs")
		}
		c.CheckCode("123456", "a", new(login.MemorySteps), newClock().now())
		c.UseRecoveryCode("0000-0000-0000-0000")
		c.Passkeys()
		c.Authenticators()
		if !c.HasPassword() { // its cost may be all that Decode lets through
			h.Check(context.Background(), c, good)
		}
	})
}
