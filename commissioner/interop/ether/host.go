package ether

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tunDevice is where TAP interfaces come from.
const tunDevice = "/dev/net/tun"

// Check says what is missing here to make a Host.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("namespaces are made by root: run as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("there is no ip command: install iproute2")
	}
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("there are no TAP interfaces: %w", err)
	}
	return f.Close()
}

// Host is a network namespace and a mount namespace, with no name: they are
// gone, with what was mounted, once the last process in them is, and those end
// with the Host or with this process.
type Host struct {
	jobs  chan func()
	ended chan struct{}
}

// NewHost is a host with a loopback interface.
func NewHost() (*Host, error) {
	h := &Host{make(chan func()), make(chan struct{})}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			h.live(begun)
			return
		}
		// The process's first thread never ends: another has to be the host.
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			h.live(begun)
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
	if err := <-begun; err != nil {
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	if err := h.ip("link set lo up"); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// live is the host's life, on a thread that is the host: it is never unlocked,
// so it ends with its goroutine, and its children with it.
func (h *Host) live(begun chan<- error) {
	defer close(h.ended)
	err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")
	}
	begun <- err
	if err != nil {
		return
	}
	for job := range h.jobs {
		job()
	}
}

// Close ends the host and all its processes.
func (h *Host) Close() {
	close(h.jobs)
	<-h.ended
}

// Do does something in the host's namespaces: look up a path, listen, dial.
// What it opens stays the host's.
func (h *Host) Do(f func()) {
	done := make(chan struct{})
	h.jobs <- func() { defer close(done); f() }
	<-done
}

// Start starts a command on the host. It ends with the host at the latest.
func (h *Host) Start(cmd *exec.Cmd) (err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when its thread ends
	h.Do(func() { err = cmd.Start() })
	return err
}

// ip runs commands of ip, one a line.
func (h *Host) ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip: %w: %s", err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// Cable is a new interface of the host, eth0, with a MAC address and IPv6
// addresses with their prefix lengths beside the link-local one; its other end
// is for Switch.Plug.
func (h *Host) Cable(mac net.HardwareAddr, addrs ...string) (cable *os.File, err error) {
	h.Do(func() { cable, err = tap() })
	if err != nil {
		return nil, fmt.Errorf("make a TAP interface: %w", err)
	}
	lines := []string{"link set eth0 address " + mac.String()}
	for _, a := range addrs {
		lines = append(lines, "addr add "+a+" dev eth0 nodad")
	}
	if err := h.ip(append(lines, "link set eth0 up")...); err != nil {
		cable.Close()
		return nil, err
	}
	return cable, nil
}

// tap makes the interface eth0, whose address nobody disputes.
func tap() (*os.File, error) {
	for name, value := range map[string]string{"accept_dad": "0", "dad_transmits": "0", "router_solicitations": "0"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/"+name, []byte(value), 0); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq("eth0")
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// Disk mounts a small file system of its own at a directory.
func (h *Host) Disk(dir string, octets int64) (err error) {
	h.Do(func() { err = unix.Mount("disk", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", octets)) })
	if err != nil {
		return fmt.Errorf("mount a disk at %s: %w", dir, err)
	}
	return nil
}
