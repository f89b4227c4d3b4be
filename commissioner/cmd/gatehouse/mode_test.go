package main

import (
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/radio/button"
	"gatehouse/radio/button/buttontest"
)

// TestFront presses the gateway's button: a press opens the pairing mode for a
// while, a long one cancels it, and the light tells.
func TestFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := new(buttontest.Chip)
		key, lamp := button.Line{Chip: "gpiochip0", Offset: 17, ActiveLow: true}, button.Line{Chip: "gpiochip0", Offset: 27}
		f := front{Button: "gpiochip0:17:low", Light: "gpiochip0:27", MustPress: true}
		mode, release, err := f.open(chip)
		if err != nil {
			t.Fatal(err)
		}
		press := func(long time.Duration) {
			chip.Press(key, true)
			time.Sleep(long)
			chip.Press(key, false)
			time.Sleep(time.Second)
		}
		isOpen := func() bool { until, _ := mode.State(); return !until.IsZero() }
		blinks := func() (lit bool) {
			for range 40 {
				time.Sleep(100 * time.Millisecond)
				lit = lit || chip.Lit(lamp)
			}
			return lit
		}
		if isOpen() || blinks() {
			t.Error("open before anybody pressed")
		}
		press(200 * time.Millisecond)
		if !isOpen() || !blinks() {
			t.Error("a press did not open it")
		}
		press(button.LongPress + time.Second)
		if isOpen() || blinks() {
			t.Error("a long press did not cancel it")
		}
		press(200 * time.Millisecond)
		time.Sleep(commissioner.DefaultMode)
		if isOpen() || blinks() {
			t.Error("it did not end by itself")
		}
		release()
		if chip.Taken(key) || chip.Taken(lamp) {
			t.Error("the lines were not given back")
		}
		for _, f := range []front{{Button: "17"}, {Light: "gpiochip0"}, {MustPress: true}} {
			if _, _, err := f.open(chip); err == nil {
				t.Errorf("%+v was accepted", f)
			}
		}
	})
}
