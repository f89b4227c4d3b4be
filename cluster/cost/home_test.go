package cost

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/member"
	"gatehouse/cluster/powercut"
	"gatehouse/cluster/wire/wiretest"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// home is several gateways in one process, in simulated time, with real disks:
// 1, 2, 3 below dir.
type home struct {
	t        *testing.T
	dir      string
	net      *wiretest.Net
	gateways []*member.Member
	addrs    sync.Map // netip.AddrPort by node id
}

var quiet = slog.New(slog.DiscardHandler)

func (h *home) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) cluster() cluster.Config {
	return cluster.Config{Log: quiet, Fatal: func(err error) { h.t.Errorf("fatal: %v", err) }}
}

func (h *home) locate(_ context.Context, n cert.NodeID) ([]netip.AddrPort, error) {
	if addr, ok := h.addrs.Load(n); ok {
		return []netip.AddrPort{addr.(netip.AddrPort)}, nil
	}
	return nil, errors.New("unknown")
}

// grow founds the home, or has one more gateway join it.
func (h *home) grow() {
	n := len(h.gateways) + 1
	dir := filepath.Join(h.dir, fmt.Sprint(n))
	h.must(os.Mkdir(dir, 0o700))
	config := found.Config{Dir: dir, TPM: keyfile.NoTPM, Cluster: h.cluster()}
	if n == 1 {
		config.Kit, config.Passphrase, config.KitWork = filepath.Join(h.t.TempDir(), "kit"), "rowboat ferns at dusk", 2
		config.Home, config.Gateway, config.Now = "home", "first", time.Now().AddDate(26, 0, 0)
		_, err := found.Found(h.t.Context(), config)
		h.must(err)
	} else {
		keys, err := keyfile.New(cert.NodeID(1000+n), keyfile.Options{TPM: keyfile.NoTPM}, rand.Reader)
		h.must(err)
		h.must(keyfile.Create(dir, keys, rand.Reader, nil))
		public := keys.Operational.PublicKey()
		m, err := h.gateways[0].Steward.Enroll(h.t.Context(), fabric.ReserveGateway{Node: keys.Node, Name: fmt.Sprint("gateway ", n), PublicKey: public[:],
			SealKey: keys.Sealing[0].Public(), Version: fabric.Version, Storage: string(keys.Storage)})
		h.must(err)
		h.must(found.Join(config, m))
	}
	keys, err := keyfile.Load(dir, keyfile.Options{TPM: keyfile.NoTPM})
	h.must(err)
	addr := netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:5541", n))
	host := h.net.Host(addr.Addr())
	listener, err := host.Listen(addr.Port())
	h.must(err)
	h.addrs.Store(keys.Node, addr)
	m, err := member.Open(member.Config{Dir: dir, Keys: keys, Listener: listener, Locate: h.locate, Dial: host.Dial, Cluster: h.cluster(), Now: time.Now, Log: quiet,
		Peers: func(*fabric.State) []found.Peer { return nil }})
	h.must(err)
	h.gateways = append(h.gateways, m)
	time.Sleep(time.Minute) // until it votes, and the secrets are sealed for it
	if s := m.State(); !s.Founded() || !s.SealedRight() || len(m.Members()) != n || !h.gateways[0].Leads() {
		h.t.Fatalf("after a minute gateway %d is no member, or the first does not lead", n)
	}
}

func (h *home) propose(by *member.Member, cmd fabric.Command) {
	h.t.Helper()
	_, err := by.Propose(h.t.Context(), cmd)
	h.must(err)
}

// admit takes a device through the trust state, as a pairing by a gateway does.
func (h *home) admit(by *member.Member, n cert.NodeID) {
	h.propose(by, fabric.Command{Reserve: &fabric.Reserve{Node: n, Gateway: by.Node, FailSafe: 60_000, Name: "a lamp in the hall", Facts: facts, Attested: attested}})
	key, err := issuer.GenerateKey(rand.Reader)
	h.must(err)
	public := key.PublicKey()
	noc, _, err := by.Authority.Issue(h.t.Context(), n, public)
	h.must(err)
	hash := sha256.Sum256(noc)
	h.propose(by, fabric.Command{Issue: &fabric.Issue{Node: n, NOCHash: hash[:], PublicKey: public[:], Gateway: by.Node}})
	h.propose(by, fabric.Command{Admit: &fabric.Admit{Node: n, Gateway: by.Node, Access: 1}})
	time.Sleep(time.Second) // for what followers still have to write
}

// facts and attested are as long as those of devices on the market.
var (
	facts = fabric.Facts{VendorID: 0xFFF1, ProductID: 0x8000, VendorName: "Some Vendor of Lamps", ProductName: "Dimmable Lamp 800 lm", SerialNumber: "A1B2C3D4E5F6",
		UniqueID: "0123456789ABCDEF0123456789ABCDEF", HardwareVersion: 3, SoftwareVersion: 0x01020304, SoftwareString: "1.2.3.4"}
	attested = fabric.Attested{PAA: "6AFD22771F511FECBF1641976710DCDC31A1717E"}
)

// TestHome is the process whose writes TestCost counts. It notes what it is
// doing.
func TestHome(t *testing.T) {
	if *inFlag == "" {
		t.Skip("this is run by TestCost")
	}
	notes := os.NewFile(powercut.Notes, "notes")
	synctest.Test(t, func(t *testing.T) {
		h := &home{t: t, dir: *inFlag, net: wiretest.New()}
		for range *gatewaysFlag {
			h.grow()
		}
		n := cert.NodeID(10_000)
		for range *devicesFlag {
			h.admit(h.gateways[0], n)
			n++
		}
		notes.WriteString(duringSnapshot)
		for _, g := range h.gateways {
			h.must(g.Snapshot()) // that none comes by itself
		}
		notes.WriteString(duringAdmissions)
		for range admissions {
			h.admit(h.gateways[0], n)
			n++
		}
		notes.WriteString(duringRest)
		time.Sleep(time.Duration(*hoursFlag * float64(time.Hour)))
		notes.WriteString("the end")
		for _, g := range h.gateways {
			h.must(g.Close())
		}
	})
}
