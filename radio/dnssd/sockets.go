package dnssd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// receiveBuffer is asked of the kernel, in bytes: hundreds of devices announce
// themselves at once when the power comes back.
const receiveBuffer = 1 << 20

// readPause keeps an error of the kernel's from making us spin.
const readPause = 20 * time.Millisecond

// hopLimit is that of every packet (RFC 6762, section 11).
const hopLimit = 255

var (
	group4 = netip.MustParseAddrPort("224.0.0.251:5353")
	group6 = netip.MustParseAddrPort("[ff02::fb]:5353")
)

// sockets is the Wire of a real host: one socket for IPv4 and one for IPv6,
// either of which may be missing, bound to Port beside those of others.
type sockets struct {
	names []string // to use; nil for all that are fit
	log   *slog.Logger
	v4    *net.UDPConn
	v6    *net.UDPConn
	group *sync.WaitGroup // of the readers

	mu     sync.Mutex
	use    map[int]Interface
	joined map[int]bool // groups have been joined, or could not be
	shared bool
}

func openSockets(names []string, log *slog.Logger) (*sockets, error) {
	s := &sockets{names: names, log: log, group: &sync.WaitGroup{}, use: map[int]Interface{}, joined: map[int]bool{}}
	var err4, err6 error
	s.v4, err4 = listen("udp4", fmt.Sprintf("0.0.0.0:%d", Port))
	s.v6, err6 = listen("udp6", fmt.Sprintf("[::]:%d", Port))
	if err4 != nil && err6 != nil {
		return nil, fmt.Errorf("no mDNS socket: %w", errors.Join(err4, err6))
	}
	if s.v4 != nil {
		p := ipv4.NewPacketConn(s.v4)
		err4 = errors.Join(p.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true),
			p.SetMulticastTTL(hopLimit), p.SetTTL(hopLimit), p.SetMulticastLoopback(true))
	}
	if s.v6 != nil {
		p := ipv6.NewPacketConn(s.v6)
		err6 = errors.Join(p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true),
			p.SetMulticastHopLimit(hopLimit), p.SetHopLimit(hopLimit), p.SetMulticastLoopback(true))
	}
	if err := errors.Join(err4, err6); err != nil {
		log.Warn("mDNS runs on one family of addresses only", "err", err)
	}
	return s, nil
}

func listen(network, address string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		ctlErr := c.Control(func(fd uintptr) { err = prepare(int(fd), network == "udp6") })
		return errors.Join(err, ctlErr)
	}}
	c, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

func prepare(fd int, v6 bool) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	// Linux hands a wildcard socket what others on the host joined for, but
	// for these.
	if v6 {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
	} else {
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	}
	return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

func (s *sockets) Start(deliver func(Packet)) {
	if s.v4 != nil {
		var cm ipv4.ControlMessage
		s.group.Go(func() {
			read(s.v4, deliver, func(oob []byte) (int, net.IP) {
				if cm.Parse(oob) != nil {
					return 0, nil
				}
				return cm.IfIndex, cm.Dst
			})
		})
	}
	if s.v6 != nil {
		var cm ipv6.ControlMessage
		s.group.Go(func() {
			read(s.v6, deliver, func(oob []byte) (int, net.IP) {
				if cm.Parse(oob) != nil {
					return 0, nil
				}
				return cm.IfIndex, cm.Dst
			})
		})
	}
}

// read delivers what comes in on one socket until that is closed.
func read(c *net.UDPConn, deliver func(Packet), control func(oob []byte) (iface int, dst net.IP)) {
	b, oob := make([]byte, maxPacket), make([]byte, 256)
	for {
		n, oobn, flags, from, err := c.ReadMsgUDPAddrPort(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(readPause)
			continue
		}
		if flags&unix.MSG_TRUNC != 0 {
			continue
		}
		iface, dst := control(oob[:oobn])
		deliver(Packet{Iface: iface, From: from, Multicast: dst.IsMulticast(), Data: b[:n]})
	}
}

// Interfaces implements Wire.
func (s *sockets) Interfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	shared := portShared(btoi(s.v4 != nil), btoi(s.v6 != nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = shared
	gone := s.use
	s.use = make(map[int]Interface)
	var found []Interface
	for _, n := range all {
		if n.Flags&net.FlagUp == 0 || !s.wanted(n) {
			continue
		}
		i := Interface{Index: n.Index, Name: n.Name, Loopback: n.Flags&net.FlagLoopback != 0}
		addrs, err := n.Addrs()
		if err != nil || len(addrs) == 0 {
			continue // it has just gone, or is not set up yet
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				i.Prefixes = append(i.Prefixes, p)
			}
		}
		s.join(&n)
		delete(gone, n.Index)
		s.use[n.Index] = i
		found = append(found, i)
	}
	for index := range gone {
		delete(s.joined, index)
	}
	return found, nil
}

func (s *sockets) wanted(n net.Interface) bool {
	if len(s.names) > 0 {
		return slices.Contains(s.names, n.Name)
	}
	// A point-to-point interface leads into a mesh or a tunnel, which mDNS
	// is too loud for.
	return n.Flags&net.FlagMulticast != 0 && n.Flags&net.FlagPointToPoint == 0
}

// join joins the groups on an interface once. An interface that went down and
// came up again is joined already, which is an error that means nothing.
func (s *sockets) join(n *net.Interface) {
	if s.joined[n.Index] {
		return
	}
	s.joined[n.Index] = true
	var err4, err6 error
	if s.v4 != nil {
		err4 = ipv4.NewPacketConn(s.v4).JoinGroup(n, net.UDPAddrFromAddrPort(group4))
	}
	if s.v6 != nil {
		err6 = ipv6.NewPacketConn(s.v6).JoinGroup(n, net.UDPAddrFromAddrPort(group6))
	}
	for _, err := range []error{err4, err6} {
		if err != nil && !errors.Is(err, unix.EADDRINUSE) {
			s.log.Warn("interface does not hear mDNS", "name", n.Name, "err", err)
		}
	}
}

// Multicast implements Wire: over IPv6 and IPv4, as far as the interface has
// addresses of them.
func (s *sockets) Multicast(iface int, data []byte) error {
	s.mu.Lock()
	i := s.use[iface]
	s.mu.Unlock()
	var has4, has6 bool
	var source4 netip.Addr
	for _, p := range i.Prefixes {
		has6 = has6 || p.Addr().Is6()
		if p.Addr().Is4() && !has4 {
			has4, source4 = true, p.Addr()
		}
	}
	var err4, err6 error
	if has6 && s.v6 != nil && !i.Loopback { // which has no route for groups
		cm := ipv6.ControlMessage{IfIndex: iface}
		_, _, err6 = s.v6.WriteMsgUDPAddrPort(data, cm.Marshal(), group6)
	}
	if has4 && s.v4 != nil {
		cm := ipv4.ControlMessage{IfIndex: iface}
		if i.Loopback {
			// The kernel would take another interface's address, or none.
			cm.Src = source4.AsSlice()
		}
		_, _, err4 = s.v4.WriteMsgUDPAddrPort(data, cm.Marshal(), group4)
	}
	return errors.Join(err4, err6)
}

// Unicast implements Wire.
func (s *sockets) Unicast(_ int, to netip.AddrPort, data []byte) error {
	c := s.v6
	if to.Addr().Is4() {
		c = s.v4
	}
	if c == nil {
		return fmt.Errorf("no socket for %v", to)
	}
	_, err := c.WriteToUDPAddrPort(data, to)
	return err
}

// Shared implements Wire, as it was when Interfaces was called last.
func (s *sockets) Shared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shared
}

// Close implements Wire.
func (s *sockets) Close() error {
	var errs []error
	for _, c := range []*net.UDPConn{s.v4, s.v6} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	s.group.Wait()
	return errors.Join(errs...)
}

// portShared says whether the kernel lists more sockets on Port than ours.
func portShared(ours4, ours6 int) bool {
	return listeners("/proc/thread-self/net/udp") > ours4 || listeners("/proc/thread-self/net/udp6") > ours6
}

func listeners(table string) (n int) {
	b, err := os.ReadFile(table)
	if err != nil {
		return 0
	}
	port := fmt.Appendf(nil, ":%04X", Port)
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && bytes.HasSuffix(f[1], port) {
			n++
		}
	}
	return n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
