package dnssd_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// In a namespace the test runs itself again, as helperEnv says.
const helperEnv = "GATEHOUSE_DNSSD_HELPER"

// TestNamespaces is two hosts on a real link: two network namespaces, each
// with one end of a veth pair.
func TestNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces are made by root")
	}
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	a, b := fmt.Sprintf("ghdns%da", os.Getpid()), fmt.Sprintf("ghdns%db", os.Getpid())
	for _, ns := range []string{a, b} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("this host does not let us make a network namespace: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("-n " + a + " link add eth0 type veth peer name eth0 netns " + b)
	for _, ns := range []string{a, b} {
		ip("-n " + ns + " link set eth0 addrgenmode none")
		ip("-n " + ns + " link set eth0 up")
	}
	ip("-n " + a + " addr add fe80::a/64 dev eth0 nodad")
	ip("-n " + b + " addr add fe80::b/64 dev eth0 nodad")

	device, deviceSays := helper(t, b, "advertise")
	defer device.Close()
	expect(t, deviceSays, "ready")
	gate, gateSays := helper(t, a, "browse")
	defer gate.Close()
	expect(t, gateSays, "added LIGHT [udp:[fe80::b%eth0]:5540]")

	ip("-n " + b + " addr add fd77::b/64 dev eth0 nodad")
	expect(t, gateSays, "updated LIGHT [udp:[fe80::b%eth0]:5540 udp:[fd77::b]:5540]")

	// Our interface goes and comes back.
	ip("-n " + a + " link set eth0 down")
	expect(t, gateSays, "removed LIGHT")
	ip("-n " + a + " link set eth0 up")
	ip("-n " + a + " addr replace fe80::a/64 dev eth0 nodad")
	expect(t, gateSays, "added LIGHT [udp:[fe80::b%eth0]:5540")

	device.Close()
	expect(t, gateSays, "removed LIGHT")
}

// helper starts this test again in a namespace. It ends when its input does.
func helper(t *testing.T, ns, what string) (io.Closer, <-chan string) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", ns, os.Args[0], "-test.run=^TestNamespaceHelper$")
	cmd.Env = append(os.Environ(), helperEnv+"="+what)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return in, lines
}

// expect reads until a line with this beginning.
func expect(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	var seen []string
	alarm := time.After(15 * time.Second)
	for {
		select {
		case s, ok := <-lines:
			if strings.HasPrefix(s, want) {
				return
			}
			if !ok {
				t.Fatalf("it ended without saying %q, after %q", want, seen)
			}
			seen = append(seen, s)
		case <-alarm:
			t.Fatalf("15 s without %q, but with %q", want, seen)
		}
	}
}

func TestNamespaceHelper(t *testing.T) {
	what := os.Getenv(helperEnv)
	if what == "" {
		t.Skip("runs inside the namespaces that TestNamespaces makes")
	}
	c, err := dnssd.Open(dnssd.Config{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	switch what {
	case "advertise":
		s := dnssd.CommissionableService(radio.Advertisement{Instance: "LIGHT", Discriminator: 3840}, 5540)
		if _, err := c.Advertise(ctx, s); err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready")
		<-ctx.Done()
	case "browse":
		for e := range c.Browse(ctx, dnssd.LongDiscriminator(3840)) {
			fmt.Println(e.Change, e.Instance, e.Addrs)
		}
	}
}
