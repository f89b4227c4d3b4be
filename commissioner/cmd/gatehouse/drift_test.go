package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// driftEnv names a file of 8 octets: by how many seconds the clock of
// gatehouse-adrift is off, in the machine's byte order. Who writes into it sets
// the clock.
const driftEnv = "GATEHOUSE_DRIFT"

// adrift is gatehouse with a clock that somebody else sets. commissioner/interop/chaos
// runs it.
func adrift() {
	off, err := drift(os.Getenv(driftEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	clock = func() time.Time { return shifted(time.Now(), off.Load()) }
	main()
}

func drift(name string) (*atomic.Int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	return (*atomic.Int64)(unsafe.Pointer(&page[0])), nil
}

// shifted is a reading of the clock as it were if the clock had been set, by
// seconds, which leaves lengths of time as they are: time.Time.Add would shift
// its monotonic reading too, and no kernel does that.
func shifted(t time.Time, by int64) time.Time {
	const nanoseconds = 30 // bits of a wall time below its seconds since 1885
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall += uint64(by) << nanoseconds
	return t
}

// TestShifted holds that the layout of time.Time is what shifted takes it for.
func TestShifted(t *testing.T) {
	const year = 365 * 24 * 3600
	for _, by := range []int64{0, 1, -1, 10 * year, -10 * year} {
		now := time.Now()
		then := shifted(now, by)
		if then.Unix()-now.Unix() != by || then.Nanosecond() != now.Nanosecond() || then.Sub(now) != 0 {
			t.Errorf("%v, shifted by %d s, is %v, and %v later", now, by, then, then.Sub(now))
		}
	}
}

// TestDrift holds that a clock can be set while it runs.
func TestDrift(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		err = f.Truncate(8)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	off, err := drift(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []int64{0, 42, -42} {
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by)), 0); err != nil {
			t.Fatal(err)
		}
		if got := off.Load(); got != by {
			t.Errorf("the clock is off by %d s, not by %d", got, by)
		}
	}
}
