// Package lab lays out what the interoperability tests and the benchmark run
// in: hosts that are network namespaces on one link, with gateways, matter.js
// lights and controllers, and virtual devices as processes on them.
//
// It promises to remove on Close every namespace it made and to end every
// process it started, by its id. Its processes die with it, and what a run
// that was killed left behind the next one removes. It needs root, ip (from
// iproute2), Node and the packages that npm ci installs, and says which of
// them is missing.
package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"gatehouse/commissioner/interop/ether"
)

// prefix begins the names of our namespaces; our process id follows.
const prefix = "ghio"

// Dir is where commissioner/interop is.
func Dir() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for root := wd; root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, "commissioner", "interop"), nil
		}
	}
	return "", fmt.Errorf("%s is not inside the repository", wd)
}

// Check says what is missing here.
func Check() error {
	dir, err := Dir()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces are made by root: run as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("there is no ip command: install iproute2")
	}
	if _, err := exec.LookPath("node"); err != nil {
		return errors.New("there is no node command: install Node 20.19 or newer")
	}
	for what, dir := range map[string]string{"matter.js": dir, "matter.js with Bluetooth": filepath.Join(dir, "ble")} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", "@matter", "main")); err != nil {
			return fmt.Errorf("%s is not installed: run npm ci in %s, or make interop", what, dir)
		}
	}
	return nil
}

// Net is hosts on one link.
type Net struct {
	name string // of the namespace with the bridge
	dir  string // for the hosts' files

	mu       sync.Mutex
	hosts    []*Host
	procs    []*Proc
	switches []*ether.Switch // each in the way to a host
}

var nets atomic.Int32

// NewNet is a link without hosts.
func NewNet() (*Net, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	number := nets.Add(1)
	if number == 1 {
		removeLeftovers()
	}
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	n := &Net{name: fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), number), dir: dir}
	if err := n.ip("netns add", n.name); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	// With snooping a bridge without a querier forgets who listens to a group.
	err = errors.Join(n.ip("-n", n.name, "link add br0 type bridge mcast_snooping 0"), n.ip("-n", n.name, "link set br0 up"))
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// removeLeftovers removes the namespaces of runs that are no more.
func removeLeftovers() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range bytes.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		ours, ok := strings.CutPrefix(name, prefix)
		pid, _, _ := strings.Cut(ours, "-")
		if n, err := strconv.Atoi(pid); ok && err == nil {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", n)); err != nil {
				exec.Command("ip", "netns", "del", name).Run()
			}
		}
	}
}

// ip runs the ip command; words with spaces are several.
func (n *Net) ip(words ...string) error {
	args := strings.Fields(strings.Join(words, " "))
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Host is one host on the link: it has a link-local and a unique local
// address.
type Host struct {
	net   *Net
	name  string   // of its namespace
	port  string   // of the link that leads to it
	addr  string   // unique local
	Dir   string   // for its files
	serve []string // more flags of a gateway
}

// Host adds a host.
func (n *Net) Host(name string) (*Host, error) { return n.host(name, nil) }

// HostBehind adds a host to which, and from which, the way is as a rule says.
func (n *Net) HostBehind(name string, way ether.Rule) (*Host, error) { return n.host(name, &way) }

func (n *Net) host(name string, way *ether.Rule) (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number := len(n.hosts) + 1
	port := fmt.Sprintf("port%d", number)
	h := &Host{net: n, name: n.name + "-" + name, port: port, addr: fmt.Sprintf("fd00:77::%x", number), Dir: filepath.Join(n.dir, name)}
	if err := os.Mkdir(h.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := n.ip("netns add", h.name); err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, h)
	sysctl := exec.Command("ip", "netns", "exec", h.name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.dad_transmits=0")
	if out, err := sysctl.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("turn duplicate address detection off: %w: %s", err, bytes.TrimSpace(out))
	}
	cable := []string{"-n " + n.name + " link add " + port + " type veth peer name eth0 netns " + h.name}
	if way != nil {
		cable = []string{"-n " + n.name + " tuntap add dev " + port + " mode tap", "-n " + h.name + " tuntap add dev eth0 mode tap"}
	}
	for _, args := range append(cable,
		"-n "+n.name+" link set "+port+" master br0 up",
		"-n "+h.name+" link set lo up",
		"-n "+h.name+" link set eth0 up",
		"-n "+h.name+" addr add "+h.addr+"/64 dev eth0 nodad",
		"-n "+h.name+" route add 224.0.0.0/4 dev eth0", // or matter.js cannot join its groups
	) {
		if err := n.ip(args); err != nil {
			return nil, err
		}
	}
	if way == nil {
		return h, nil
	}
	return h, n.connect(h, *way)
}

// Addr is the host's unique local address.
func (h *Host) Addr() string { return h.addr }

// Route leads the host's packets for a prefix over another host.
func (h *Host) Route(prefix string, via *Host) error {
	return h.net.ip("-n", h.name, "-6 route add", prefix, "via", via.addr)
}

// Close ends all processes and removes the hosts and their files.
func (n *Net) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.procs {
		p.Kill()
	}
	for _, s := range n.switches {
		s.Close()
	}
	for _, h := range n.hosts {
		n.ip("netns del", h.name)
	}
	n.ip("netns del", n.name)
	os.RemoveAll(n.dir)
}
