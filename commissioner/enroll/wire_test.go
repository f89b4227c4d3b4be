package enroll

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

func newKeys(t testing.TB) keyfile.Keys {
	t.Helper()
	keys, err := keyfile.New(0xB0, keyfile.Options{TPM: keyfile.NoTPM}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func describing(keys *keyfile.Keys) description {
	return description{Protocol: protocol, Nonce: [32]byte{1}, Version: fabric.Version, Node: keys.Node, PublicKey: keys.Operational.PublicKey(),
		SealKey: keys.Sealing[0].Public(), Name: "attic", Storage: string(keys.Storage)}
}

func TestDescription(t *testing.T) {
	keys, stranger := newKeys(t), newKeys(t)
	nonce, challenge := [32]byte{1}, [16]byte{2}
	for _, c := range []struct {
		what   string
		change func(*description)
		sign   func(*description) ([]byte, cert.Signature, error) // nil: as a box does
		want   string                                             // of the error; empty: none
	}{
		{"as it is", func(*description) {}, nil, ""},
		{"with the longest texts", func(d *description) {
			d.Name, d.Storage = strings.Repeat("n", fabric.MaxText), strings.Repeat("s", fabric.MaxText)
		}, nil, ""},
		{"with a name of other letters", func(d *description) { d.Name = "Dachböden ⌂" }, nil, ""},
		{"signed with another key", func(*description) {}, func(d *description) ([]byte, cert.Signature, error) {
			return d.sign(nil, stranger.Operational, challenge)
		}, "not proved"},
		{"with another's key", func(d *description) { d.PublicKey = stranger.Operational.PublicKey() }, nil, "not proved"},
		{"of another session", func(*description) {}, func(d *description) ([]byte, cert.Signature, error) {
			return d.sign(nil, keys.Operational, [16]byte{3})
		}, "not proved"},
		{"for another nonce", func(d *description) { d.Nonce[0]++ }, nil, "not proved"},
		{"with the sealing key exchanged", func(*description) {}, func(d *description) ([]byte, cert.Signature, error) {
			_, s, err := d.sign(nil, keys.Operational, challenge)
			if err != nil {
				return nil, s, err
			}
			d.SealKey = stranger.Sealing[0].Public()
			elements, err := tlv.Marshal(d)
			return elements, s, err
		}, "not proved"},
		{"signed without a purpose", func(*description) {}, func(d *description) ([]byte, cert.Signature, error) {
			elements, err := tlv.Marshal(d)
			if err != nil {
				return nil, cert.Signature{}, err
			}
			s, err := cert.SignMessage(nil, keys.Operational, append(bytes.Clone(elements), challenge[:]...))
			return elements, s, err
		}, "not proved"},
		{"with no point for a key", func(d *description) { d.PublicKey = cert.PublicKey{4} }, nil, "public key"},
		{"with no sealing key", func(d *description) { d.SealKey = make([]byte, 12) }, nil, "sealing key"},
		{"of a later protocol", func(d *description) { d.Protocol++ }, nil, "another version"},
		{"without a version", func(d *description) { d.Version = 0 }, nil, "no version"},
		{"with a group's node id", func(d *description) { d.Node = 0xFFFF_FFFF_FFFF_0001 }, nil, "node id"},
		{"with too long a name", func(d *description) { d.Name = strings.Repeat("n", fabric.MaxText+1) }, nil, "too long"},
		{"with an escape in its name", func(d *description) { d.Name = "attic\x1b[2J" }, nil, "printed"},
	} {
		d := describing(&keys)
		c.change(&d)
		sign := c.sign
		if sign == nil {
			sign = func(d *description) ([]byte, cert.Signature, error) { return d.sign(nil, keys.Operational, challenge) }
		}
		elements, s, err := sign(&d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := verify(rand.Reader, elements, s, nonce, challenge)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", c.what, err)
		case err == nil && !cmp.Equal(*got, d):
			t.Errorf("%s: it became %+v", c.what, got)
		}
	}
}

func members(t testing.TB) found.Membership {
	t.Helper()
	m := found.Membership{Root: bytes.Repeat([]byte{1}, cert.MaxTLV), ICAC: bytes.Repeat([]byte{2}, cert.MaxTLV), NOC: bytes.Repeat([]byte{3}, cert.MaxTLV)}
	for i := range fabric.MaxGateways {
		p := found.Peer{Node: cert.NodeID(i + 1)}
		for j := range maxAddrs {
			p.Addrs = append(p.Addrs, netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%x]:%d", j, 5540+i)))
		}
		m.Peers = append(m.Peers, p)
	}
	return m
}

// TestMembershipFits takes the largest home there can be through the wire.
func TestMembershipFits(t *testing.T) {
	m := members(t)
	b, err := encodeMembership(&m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeMembership(b, "")
	if err != nil || !cmp.Equal(got, m, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
		t.Errorf("%v, %+v", err, got)
	}
	m.Peers = append(m.Peers, found.Peer{Node: 99})
	if _, err := encodeMembership(&m); err == nil {
		t.Error("a gateway too many")
	}
}

func TestMembershipAddresses(t *testing.T) {
	addrs := func(texts ...string) (list []netip.AddrPort) {
		for _, s := range texts {
			list = append(list, netip.MustParseAddrPort(s))
		}
		return list
	}
	m := found.Membership{Peers: []found.Peer{{Node: 1, Addrs: addrs("[fe80::1%wlan7]:5541", "[::ffff:192.0.2.1]:80", "169.254.1.1:1", "[fd00::1]:65535")}}}
	b, err := encodeMembership(&m)
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[string][]netip.AddrPort{
		"eth0": addrs("[fe80::1%eth0]:5541", "192.0.2.1:80", "169.254.1.1:1", "[fd00::1]:65535"),
		"":     addrs("192.0.2.1:80", "169.254.1.1:1", "[fd00::1]:65535"),
	} {
		got, err := decodeMembership(b, zone)
		if err != nil || !slices.Equal(got.Peers[0].Addrs, want) {
			t.Errorf("zone %q: %v, %v", zone, got.Peers, err)
		}
	}
	for what, in := range map[string]*membership{
		"a short address":     {Peers: []peer{{Node: 1, Addrs: [][]byte{{1}}}}},
		"an empty address":    {Peers: []peer{{Node: 1, Addrs: [][]byte{{}}}}},
		"an address too long": {Peers: []peer{{Node: 1, Addrs: [][]byte{make([]byte, 19)}}}},
		"many addresses":      {Peers: []peer{{Node: 1, Addrs: slices.Repeat([][]byte{make([]byte, 6)}, maxAddrs+1)}}},
		"many peers":          {Peers: slices.Repeat([]peer{{Node: 1}}, fabric.MaxGateways+1)},
		"no node id":          {Peers: []peer{{}}},
		"many octets":         {Root: make([]byte, maxMembership)},
	} {
		b, err := tlv.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeMembership(b, ""); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// TestHostileMember says to a box what no member of ours says.
func TestHostileMember(t *testing.T) {
	bubble(t, func(t *testing.T, p *place) {
		s, g := newSteward(p), newGateway(p)
		m, code := s.member(memberAddr), g.start()
		session, err := securechannel.PASE(t.Context(), m.Manager, securechannel.Peer{Link: m.Link, Addr: boxAddr}, code.Passcode.Reveal())
		p.check(err)
		a := &admission{Member: m, pase: session}
		status := func(what string, want interaction.Status, id interaction.CommandID, fields any) {
			t.Helper()
			if s, _ := interaction.StatusOf(a.invoke(t.Context(), id, 0, fields, nil)); s != want {
				t.Errorf("%s: %v", what, s)
			}
		}
		status("read what was not made", interaction.ConstraintError, readID, &read{0})
		status("complete what did not begin", interaction.InvalidInState, completeID, &complete{})
		status("write behind the end", interaction.ConstraintError, writeID, &write{1, []byte{1}})
		for offset := 0; offset < maxMembership; offset += partSize {
			status("write", interaction.Success, writeID, &write{uint16(offset), make([]byte, partSize)})
		}
		status("write too much", interaction.ConstraintError, writeID, &write{maxMembership, []byte{1}})
		status("fields that are none", interaction.InvalidCommand, writeID, &joined{Text: "no octets"})
		var r joined
		if err := a.invoke(t.Context(), joinID, joinWork, &join{}, &r); err != nil || r.Status != joinMalformed {
			t.Errorf("join with zeros: %+v, %v", r, err)
		}
		status("write anew", interaction.Success, writeID, &write{0, []byte{1}})
		var d described
		p.check(a.invoke(t.Context(), describeID, 0, &describe{}, &d))
		status("read at the end", interaction.ConstraintError, readID, &read{d.Size})
		status("read the last octet", interaction.Success, readID, &read{d.Size - 1})
		status("an attribute's place", interaction.UnsupportedCommand, 99, &complete{})
		if len(g.accepted) != 0 {
			t.Error("the box joined")
		}
		time.Sleep(holdTime)
		_, err = m.admit(t, code)
		p.check(err)
		g.joinedBy(2 * lastAnswer)
	})
}

func FuzzDescription(f *testing.F) {
	keys := newKeys(f)
	d := describing(&keys)
	b, err := tlv.Marshal(&d)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var d *description
		bounded(t, len(b), func() { d, _ = parseDescription(b) })
		if d == nil {
			return
		}
		one, err := tlv.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDescription(one)
		if err != nil || !cmp.Equal(d, again) {
			t.Fatalf("%+v became %+v, %v", d, again, err)
		}
	})
}

func FuzzMembership(f *testing.F) {
	m := members(f)
	b, err := encodeMembership(&m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "")
	m.Peers = []found.Peer{{Node: 1, Addrs: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%x]:1"), netip.MustParseAddrPort("192.0.2.1:2")}}}
	if b, err = encodeMembership(&m); err != nil {
		f.Fatal(err)
	}
	f.Add(b, "eth0")
	keys := newKeys(f)
	f.Fuzz(func(t *testing.T, b []byte, zone string) {
		var m found.Membership
		var err error
		bounded(t, len(b), func() { m, err = decodeMembership(b, zone) })
		if err != nil {
			return
		}
		if verifyMembership(&m, &keys) == nil {
			t.Fatal("a membership without a signature")
		}
		one, err := encodeMembership(&m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeMembership(one, zone)
		if err != nil || !cmp.Equal(m, again, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

// FuzzCommands gives a box any fields, in any order.
func FuzzCommands(f *testing.F) {
	keys := newKeys(f)
	for id, v := range map[interaction.CommandID]any{describeID: &describe{}, readID: &read{}, writeID: &write{0, []byte{1, 2}}, joinID: &join{}, completeID: &complete{},
		describedID: &described{}, partID: &part{[]byte{1}}, joinedID: &joined{joinFailed, "no"}} {
		b, err := tlv.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(id), b)
	}
	f.Fuzz(func(t *testing.T, id uint32, fields []byte) {
		var v any
		switch interaction.CommandID(id) {
		case describeID:
			v = new(describe)
		case describedID:
			v = new(described)
		case readID:
			v = new(read)
		case partID:
			v = new(part)
		case writeID:
			v = new(write)
		case joinID:
			v = new(join)
		case joinedID:
			v = new(joined)
		default:
			v = new(complete)
		}
		var err error
		bounded(t, len(fields), func() { err = tlv.Unmarshal(fields, v) })
		if err != nil {
			return
		}
		b := &box{Candidate: &Candidate{Keys: keys}, incoming: fields}
		switch v := v.(type) {
		case *read:
			b.elements = fields
			if answer, s := b.read(t.Context(), nil, v); s == interaction.Success && len(answer.(*part).Octets) == 0 {
				t.Error("nothing was read")
			}
		case *write:
			if b.write(t.Context(), nil, v); len(b.incoming) > maxMembership && len(fields) <= maxMembership {
				t.Errorf("%d octets are kept", len(b.incoming))
			}
		case *join:
			if m, answer := b.proposed(""); m != nil || answer.Status != joinMalformed {
				t.Errorf("%+v", answer)
			}
		}
		one, err := tlv.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlv.Unmarshal(one, v); err != nil {
			t.Fatalf("%x: %v", one, err)
		}
	})
}

// bounded fails if f takes memory out of proportion to its input.
func bounded(t *testing.T, size int, f func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16+uint64(1000*size) {
		t.Fatalf("%d octets took %d of memory", size, n)
	}
}
