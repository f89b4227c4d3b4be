//go:build interop

package interop

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/thread"
)

// borderRouterEnv makes the test binary a border router of the dataset it
// holds, in hex, until its input ends.
const borderRouterEnv = "INTEROP_BORDER_ROUTER"

// mesh is where the border router says that its devices' addresses lie.
var mesh = netip.MustParsePrefix("fd00:aa::/64")

// attached is the state bitmap of a border router that is part of its network
// and reachable at all times.
const attached = 0x31

// borderRouter announces a border router. It routes nothing: the light that is
// told of its network is plugged into the link itself.
func borderRouter() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	d, err := thread.ParseHex(os.Getenv(borderRouterEnv))
	fail(err)
	conn, err := dnssd.Open(dnssd.Config{Now: time.Now, Rand: rand.Reader})
	fail(err)
	defer conn.Close()
	name, _ := d.Name()
	id, _ := d.ExtendedPANID()
	since, _ := d.ActiveTimestamp()
	text := func(key string, value []byte) string { return key + "=" + string(value) }
	prefix := mesh.Addr().As16()
	_, err = conn.Advertise(context.Background(), dnssd.Service{Instance: "border router", Type: "_meshcop._udp", Port: 49153, TXT: []string{
		"rv=1", "tv=1.4.0", "vn=interop", "mn=border router", text("nn", []byte(name)),
		text("xp", binary.BigEndian.AppendUint64(nil, id)),
		text("xa", []byte("\x02interop")),
		text("sb", binary.BigEndian.AppendUint32(nil, attached)),
		text("pt", binary.BigEndian.AppendUint32(nil, 1)),
		text("at", binary.BigEndian.AppendUint64(nil, since.Uint64())),
		text("omr", append([]byte{byte(mesh.Bits())}, prefix[:mesh.Bits()/8]...)),
	}})
	fail(err)
	fmt.Println(`{"ready":"border router"}`)
	io.Copy(io.Discard, os.Stdin)
}

// TestThreadLight pairs matter.js lights that want to be put on a Thread
// network: one without a border router of it, one with it but without a
// route, one with both.
func TestThreadLight(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	a, err := net.Air(ctx, airBin)
	check(t, err)
	gate := host(t, net, "gate")
	g := homeOn(t, ctx, gate, a)
	d, err := thread.New(rand.Reader, "mesh", time.Now())
	check(t, err)
	dataset := hex.EncodeToString(d.Reveal())
	check(t, g.AddNetwork(ctx, "thread", "mesh", dataset))

	refused := func(reason thread.Code, discriminator int) {
		t.Helper()
		light, err := net.BluetoothLight(ctx, a, fmt.Sprintf("refused%d", discriminator), discriminator, dataset)
		check(t, err)
		defer light.Kill() // a process with Bluetooth is for one session
		_, err = g.Pair(ctx, light.QR, "light")
		var f *lab.Failure
		if !errors.As(err, &f) || f.Code != "thread-unreachable" || f.Step != "choose-network" || len(f.Reasons) != 1 || f.Reasons[0].Code != string(reason) {
			t.Fatalf("the pairing ended with %v, want %s", err, reason)
		}
		devices, err := g.Devices(ctx)
		if err != nil || len(devices) != 0 {
			t.Errorf("devices are left: %+v, %v", devices, err)
		}
		if fabrics, err := light.Fabrics(ctx); err != nil || fabrics != 0 {
			t.Errorf("the light is on %d fabrics, %v", fabrics, err)
		}
	}
	refused(thread.CodeNoBorderRouter, 77)
	self, err := os.Executable()
	check(t, err)
	border := host(t, net, "border")
	router, err := border.Start([]string{borderRouterEnv + "=" + dataset}, self)
	check(t, err)
	check(t, router.Event(ctx, func(line json.RawMessage) bool { return true }))
	refused(thread.CodeNoRoute, 78)
	check(t, gate.Route(mesh.String(), border))

	light, err := net.BluetoothLight(ctx, a, "light", 79, dataset)
	check(t, err)
	began := time.Now()
	_, err = g.Pair(ctx, light.QR, "light")
	check(t, err)
	t.Logf("put on the Thread network and admitted in %v", time.Since(began))
	_, err = g.Run(ctx, "device", "invoke", "light", "1/6/1")
	check(t, err)
	check(t, light.Switched(ctx, true))
}
