package commissioner_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/virtual"
	"gatehouse/radio/button"
)

// lamp remembers what it was told to show.
type lamp struct{ shown []button.Pattern }

func (l *lamp) Show(p button.Pattern) error { l.shown = append(l.shown, p); return nil }

// TestMode admits devices for a while after a press, and no longer.
func TestMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		light := new(lamp)
		h.c.Mode = &commissioner.Mode{Required: true, Light: light, Now: time.Now}
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeModeClosed {
			t.Errorf("unpressed: %v", err)
		}
		h.c.Mode.Press(button.Pressed)
		time.Sleep(commissioner.DefaultMode - time.Second)
		h.c.Mode.Press(button.Pressed) // from now on
		time.Sleep(commissioner.DefaultMode - time.Second)
		if _, err := h.pair(t.Context()); err != nil {
			t.Errorf("pressed: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeModeClosed {
			t.Errorf("too late: %v", err)
		}
		h.c.Mode.Press(button.Pressed)
		h.c.Mode.Press(button.LongPressed)
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeModeClosed {
			t.Errorf("cancelled: %v", err)
		}
		want := []button.Pattern{button.Pairing, button.Pairing, button.Busy, button.Success, button.Pairing, button.Idle, button.Pairing, button.Idle}
		if !slices.Equal(light.shown, want) {
			t.Errorf("shown %v, want %v", light.shown, want)
		}
	})
}

// TestLongPress cancels a pairing that is going on.
func TestLongPress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, virtual.Stall)
		light := new(lamp)
		h.c.Mode = &commissioner.Mode{Light: light, Now: time.Now}
		time.AfterFunc(time.Second, func() { h.c.Mode.Press(button.LongPressed) })
		began := time.Now()
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeCancelled {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(began); waited > time.Minute {
			t.Errorf("cancelled after %v", waited)
		}
		if got := fmt.Sprint(light.shown[0], light.shown[len(light.shown)-1]); got != fmt.Sprint(button.Busy, button.Idle) || slices.Contains(light.shown, button.Failure) {
			t.Errorf("shown %v", light.shown)
		}
		if _, pairings := h.c.Mode.State(); pairings != 0 {
			t.Errorf("%d pairings are going on", pairings)
		}
	})
}
