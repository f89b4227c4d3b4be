package login_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
)

func TestAcceptable(t *testing.T) {
	names := []string{"Anna-Lena Brückner", "Haus am Lindenhof"}
	for password, want := range map[string]commissioner.Code{
		"":                                login.CodePasswordShort,
		"kX9!vqZ2p":                       login.CodePasswordShort,
		"kX9!vqZ2p#":                      "",
		good:                              "",
		"correct-horse-battery-staple":    login.CodePasswordCommon,
		"dünner igel unterm klavier":      "",
		"十二把鑰匙放在門口石頭下":                    "",
		"aaaaaaaaaaaaaaaa":                login.CodePasswordCommon,
		"abcabcabcabcabc":                 login.CodePasswordCommon,
		"xk4pxk4pxk4p":                    "", // four surprises, and again
		"abcdefghijkl":                    login.CodePasswordCommon,
		"zyxwvutsrqponm":                  login.CodePasswordCommon,
		"1234567890":                      login.CodePasswordCommon,
		"0987654321":                      login.CodePasswordCommon,
		"qwertyuiop":                      login.CodePasswordCommon,
		"poiuytrewq":                      login.CodePasswordCommon,
		"qwertzuiopü":                     login.CodePasswordCommon,
		"asdfghjkl123":                    login.CodePasswordCommon,
		"1qaz2wsx3edc":                    login.CodePasswordCommon,
		"password123":                     login.CodePasswordCommon,
		"P@ssw0rd2024":                    login.CodePasswordCommon,
		"Pa$$word2024!!":                  login.CodePasswordCommon,
		"ＰａｓｓＷｏｒｄ２０２４":                    login.CodePasswordCommon,
		"iloveyou1234":                    login.CodePasswordCommon,
		"Sunshine-1999":                   login.CodePasswordCommon,
		"gatehouse2026":                   login.CodePasswordCommon,
		"Gatehouse.local1":                "", // "local" is not in the list
		"annalenabrückner":                login.CodePasswordCommon,
		"Anna-Lena1988":                   login.CodePasswordCommon,
		"lindenhof2024":                   login.CodePasswordCommon,
		"L1ndenhof2024":                   login.CodePasswordCommon,
		"lindenbaum2024":                  "",
		"Brückner Lindenhof":              login.CodePasswordCommon,
		"tab\tin the middle of it":        login.CodePasswordText,
		"zero\x00in the middle":           login.CodePasswordText,
		"\xff\xfe is no text at all":      login.CodePasswordText,
		strings.Repeat("ab1 cd2 ", 33):    login.CodePasswordLong,
		strings.Repeat("\ufdfa", 20):      login.CodePasswordLong, // eighteen letters each, normalised
		strings.Repeat("a", 1<<20):        login.CodePasswordLong,
		strings.Repeat("e\u0301x9k ", 51): "", // 256 runes and no more, normalised
	} {
		if got := code(login.Acceptable(password, names...)); got != want {
			t.Errorf("%.40q: %q, want %q", password, got, want)
		}
	}
}

func TestPasswords(t *testing.T) {
	ctx, h, c := context.Background(), login.NewHasher(cheap, rand.Reader), login.New()
	if _, err := h.Check(ctx, c, good); code(err) != login.CodeWrong {
		t.Errorf("without a password: %v", err)
	}
	if err := h.Set(ctx, c, "password123"); code(err) != login.CodePasswordCommon || c.HasPassword() {
		t.Errorf("an easy one: %v", err)
	}
	if err := h.Set(ctx, c, "wet herons of Anna", "anna", "wet herons of"); code(err) != login.CodePasswordCommon {
		t.Errorf("one of names: %v", err)
	}
	const composed, parted, wide = "Grünes Öl im Café №1", "Gru\u0308nes O\u0308l im Cafe\u0301 №1", "Grünes Öl im Café Ｎo１"
	if err := h.Set(ctx, c, composed); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]commissioner.Code{
		composed: "", parted: "", wide: "",
		strings.ToLower(composed): login.CodeWrong, composed + " ": login.CodeWrong, composed[:len(composed)-1]: login.CodeWrong,
		"": login.CodeWrong, "short": login.CodeWrong, "\xff": login.CodeWrong, strings.Repeat("a", 1<<20): login.CodeWrong,
	} {
		if stale, err := h.Check(ctx, c, typed); code(err) != want || stale {
			t.Errorf("%.30q: %v, stale %v", typed, err, stale)
		}
		if _, err := h.Check(ctx, nil, typed); code(err) != login.CodeWrong {
			t.Errorf("%.30q of nobody: %v", typed, err)
		}
	}
	again := login.New()
	if err := h.Set(ctx, again, composed); err != nil || string(encoded(t, c)) == string(encoded(t, again)) {
		t.Errorf("the same password twice is stored alike (%v)", err)
	}
	costlier := login.NewHasher(login.Cost{Memory: 128, Passes: 2, Lanes: 1}, rand.Reader)
	if stale, err := costlier.Check(ctx, c, composed); err != nil || !stale {
		t.Errorf("at yesterday's cost: stale %v, %v", stale, err)
	}
	if stale, err := costlier.Check(ctx, c, good); code(err) != login.CodeWrong || stale {
		t.Errorf("a wrong one at yesterday's cost: stale %v, %v", stale, err)
	}
}

// Three hundred at once, again and again, at the cost that gateways take.
func TestFloodTakesLittleMemory(t *testing.T) {
	ctx, h := context.Background(), login.NewHasher(login.StandardCost, rand.Reader)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most, busy := uint64(0), 0
	for range 2 {
		answers := make(chan error)
		for range 300 {
			go func() {
				_, err := h.Check(ctx, nil, "wrong "+good)
				answers <- err
			}()
		}
		for range 300 {
			switch err := <-answers; code(err) {
			case login.CodeWrong:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse)
			case login.CodeBusy:
				busy++
			default:
				t.Error(err)
			}
		}
	}
	if grown := int64(most) - int64(before.HeapInuse); grown > 28<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	} else {
		t.Logf("the heap grew by %d MiB", grown>>20)
	}
	if busy < 2*(300-2*18) {
		t.Errorf("only %d of 600 were refused", busy)
	}
}

// OWASP's settings of Argon2id that are equally strong, with what this machine
// takes for each.
func BenchmarkPassword(b *testing.B) {
	for _, cost := range []login.Cost{{7 << 10, 5, 1}, {9 << 10, 4, 1}, login.StandardCost, {19 << 10, 2, 1}} {
		b.Run(fmt.Sprintf("%dMiB", cost.Memory>>10), func(b *testing.B) {
			ctx, h, c := context.Background(), login.NewHasher(cost, rand.Reader), login.New()
			if err := h.Set(ctx, c, good); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Check(ctx, c, good); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAcceptable(b *testing.B) {
	long := strings.Repeat("7kq ", 64)
	for b.Loop() {
		login.Acceptable(long, "Anna-Lena Brückner", "Haus am Lindenhof")
	}
}
