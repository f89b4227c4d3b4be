package ether

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is for the hosts to find each other.
const patience = 10 * time.Second

// TestHosts has two hosts talk over a switch, loses what they say, and ends
// one with its processes.
func TestHosts(t *testing.T) {
	if err := Check(); err != nil {
		t.Skip("there can be no hosts here: ", err)
	}
	s := New(1)
	t.Cleanup(s.Close)
	var hosts []*Host
	for i, name := range []string{"a", "b"} {
		h, err := NewHost()
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			t.Cleanup(h.Close)
		}
		cable, err := h.Cable(net.HardwareAddr{2, 0, 0, 0, 0, byte(i + 1)}, fmt.Sprintf("fd00::%d/64", i+1))
		if err != nil {
			t.Fatal(err)
		}
		s.Plug(name, cable)
		hosts = append(hosts, h)
	}
	var listener net.Listener
	var err error
	hosts[0].Do(func() { listener, err = net.Listen("tcp", "[fd00::1]:7") })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func(limit time.Duration) (conn net.Conn, err error) {
		hosts[1].Do(func() { conn, err = net.DialTimeout("tcp", "[fd00::1]:7", limit) })
		return conn, err
	}
	conn, err := dial(patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	s.Set("a", "b", Rule{Cut: true})
	if conn, err := dial(300 * time.Millisecond); err == nil {
		conn.Close()
		t.Error("what is cut connects")
	}
	s.Set("a", "b", Rule{Delay: 100 * time.Millisecond})
	began := time.Now()
	if conn, err = dial(patience); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("a delayed way took %v", took)
	}
	ends(t, hosts[0])
}

// ends holds that a host takes its disk and its processes with it.
func ends(t *testing.T, h *Host) {
	dir := t.TempDir()
	if err := h.Disk(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	var err error
	h.Do(func() { err = os.WriteFile(filepath.Join(dir, "file"), make([]byte, 2<<20), 0o600) })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk takes more: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("the host's disk is seen from outside: %v, %v", names, err)
	}
	cmd := exec.Command("sh", "-c", "echo; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = h.Start(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	bufio.NewReader(out).ReadString('\n')
	h.Close()
	var killed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &killed) || killed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the host's process ended with %v", err)
	}
}
