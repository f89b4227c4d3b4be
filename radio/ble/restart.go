package ble

import "fmt"

// Restart ends the radio process, so that the adapter is begun anew with: what
// is under way fails with ErrRestarted. It does not wait for the next process.
func (r *Radio) Restart(why string) {
	r.mu.Lock()
	l := r.life
	r.mu.Unlock()
	if l != nil {
		l.end(fmt.Errorf("it was to be begun anew: %s", why))
	}
}
