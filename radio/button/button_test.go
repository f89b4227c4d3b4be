package button_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/radio/button"
	"gatehouse/radio/button/buttontest"
)

var (
	line  = button.Line{Chip: "gpiochip0", Offset: 17, ActiveLow: true}
	light = button.Line{Chip: "gpiochip0", Offset: 27}
)

func TestParseLine(t *testing.T) {
	for s, want := range map[string]button.Line{
		"gpiochip0:17:low": line,
		"gpiochip0:27":     light,
		"pinctrl-rp1:0":    {Chip: "pinctrl-rp1"},
		"x:1023":           {Chip: "x", Offset: 1023},
	} {
		if l, err := button.ParseLine(s); l != want || err != nil || l.String() != s {
			t.Errorf("%s: %v, %v", s, l, err)
		}
	}
	for s, says := range map[string]string{
		"":                  "no offset",
		"gpiochip0":         "no offset",
		":17":               "no chip",
		"gpiochip0:":        `"" is no offset`,
		"gpiochip0:GPIO17":  `"GPIO17" is no offset`,
		"gpiochip0:-1":      "is no offset",
		"gpiochip0:+1":      "is no offset",
		"gpiochip0:1024":    "from 0 to 1023",
		"gpiochip0:99999":   "is no offset",
		"/dev/gpiochip0:17": "is no chip's name",
		"gpio chip:17":      "is no chip's name",
		"gpiochip0:17:high": `"high" is not "low"`,
		"gpiochip0:17:":     `"" is not "low"`,
		"a:1:low:low":       "too much",
	} {
		if _, err := button.ParseLine(s); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "gpiochip0:17:low") {
			t.Errorf("%s: %v, want it to say %q", s, err, says)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("gpiochip0:17:low")
	f.Add("a:007")
	f.Add("::")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := button.ParseLine(s)
		if err != nil {
			return
		}
		if again, err := button.ParseLine(l.String()); again != l || err != nil {
			t.Errorf("%q became %v, then %v (%v)", s, l, again, err)
		}
	})
}

// events collects what a button handles, with the time since the start.
type events struct {
	mu    sync.Mutex
	start time.Time
	list  []string
}

func (e *events) handle(ev button.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := map[button.Event]string{button.Pressed: "pressed", button.LongPressed: "long"}[ev]
	e.list = append(e.list, name+" "+time.Since(e.start).String())
}

func (e *events) check(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.list, want) {
		t.Errorf("handled %q, want %q", e.list, want)
	}
}

func TestButton(t *testing.T) {
	const ms = time.Millisecond
	// press and release alternate, each that long after the one before.
	tests := []struct {
		name  string
		held  bool // from the beginning
		edges []time.Duration
		want  []string
	}{
		{"nobody", false, nil, nil},
		{"a press", false, []time.Duration{time.Second, 200 * ms}, []string{"pressed 1.23s"}},
		{"two presses", false, []time.Duration{time.Second, 200 * ms, 200 * ms, 100 * ms}, []string{"pressed 1.23s", "pressed 1.53s"}},
		{"a bouncing press", false, []time.Duration{time.Second, 3 * ms, ms, 5 * ms, 2 * ms, 300 * ms, 4 * ms, 4 * ms, 4 * ms, 2 * ms}, []string{"pressed 1.355s"}},
		{"a spark", false, []time.Duration{time.Second, 2 * ms}, nil},
		{"a contact that never rests", false, slices.Repeat([]time.Duration{20 * ms}, 1000), nil},
		{"a short gap in a press", false, []time.Duration{time.Second, 200 * ms, 5 * ms, 200 * ms}, []string{"pressed 1.435s"}},
		{"a long press", false, []time.Duration{time.Second, 8 * time.Second}, []string{"long 6s"}},
		{"never let go of", false, []time.Duration{time.Second}, []string{"long 6s"}},
		{"a long press, then a short one", false, []time.Duration{time.Second, 6 * time.Second, time.Second, 100 * ms}, []string{"long 6s", "pressed 8.13s"}},
		{"nearly a long press", false, []time.Duration{time.Second, 4900 * ms}, []string{"pressed 5.93s"}},
		{"two that would be long together", false, []time.Duration{time.Second, 3 * time.Second, time.Second, 3 * time.Second}, []string{"pressed 4.03s", "pressed 8.03s"}},

		{"stuck", true, nil, nil},
		{"stuck, then let go of", true, []time.Duration{time.Minute}, nil},
		{"stuck, then pressed", true, []time.Duration{time.Minute, time.Second, 100 * ms}, []string{"pressed 1m1.13s"}},
		{"stuck, with a gap too short", true, []time.Duration{time.Second, 10 * ms, 10 * time.Second}, nil},
		{"stuck, then held long", true, []time.Duration{time.Second, time.Second}, []string{"long 7s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip, got := new(buttontest.Chip), &events{start: time.Now()}
				down := tt.held
				chip.Press(line, down)
				b, err := button.Open(chip, button.Config{Line: line, Handle: got.handle})
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range tt.edges {
					time.Sleep(d)
					down = !down
					chip.Press(line, down)
				}
				time.Sleep(time.Hour)
				got.check(t, tt.want...)
				if err := b.Close(); err != nil || chip.Taken(line) {
					t.Errorf("close: %v, taken: %v", err, chip.Taken(line))
				}
			})
		})
	}
}

func TestButtonConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip, got := new(buttontest.Chip), &events{start: time.Now()}
		b, err := button.Open(chip, button.Config{Line: line, Long: time.Second, Handle: got.handle})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := button.Open(chip, button.Config{Line: line, Handle: got.handle}); err == nil || !strings.Contains(err.Error(), line.String()) {
			t.Errorf("a second one on the line: %v", err)
		}
		time.Sleep(time.Second)
		chip.Press(line, true)
		time.Sleep(2 * time.Second)
		got.check(t, "long 2s")

		// Nothing comes after Close, of a press before it.
		chip.Press(line, false)
		time.Sleep(time.Second)
		chip.Press(line, true)
		time.Sleep(500 * time.Millisecond)
		b.Close()
		time.Sleep(time.Hour)
		got.check(t, "long 2s")
	})
}

func TestBrokenButton(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip, got := new(buttontest.Chip), &events{start: time.Now()}
		chip.Break(line, true)
		if _, err := button.Open(chip, button.Config{Line: line, Handle: got.handle}); !errors.Is(err, buttontest.ErrBroken) {
			t.Errorf("open: %v", err)
		}
		chip.Break(line, false)
		b, err := button.Open(chip, button.Config{Line: line, Handle: got.handle})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		time.Sleep(time.Second)
		chip.Press(line, true)
		time.Sleep(time.Second)
		chip.Break(line, true) // in the middle of a press: what comes is no event
		chip.Press(line, false)
		time.Sleep(10 * time.Second)
		chip.Break(line, false)
		chip.Press(line, true)
		time.Sleep(10 * time.Second)
		got.check(t)
		chip.Press(line, false)
		time.Sleep(time.Second)
		chip.Press(line, true)
		time.Sleep(time.Second)
		chip.Press(line, false)
		time.Sleep(time.Second)
		got.check(t, "pressed 24.03s")
	})
}

// watch lists when a light changes, within a time from now.
func watch(chip *buttontest.Chip, d time.Duration) (changes string) {
	const tick = 50 * time.Millisecond
	lit := false
	for at := time.Duration(0); at < d; at += tick {
		synctest.Wait()
		if now := chip.Lit(light); now != lit {
			lit = now
			changes += map[bool]string{true: "+", false: "-"}[lit] + at.String() + " "
		}
		time.Sleep(tick)
	}
	return strings.TrimSpace(changes)
}

func TestLight(t *testing.T) {
	const blinks = "+0s -200ms +400ms -600ms +800ms -1s"
	tests := []struct {
		name  string
		shown []button.Pattern // one after another, 300 ms apart
		want  string           // after the last, for 4 s
	}{
		{"idle", []button.Pattern{button.Idle}, ""},
		{"pairing", []button.Pattern{button.Pairing}, "+0s -500ms +1s -1.5s +2s -2.5s +3s -3.5s"},
		{"busy", []button.Pattern{button.Busy}, "+0s -100ms +200ms"},
		{"success", []button.Pattern{button.Success}, "+0s -3s"},
		{"failure", []button.Pattern{button.Failure}, blinks},
		{"success, then what it was", []button.Pattern{button.Pairing, button.Success}, "+0s -3.5s"},
		{"failure, then what it was", []button.Pattern{button.Pairing, button.Failure}, blinks + " +1.6s -2.1s +2.6s -3.1s +3.6s"},
		{"off again", []button.Pattern{button.Busy, button.Idle}, ""},
		{"off after success", []button.Pattern{button.Busy, button.Success, button.Idle}, "+0s -2.7s"},
		{"pairing after success", []button.Pattern{button.Success, button.Pairing}, "+0s -3.2s +3.7s"},
		{"failure in the middle of success", []button.Pattern{button.Success, button.Failure}, blinks},
		{"success twice", []button.Pattern{button.Success, button.Success}, "+0s -3s"},
		{"the same again", []button.Pattern{button.Pairing, button.Pairing}, "+0s -200ms +700ms -1.2s +1.7s -2.2s +2.7s -3.2s +3.7s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := new(buttontest.Chip)
				chip.Press(light, true) // whatever was before
				l, err := button.OpenLight(chip, light)
				if err != nil || chip.Lit(light) {
					t.Fatalf("open: %v, lit: %v", err, chip.Lit(light))
				}
				for i, p := range tt.shown {
					if i > 0 {
						time.Sleep(300 * time.Millisecond)
						synctest.Wait()
					}
					if err := l.Show(p); err != nil {
						t.Fatal(err)
					}
				}
				if got := watch(chip, 4*time.Second); got != tt.want && !(tt.name == "busy" && strings.HasPrefix(got, tt.want) && strings.Count(got, " ") == 39) {
					t.Errorf("it does %q, want %q", got, tt.want)
				}
				l.Show(button.Success)
				if err := l.Close(); err != nil || chip.Lit(light) || chip.Taken(light) {
					t.Errorf("close: %v, lit: %v, taken: %v", err, chip.Lit(light), chip.Taken(light))
				}
				l.Show(button.Success)
				if chip.Lit(light) || l.Close() != nil {
					t.Error("it lives on after Close")
				}
			})
		})
	}
}

func TestBrokenLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := new(buttontest.Chip)
		chip.Break(light, true)
		if _, err := button.OpenLight(chip, light); !errors.Is(err, buttontest.ErrBroken) {
			t.Errorf("open: %v", err)
		}
		chip.Break(light, false)
		l, err := button.OpenLight(chip, light)
		if err != nil {
			t.Fatal(err)
		}
		chip.Break(light, true)
		if err := l.Show(button.Pairing); !errors.Is(err, buttontest.ErrBroken) {
			t.Errorf("show: %v", err)
		}
		l.Close()
	})
}

// TestNoSuchChip asks the real thing for a chip that no machine has.
func TestNoSuchChip(t *testing.T) {
	l := button.Line{Chip: "gpiochip-of-no-machine"}
	if _, err := button.Open(button.GPIO{}, button.Config{Line: l}); err == nil || !strings.Contains(err.Error(), "gpiochip-of-no-machine:0") {
		t.Errorf("button: %v", err)
	}
	if _, err := button.OpenLight(button.GPIO{}, l); err == nil || !strings.Contains(err.Error(), "gpiochip-of-no-machine:0") {
		t.Errorf("light: %v", err)
	}
}
