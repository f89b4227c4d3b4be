package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"gatehouse/commissioner/interop/ether"
)

// Where namespaces are found by name, and TAP interfaces are opened.
const (
	namespaces = "/run/netns"
	tunDevice  = "/dev/net/tun"
)

// connect has frames go between a host and its port over a switch of two ports,
// as a rule says. n.mu is held.
func (n *Net) connect(h *Host, way ether.Rule) error {
	s := ether.New(1)
	n.switches = append(n.switches, s)
	for namespace, device := range map[string]string{n.name: h.port, h.name: "eth0"} {
		cable, err := openTAP(namespace, device)
		if err != nil {
			return fmt.Errorf("open %s of %s: %w", device, namespace, err)
		}
		s.Plug(namespace, cable)
	}
	s.Set(n.name, h.name, way)
	s.Set(h.name, n.name, way)
	return nil
}

// openTAP opens the other end of a namespace's TAP interface. The thread must
// come back from there: with it would end what was started on it.
func openTAP(namespace, device string) (cable *os.File, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open(filepath.Join(namespaces, namespace))
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("a thread cannot leave namespace %s: %v", namespace, err))
		}
	}()
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(device)
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
