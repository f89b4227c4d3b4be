package wire

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKernelNoticesTheDead looks at what is asked of the kernel, at both ends.
func TestKernelNoticesTheDead(t *testing.T) {
	h := newHome(t, 1)
	a, b := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB))
	b.echo()
	c, err := a.dial(t.Context(), b.node, raftProtocol, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, c := range append(a.open(), b.open()...) {
		s, err := c.raw.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for option, want := range map[int]int{unix.TCP_USER_TIMEOUT: 3000, unix.TCP_KEEPIDLE: 1, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 3} {
			s.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); got != want || err != nil {
					t.Errorf("option %d is %d, %v, want %d", option, got, err, want)
				}
			})
		}
	}
}
