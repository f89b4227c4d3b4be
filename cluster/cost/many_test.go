package cost

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/powercut"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

var (
	binFlag     = flag.String("cost.bin", "", "the program gatehouse")
	secondsFlag = flag.Int("cost.seconds", 130, "how long the program runs; Go looks through the heap every 120")
)

const (
	atOnce     = 32
	readyLimit = time.Minute
	restTime   = 60 // seconds
)

// TestMany runs the program with many devices in the trust state, none of
// which is there: it looks for them again and again.
func TestMany(t *testing.T) {
	if !*costFlag || *binFlag == "" {
		t.Skip("this measures: make cost")
	}
	dir := t.TempDir() // on a disk
	state := filepath.Join(dir, "state")
	passphrase := filepath.Join(dir, "passphrase")
	must(t, os.WriteFile(passphrase, []byte("four words nobody would guess\n"), 0o600))
	setup := exec.Command(*binFlag, "setup", "--state", state, "--tpm", "none", "--kit", filepath.Join(dir, "kit"), "--passphrase-file", passphrase)
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, devices := range []int{0, *devicesFlag} {
		if devices > 0 {
			admitMany(t, state, devices)
		}
		fmt.Printf("%d devices: state.db %d octets, newest snapshot %d octets\n", devices, size(t, found.LogDir(state), "state.db"), size(t, found.LogDir(state), "snapshots/*"))
		serve(t, state, devices)
		rest(t, state, devices)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// size is that of the last file that matches.
func size(t *testing.T, dir, pattern string) int64 {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	if len(names) == 0 {
		return 0
	}
	info, err := os.Stat(names[len(names)-1])
	must(t, err)
	return info.Size()
}

// admitMany puts devices into the trust state.
func admitMany(t *testing.T, state string, devices int) {
	keys, err := keyfile.Load(state, keyfile.Options{TPM: keyfile.NoTPM})
	must(t, err)
	c, err := cluster.Open(cluster.Config{Dir: found.LogDir(state), Node: keys.Node, Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
	must(t, err)
	next := make(chan cert.NodeID)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for n := range next {
				hash, public := sha256.Sum256([]byte(fmt.Sprint(n))), make([]byte, len(cert.PublicKey{}))
				rand.Read(public)
				for _, cmd := range []fabric.Command{
					{Reserve: &fabric.Reserve{Node: n, Gateway: keys.Node, FailSafe: 60_000, Name: fmt.Sprint("lamp number ", n), Facts: facts, Attested: attested}},
					{Issue: &fabric.Issue{Node: n, NOCHash: hash[:], PublicKey: public, Gateway: keys.Node}},
					{Admit: &fabric.Admit{Node: n, Gateway: keys.Node, Access: 1}},
				} {
					if _, err := c.Propose(t.Context(), cmd); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for n := range devices {
		next <- cert.NodeID(10_000 + n)
	}
	close(next)
	wg.Wait()
	began := time.Now()
	must(t, c.Snapshot())
	fmt.Printf("%d devices: a snapshot takes %v\n", devices, time.Since(began).Round(time.Millisecond))
	must(t, c.Close())
	began = time.Now()
	c, err = cluster.Open(cluster.Config{Dir: found.LogDir(state), Node: keys.Node, Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
	must(t, err)
	fmt.Printf("%d devices: the trust state alone opens in %v\n", devices, time.Since(began).Round(time.Millisecond))
	must(t, c.Close())
}

// serve starts the program, and tells how long that takes and its memory.
func serve(t *testing.T, state string, devices int) {
	var log bytes.Buffer
	cmd := exec.Command(*binFlag, "serve", "--state", state, "--bluetooth", "none", "--tpm", "none")
	cmd.Env, cmd.Stderr = append(os.Environ(), "GODEBUG=gctrace=1"), &log
	began := time.Now()
	must(t, cmd.Start())
	for {
		c, err := net.Dial("unix", filepath.Join(state, "gatehouse.sock"))
		if err == nil {
			c.Close()
			break
		}
		if time.Since(began) > readyLimit {
			t.Fatalf("not ready: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Printf("%d devices: ready after %v\n", devices, time.Since(began).Round(time.Millisecond))
	time.Sleep(time.Duration(*secondsFlag) * time.Second)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	must(t, err)
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	must(t, cmd.Wait())
	heap := regexp.MustCompile(`->(\d+) MB`).FindAllSubmatch(log.Bytes(), -1)
	var live int
	if len(heap) > 0 {
		live, _ = strconv.Atoi(string(heap[len(heap)-1][1]))
	}
	lines := bytes.Count(log.Bytes(), []byte("\n")) - len(regexp.MustCompile(`(?m)^gc \d+ @`).FindAllIndex(log.Bytes(), -1))
	fmt.Printf("%d devices: after %d s %s, %s at most; live heap %d MiB; CPU %v; %d lines of log\n", devices, *secondsFlag,
		regexp.MustCompile(`VmRSS:\s*(.*)`).FindSubmatch(status)[1], regexp.MustCompile(`VmHWM:\s*(.*)`).FindSubmatch(status)[1], live,
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond), lines)
}

// rest counts what the program writes meanwhile.
func rest(t *testing.T, state string, devices int) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	// The shell becomes the program, which is ended from beside it.
	script := fmt.Sprintf(`(sleep %d; kill -TERM $$) & exec "$0" serve --state "$1" --bluetooth none --tpm none`, restTime)
	ops, err := powercut.Record(state, null, "/bin/sh", "-c", script, *binFlag, state)
	if errors.Is(err, powercut.ErrNotPermitted) {
		t.Skip(err)
	}
	must(t, err)
	ops = slices.DeleteFunc(ops, func(o powercut.Op) bool { return o.There })
	var all Written
	for _, o := range ops {
		all.Add(o)
	}
	fmt.Printf("%d devices: %d s of it, its start and end included, write %v\n", devices, restTime, all)
}
