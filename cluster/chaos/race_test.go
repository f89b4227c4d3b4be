//go:build race

package chaos

// Go 1.26's race detector crashes in a bubble when a timer is due at once
// (runtime.(*timer).maybeRunChan).
func init() { raced = true }
