package ble_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/ble/wire"
)

var nobody = radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:09"}

// scripted is a Radio whose process is f, once for each start.
func scripted(t *testing.T, f func(start int, w *wire.Conn)) *ble.Radio {
	t.Helper()
	dir, err := os.MkdirTemp("", "ble") // a unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for start := 1; ; start++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(start, wire.NewConn(conn))
			}()
		}
	}()
	r, err := ble.Start(ble.Config{Socket: path, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

var hello = wire.Message{Kind: wire.Hello, Version: wire.Version, Peer: wire.Address{Bytes: [6]byte{2, 0xca, 0xfe, 0, 0, 1}}}

// obey says hello, answers pings and scans, and leaves the rest to f.
func obey(w *wire.Conn, f func(wire.Message)) {
	w.Read()
	w.Send(hello)
	for {
		m, err := w.Read()
		if err != nil {
			return
		}
		switch m.Kind {
		case wire.Ping:
			w.Send(wire.Message{Kind: wire.Pong, ID: m.ID})
		case wire.Scan:
			w.Send(wire.Message{Kind: wire.Done, ID: m.ID})
		default:
			f(m)
		}
	}
}

// Whatever the process does wrong, the Radio starts another and says why.
func TestBadProcess(t *testing.T) {
	tests := []struct {
		name   string
		first  func(*wire.Conn)
		reason string
	}{
		{"says nothing and ends", func(w *wire.Conn) {}, "ended"},
		{"another version", func(w *wire.Conn) { w.Send(wire.Message{Kind: wire.Hello, Version: 99}); w.Read(); w.Read() }, "version 99"},
		{"no hello", func(w *wire.Conn) { w.Send(wire.Message{Kind: wire.Pong}); w.Read(); w.Read() }, "malformed"},
		{"a message that is not its to send", func(w *wire.Conn) {
			w.Send(hello)
			w.Send(wire.Message{Kind: wire.Ping})
			io.Copy(io.Discard, reader{w})
		}, "malformed"},
		{"no pong", func(w *wire.Conn) { w.Send(hello); io.Copy(io.Discard, reader{w}) }, "hangs"},
		{"a fault", func(w *wire.Conn) { w.Send(wire.Message{Kind: wire.Fault, Code: wire.Failed, Text: "on fire"}) }, "on fire"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := scripted(t, func(start int, w *wire.Conn) {
				if start == 1 {
					tt.first(w)
				} else {
					obey(w, func(m wire.Message) { w.Send(wire.Message{Kind: wire.Connected, Conn: m.Conn, MTU: 100}) })
				}
			})
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c, err := r.Connect(ctx, nobody)
			if errors.Is(err, ble.ErrRestarted) { // it went down under way; the next attempt works
				c, err = r.Connect(ctx, nobody)
			}
			if err != nil || c.MTU() != 100 {
				t.Fatal(err)
			}
			if s := r.Stats(); s.Restarts != 1 || !strings.Contains(s.Reason, tt.reason) || !s.Up {
				t.Errorf("stats %+v, want one restart for %q", s, tt.reason)
			}
		})
	}
}

// reader reads messages as if they were bytes.
type reader struct{ w *wire.Conn }

func (r reader) Read(b []byte) (int, error) {
	_, err := r.w.Read()
	return 0, err
}

func TestFaults(t *testing.T) {
	for code, want := range map[wire.Code]error{wire.NoAdapter: ble.ErrNoAdapter, wire.NotPermitted: ble.ErrNotPermitted, wire.Busy: ble.ErrBusy} {
		t.Run(want.Error(), func(t *testing.T) {
			t.Parallel()
			r := scripted(t, func(start int, w *wire.Conn) {
				if start == 1 {
					w.Send(wire.Message{Kind: wire.Fault, Code: code})
				} else {
					obey(w, func(wire.Message) {})
				}
			})
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := r.Connect(ctx, nobody); !errors.Is(err, want) {
				t.Errorf("Connect: %v, want %v", err, want)
			}
			if err := r.Scan(ctx, func(radio.Advertisement) {}); !errors.Is(err, want) {
				t.Errorf("Scan: %v, want %v", err, want)
			}
			// It goes on trying.
			for !r.Stats().Up && ctx.Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
			if s := r.Stats(); !s.Up || s.Restarts != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// What is under way when the process ends fails; a scan goes on.
func TestProcessEndsUnderWay(t *testing.T) {
	t.Parallel()
	report := wire.Message{Kind: wire.Report, Peer: wire.Address{Bytes: [6]byte{9}}, Data: ble.Advertising(lamp)}
	r := scripted(t, func(start int, w *wire.Conn) {
		w.Send(hello)
		for {
			m, err := w.Read()
			if err != nil {
				return
			}
			switch m.Kind {
			case wire.Ping:
				w.Send(wire.Message{Kind: wire.Pong, ID: m.ID})
			case wire.Scan:
				w.Send(wire.Message{Kind: wire.Done, ID: m.ID})
				report.RSSI = int8(start)
				w.Send(report)
			case wire.Connect:
				if start == 1 {
					return
				}
				w.Send(wire.Message{Kind: wire.Connected, Conn: m.Conn, MTU: 23})
			case wire.Write:
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	heard := make(chan int8, 16)
	go r.Scan(ctx, func(ad radio.Advertisement) { heard <- ad.RSSI })
	if first := <-heard; first != 1 {
		t.Fatalf("heard %d", first)
	}
	if _, err := r.Connect(ctx, nobody); !errors.Is(err, ble.ErrRestarted) {
		t.Errorf("Connect: %v", err)
	}
	if second := <-heard; second != 2 {
		t.Fatalf("heard %d", second)
	}
	c, err := r.Connect(ctx, nobody)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write([]byte("x")); !errors.Is(err, ble.ErrRestarted) {
		t.Errorf("Write: %v", err)
	}
	if _, err := c.Read(); !errors.Is(err, ble.ErrRestarted) {
		t.Errorf("Read: %v", err)
	}
	if third := <-heard; third != 3 {
		t.Fatalf("heard %d", third)
	}
	r.Close()
	if _, err := r.Connect(ctx, nobody); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Connect after Close: %v", err)
	}
}

// A device that floods is left; the others are not.
func TestIndicationsAreBounded(t *testing.T) {
	t.Parallel()
	left := make(chan uint32, 1)
	r := scripted(t, func(_ int, w *wire.Conn) {
		obey(w, func(m wire.Message) {
			switch m.Kind {
			case wire.Connect:
				w.Send(wire.Message{Kind: wire.Connected, Conn: m.Conn, MTU: 23})
				for range 600 {
					w.Send(wire.Message{Kind: wire.Indication, Conn: m.Conn, Data: []byte{1}})
				}
			case wire.Close:
				left <- m.Conn
			}
		})
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.Connect(ctx, nobody)
	if err != nil {
		t.Fatal(err)
	}
	<-left
	n := 0
	for err == nil {
		_, err = c.Read()
		n++
	}
	if n != 513 || !strings.Contains(err.Error(), "512") {
		t.Errorf("after %d: %v", n, err)
	}
}

// A process that does not end by itself is killed, by its id, and a Radio
// leaves none behind.
func TestProcesses(t *testing.T) {
	tests := []struct {
		name   string
		end    func(*ble.Radio, *os.Process)
		reason string
	}{
		{"killed", func(_ *ble.Radio, p *os.Process) { p.Kill() }, "killed"},
		{"stopped", func(_ *ble.Radio, p *os.Process) { p.Signal(syscall.SIGSTOP) }, "hangs"},
		{"told to end", func(r *ble.Radio, _ *os.Process) { r.Close() }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newAir(t)
			l.central = l.air.Controller()
			started := make(chan *exec.Cmd, 8)
			l.start(func() (*exec.Cmd, error) {
				cmd := l.emulate(l.central.Open, radioArg)
				started <- cmd
				return cmd, nil
			})
			l.device()
			l.find()
			first := <-started
			tt.end(l.radio, first.Process)
			l.until("the process ends", func() bool { return syscall.Kill(first.Process.Pid, 0) == syscall.ESRCH })
			if tt.reason == "" {
				return
			}
			l.find()
			if s := l.radio.Stats(); s.Restarts != 1 || !strings.Contains(s.Reason, tt.reason) {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// A daemon that dies takes the radio process with it.
func TestNoOrphan(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, daemonArg)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var pid int
	if _, err := fmt.Fscanln(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			return // dead; nobody has collected it
		}
		if time.Now().After(end) {
			t.Fatal("the radio process is still there")
		}
	}
}

// daemon is a Radio that tells the id of its process. That process is a
// fake: nothing is emulated, so that it has no other parent.
func daemon() {
	self, _ := os.Executable()
	cmd := exec.Command(self, fakeArg)
	r, err := ble.New(ble.Config{Command: func() (*exec.Cmd, error) { return cmd, nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return
	}
	for !r.Stats().Up {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(cmd.Process.Pid)
	select {}
}

// fake is a radio process without a radio.
func fake() {
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return
	}
	obey(wire.NewConn(conn), func(wire.Message) {})
}

// Who cannot get on with the adapter may have it begun anew.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := scripted(t, func(_ int, w *wire.Conn) {
		obey(w, func(m wire.Message) { w.Send(wire.Message{Kind: wire.Connected, Conn: m.Conn, MTU: 23}) })
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.Connect(ctx, nobody)
	if err != nil {
		t.Fatal(err)
	}
	r.Restart("nothing works")
	if _, err := c.Read(); !errors.Is(err, ble.ErrRestarted) {
		t.Errorf("Read: %v", err)
	}
	if _, err := r.Connect(ctx, nobody); err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Restarts != 1 || !strings.Contains(s.Reason, "nothing works") {
		t.Errorf("stats %+v", s)
	}
}
