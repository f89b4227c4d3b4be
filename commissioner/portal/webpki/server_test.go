package webpki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/commissioner"
)

// host is what a Server asks, as tests set it.
type host struct {
	now       time.Time
	addresses []netip.Addr
	files     Files
	floor     time.Time
}

func (h *host) server(t *testing.T, a *Authority) *Server {
	t.Helper()
	s, err := NewServer(Config{Authority: a, Names: []string{"gatehouse.local"}, Addresses: func() []netip.Addr { return h.addresses },
		Files: h.files, Now: func() time.Time { return h.now }, Floor: h.floor, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// served is the certificate for a name; empty: an address, or nothing, was opened.
func served(t *testing.T, s *Server, name string) *x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func TestServerRoundTrip(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	h := &host{now: birth.AddDate(1, 0, 0), addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("8.8.8.8")}}
	s := h.server(t, a)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: s.GetCertificate, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM())
	for name, good := range map[string]bool{"gatehouse.local": true, "127.0.0.1": true, "192.168.1.1": false, "example.com": false} {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name, Time: func() time.Time { return h.now }})
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
		chain := c.ConnectionState().PeerCertificates
		if f := Fingerprint(sha256.Sum256(chain[len(chain)-1].Raw)); f != a.Fingerprint() {
			t.Error("who knows only the fingerprint does not find the authority in the chain")
		}
		c.Close()
	}
}

func TestServerRenews(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	h := &host{now: birth}
	s := h.server(t, a)
	first := served(t, s, "")
	renewed, last := 0, first
	for end := birth.AddDate(1, 0, 0); h.now.Before(end); h.now = h.now.Add(6 * time.Hour) {
		c := served(t, s, "")
		if left := c.NotAfter.Sub(h.now); left < 30*24*time.Hour || h.now.Before(c.NotBefore) {
			t.Fatalf("%v: good for %v more", h.now, left)
		}
		if !c.Equal(last) {
			renewed, last = renewed+1, c
		}
	}
	if renewed != 6 {
		t.Errorf("renewed %d times in a year", renewed)
	}
}

func TestServerFollowsAddresses(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	ips := func(all ...string) (parsed []netip.Addr) {
		for _, ip := range all {
			parsed = append(parsed, netip.MustParseAddr(ip))
		}
		return parsed
	}
	h := &host{now: birth, addresses: ips("192.168.1.10", "fe80::1%eth0")}
	s := h.server(t, a)
	first := served(t, s, "")
	for _, same := range [][]netip.Addr{ips("fe80::1%eth0", "192.168.1.10"), ips("192.168.1.10", "fe80::1%wlan0", "fe80::1", "2001:db8::1", "1.1.1.1")} {
		h.addresses, h.now = same, h.now.Add(time.Minute)
		if !served(t, s, "").Equal(first) {
			t.Errorf("signed anew for %v", same)
		}
	}
	h.addresses, h.now = ips("192.168.1.11"), h.now.Add(time.Second)
	if !served(t, s, "").Equal(first) {
		t.Error("addresses are looked at for every connection")
	}
	h.now = h.now.Add(lookEvery)
	c := served(t, s, "")
	if err := verify(a, c.Raw, "192.168.1.11", h.now); err != nil || verify(a, c.Raw, "192.168.1.10", h.now) == nil {
		t.Errorf("it is for %v (%v)", c.IPAddresses, err)
	}
	h.addresses, h.now = nil, h.now.Add(lookEvery)
	for i := range 100 {
		h.addresses = append(h.addresses, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	if c := served(t, s, ""); len(c.IPAddresses) != maxAddresses {
		t.Errorf("it is for %d addresses", len(c.IPAddresses))
	}
}

func TestServerWithWrongClock(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	h := &host{now: time.Unix(0, 0), floor: birth.AddDate(1, 0, 0)}
	s := h.server(t, a)
	first := served(t, s, "")
	for _, truth := range []time.Time{h.floor, h.floor.AddDate(1, 0, 0)} {
		if err := verify(a, first.Raw, "gatehouse.local", truth); err != nil {
			t.Errorf("at %v: %v", truth, err)
		}
	}
	h.now = h.now.Add(time.Hour)
	if !served(t, s, "").Equal(first) {
		t.Error("signed anew although nothing is known better")
	}
	h.now = birth.AddDate(5, 0, 0) // now the network tells the time
	c := served(t, s, "")
	if err := verify(a, c.Raw, "gatehouse.local", h.now); err != nil {
		t.Error(err)
	}
	h.now = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	served(t, s, "")
	h.now = birth.AddDate(5, 0, 1) // and back
	if err := verify(a, served(t, s, "").Raw, "gatehouse.local", h.now); err != nil {
		t.Error(err)
	}
}

func TestServerThatCannotSign(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	c := Config{Authority: a, Names: []string{"example.com"}, Addresses: func() []netip.Addr { return nil }, Now: func() time.Time { return birth }, Random: rand.Reader}
	if _, err := NewServer(c); err == nil {
		t.Error("it serves a name that the authority is not for")
	}
	now := birth
	c.Names, c.Now, c.Random = domains, func() time.Time { return now }, &firstOnly{}
	s, err := NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	first := served(t, s, "")
	now = now.AddDate(0, 2, 10)
	if !served(t, s, "").Equal(first) {
		t.Error("the certificate at hand was given up")
	}
}

// firstOnly is randomness that runs out after the first serial number.
type firstOnly struct{ read int }

func (f *firstOnly) Read(b []byte) (int, error) {
	if f.read++; f.read > 1 {
		return 0, io.ErrUnexpectedEOF
	}
	return rand.Read(b)
}

// brought is a certificate of the user's own, of an authority of theirs.
type brought struct{ chain, key []byte }

func bring(t testing.TB, change func(*x509.Certificate), key any) brought {
	t.Helper()
	caKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: birth, NotAfter: birth.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := must(x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey))
	if key == nil {
		key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: birth, NotAfter: birth.AddDate(1, 0, 0), DNSNames: []string{"home.example.org"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(c)
	}
	der := must(x509.CreateCertificate(rand.Reader, c, must(x509.ParseCertificate(caDER)), publicOf(key), caKey))
	if _, ok := key.(*rsa.PublicKey); ok {
		key = caKey // whose it is does not come to be asked
	}
	return brought{append(pemOf(der), pemOf(caDER)...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})}
}

func publicOf(key any) any {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return k.Public()
	case *rsa.PublicKey: // of a size that Go makes no keys of
		return k
	case *rsa.PrivateKey:
		return k.Public()
	case ed25519.PrivateKey:
		return k.Public()
	}
	panic("no key")
}

func TestOwnCertificateRefused(t *testing.T) {
	good, other := bring(t, nil, nil), bring(t, nil, nil)
	first, second := good.chain[:bytes.Index(good.chain[1:], []byte("-----BEGIN"))+1], good.chain[bytes.Index(good.chain[1:], []byte("-----BEGIN"))+1:]
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	for name, test := range map[string]struct {
		brought
		want commissioner.Code
	}{
		"good":               {good, ""},
		"without its chain":  {brought{first, good.key}, ""},
		"key and chain":      {brought{append(bytes.Clone(good.key), good.chain...), good.key}, ""},
		"P-384":              {bring(t, nil, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))), ""},
		"RSA":                {bring(t, nil, must(rsa.GenerateKey(rand.Reader, 2048))), ""},
		"any use":            {bring(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, nil), ""},
		"empty":              {brought{nil, good.key}, CodeFile},
		"no PEM":             {brought{[]byte("hello"), good.key}, CodeFile},
		"broken":             {brought{pemOf([]byte("hello")), good.key}, CodeFile},
		"endless chain":      {brought{bytes.Repeat(first, 9), good.key}, CodeFile},
		"no key":             {brought{good.chain, nil}, CodeKey},
		"another key":        {brought{good.chain, other.key}, CodeOther},
		"passphrase":         {brought{good.chain, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")}, CodeKey},
		"P-521":              {bring(t, nil, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))), CodeKey},
		"RSA of 1024 bits":   {bring(t, nil, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}), CodeKey},
		"Ed25519":            {bring(t, nil, edwards), CodeKey},
		"chain reversed":     {brought{append(bytes.Clone(second), first...), good.key}, CodeChain},
		"chain of another":   {brought{append(bytes.Clone(first), other.chain...), good.key}, CodeChain},
		"expired":            {bring(t, func(c *x509.Certificate) { c.NotAfter = birth.Add(time.Hour) }, nil), CodeExpired},
		"no names":           {bring(t, func(c *x509.Certificate) { c.DNSNames = nil }, nil), CodeUse},
		"of a person":        {bring(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil), CodeUse},
		"good, but tomorrow": {bring(t, func(c *x509.Certificate) { c.NotBefore = birth.AddDate(0, 6, 0) }, nil), ""},
	} {
		c, err := parseOwn(test.chain, test.key, birth.AddDate(0, 0, 7))
		if code(err) != test.want || (err == nil) != (c != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(test.key) > 100 && strings.Contains(err.Error(), string(test.key[40:60])) {
			t.Errorf("%s: the key is in the failure", name)
		}
	}
}

func TestServerWithOwnCertificate(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	dir := t.TempDir()
	h := &host{now: birth.Add(time.Hour), addresses: []netip.Addr{netip.MustParseAddr("192.168.1.10")}, files: Files{filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")}}
	put := func(b brought) {
		t.Helper()
		for name, text := range map[string][]byte{h.files.Chain: b.chain, h.files.Key: b.key} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, h.now, h.now); err != nil {
				t.Fatal(err)
			}
		}
		h.now = h.now.Add(lookEvery)
	}
	s := h.server(t, a)
	if c := served(t, s, "home.example.org"); code(s.Trouble()) != CodeFile || verify(a, c.Raw, "gatehouse.local", h.now) != nil {
		t.Errorf("without files: %v", s.Trouble())
	}
	if s.Named("home.example.org") {
		t.Error("a certificate that is not there has a name")
	}
	first := bring(t, nil, nil)
	put(first)
	leaf := func(b brought) []byte { block, _ := pem.Decode(b.chain); return block.Bytes }
	own := func(name string, want brought) {
		t.Helper()
		if c := served(t, s, name); !bytes.Equal(c.Raw, leaf(want)) {
			t.Errorf("%q gets the certificate of %v (trouble: %v)", name, c.DNSNames, s.Trouble())
		}
	}
	own("home.example.org", first)
	own("HOME.example.org", first)
	own("nobody.example.org", first)
	own("", first)
	if !s.Named("home.example.org") || s.Named("nobody.example.org") || s.Named("gatehouse.local") {
		t.Error("another site is taken for this one")
	}
	if s.Trouble() != nil {
		t.Error(s.Trouble())
	}
	// Who opens the name or the address that only the authority is for gets its.
	if c := served(t, s, "gatehouse.local"); verify(a, c.Raw, "gatehouse.local", h.now) != nil {
		t.Errorf("gatehouse.local gets the certificate of %v", c.DNSNames)
	}
	c, err := s.GetCertificate(&tls.ClientHelloInfo{Conn: at{"192.168.1.10"}})
	if err != nil || verify(a, c.Leaf.Raw, "192.168.1.10", h.now) != nil {
		t.Errorf("the address gets the certificate of %v", c.Leaf.DNSNames)
	}
	// Files that cannot be used change nothing.
	put(brought{first.chain, []byte("hello")})
	own("", first)
	if code(s.Trouble()) != CodeKey {
		t.Errorf("%v", s.Trouble())
	}
	second := bring(t, nil, nil)
	put(second)
	own("", second)
	if s.Trouble() != nil {
		t.Error(s.Trouble())
	}
	// Nor does it help to go on with one that has expired.
	h.now = birth.AddDate(1, 0, 0)
	if c := served(t, s, "home.example.org"); code(s.Trouble()) != CodeExpired || verify(a, c.Raw, "gatehouse.local", h.now) != nil {
		t.Errorf("expired: %v", s.Trouble())
	}
	// A clock that was ahead, and was set right.
	third := bring(t, nil, nil)
	h.now = birth.AddDate(2, 0, 0)
	put(third)
	served(t, s, "")
	if code(s.Trouble()) != CodeExpired {
		t.Errorf("%v", s.Trouble())
	}
	h.now = birth.AddDate(0, 1, 0)
	own("", third)
	if err := os.Remove(h.files.Key); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(lookEvery)
	own("", third)
	if code(s.Trouble()) != CodeKey {
		t.Errorf("%v", s.Trouble())
	}
	if err := os.WriteFile(h.files.Key, slices.Repeat([]byte{'x'}, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.files.read(h.now); code(err) != CodeKey || !strings.Contains(err.Error(), "longer") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := (Files{dir, dir}).read(h.now); code(err) != CodeFile {
		t.Errorf("a folder: %v", err)
	}
}

// at is a connection to an address.
type at struct{ address string }

func (a at) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(a.address), 443))
}
func (at) Read([]byte) (int, error)         { return 0, io.EOF }
func (at) Write([]byte) (int, error)        { return 0, io.EOF }
func (at) Close() error                     { return nil }
func (at) RemoteAddr() net.Addr             { return nil }
func (at) SetDeadline(time.Time) error      { return nil }
func (at) SetReadDeadline(time.Time) error  { return nil }
func (at) SetWriteDeadline(time.Time) error { return nil }

func TestServerAtOnce(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	h := &host{now: birth}
	s := h.server(t, a)
	h.now = h.now.AddDate(0, 3, 0)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if c, err := s.GetCertificate(&tls.ClientHelloInfo{}); err != nil || verify(a, c.Leaf.Raw, "gatehouse.local", h.now) != nil {
				t.Errorf("%v", err)
			}
			s.Trouble()
		})
	}
	all.Wait()
}

func FuzzOwnCertificate(f *testing.F) {
	b := bring(f, nil, nil)
	f.Add(b.chain, b.key)
	f.Add(b.key, b.chain)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte(nil))
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		c, err := parseOwn(chain, key, birth)
		if err != nil && code(err) == "" {
			t.Errorf("not a failure: %v", err)
		}
		if err == nil && (c.Leaf == nil || c.PrivateKey == nil || len(c.Certificate) == 0) {
			t.Error("half a certificate")
		}
	})
}
