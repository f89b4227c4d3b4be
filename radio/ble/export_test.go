package ble

import "time"

// Start is New with times that suit a test.
func Start(cfg Config) (*Radio, error) {
	t := production
	t.heartbeat, t.patience = 200*time.Millisecond, 3*time.Second
	t.absent = 300 * time.Millisecond
	return start(cfg, t)
}
