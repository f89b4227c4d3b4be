package webpki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatehouse/commissioner"
)

var (
	birth   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	domains = []string{"gatehouse.local", "gatehouse.home.arpa"}
	secret  = []byte("0123456789abcdef0123456789abcdef")
)

func newAuthority(t testing.TB, home string) *Authority {
	t.Helper()
	k, err := KeyFrom(secret)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAuthority(home, birth, domains, k, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func code(err error) commissioner.Code {
	var f *commissioner.Failure
	if errors.As(err, &f) {
		if f.Message == "" || f.Remedy == "" {
			return "failure without words"
		}
		return f.Code
	}
	return ""
}

// The key of a secret is what phones trust: it must never come out otherwise.
// The points were computed apart from this code, with HKDF and the curve written
// out in Python.
func TestKeyFrom(t *testing.T) {
	for in, want := range map[string]string{
		"0123456789abcdef0123456789abcdef": "041d92e1ad7810319d810ddcf4bc25ea",
		"another secret of some length":    "047ee6093bf220c6dd1b372390a4baee",
	} {
		k, err := KeyFrom([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		again, _ := KeyFrom([]byte(in))
		public, err := k.key().PublicKey.Bytes()
		if err != nil || !k.key().Equal(again.key()) {
			t.Fatalf("twice derived it differs (%v)", err)
		}
		if got := hex.EncodeToString(public[:16]); got != want {
			t.Errorf("of %q came %s, want %s", in, got, want)
		}
	}
	if _, err := KeyFrom(secret[:15]); err == nil {
		t.Error("a short secret makes a key")
	}
}

// Candidates that are zero, the group's order or more are left out, not reduced.
func TestKeyIsDrawnAnew(t *testing.T) {
	order, _ := hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	below := new(big.Int).Sub(new(big.Int).SetBytes(order), big.NewInt(1)).Bytes()
	above := new(big.Int).Add(new(big.Int).SetBytes(order), big.NewInt(1)).Bytes()
	candidates := [][]byte{make([]byte, 32), order, above, bytes.Repeat([]byte{0xff}, 32), below, {31: 1}}
	drawn := 0
	k, err := firstKey(func(i int) ([]byte, error) {
		if i != drawn {
			t.Errorf("candidate %d instead of %d", i, drawn)
		}
		drawn++
		return bytes.Clone(candidates[i]), nil
	})
	if err != nil || drawn != 5 {
		t.Fatalf("%d candidates were drawn, %v", drawn, err)
	}
	if raw, err := k.key().Bytes(); err != nil || !bytes.Equal(raw, below) {
		t.Errorf("not the largest key there is (%v)", err)
	}
	if _, err := firstKey(func(int) ([]byte, error) { return make([]byte, 32), nil }); err == nil {
		t.Error("a source of zeroes makes a key")
	}
	if _, err := firstKey(func(int) ([]byte, error) { return nil, errors.New("broken") }); err == nil {
		t.Error("a broken source makes a key")
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	var b bytes.Buffer
	type holder struct {
		K Key
		k Key
		A *Authority
	}
	h := holder{a.key, a.key, a}
	for _, v := range []any{a.key, &a.key, h, &h, a, *a} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
	}
	text, err := json.Marshal(h.K)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(text)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "k", a.key, "h", h)
	d := new(big.Int).SetBytes(must(a.key.key().Bytes()))
	raw := d.Bytes()
	for _, as := range []string{d.String(), d.Text(16), hex.EncodeToString(raw[:8]), strings.Trim(fmt.Sprint(raw[:8]), "[]"), string(raw[:8]), fmt.Sprintf("%X", raw[:8])} {
		if strings.Contains(b.String(), as) {
			t.Fatalf("the key is printed as %.10q…", as)
		}
	}
	if !strings.Contains(b.String(), redacted) {
		t.Error("nothing was printed")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAuthority(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	c := a.cert
	switch {
	case c.Subject.CommonName != "Gatehouse · Lindenhof" || c.Issuer.String() != c.Subject.String():
		t.Errorf("it is called %v, by %v", c.Subject, c.Issuer)
	case !c.IsCA || !c.MaxPathLenZero || c.MaxPathLen != 0 || !c.BasicConstraintsValid:
		t.Error("it is no authority, or one for others")
	case c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign:
		t.Errorf("it is for %b", c.KeyUsage)
	case !c.PermittedDNSDomainsCritical || strings.Join(c.PermittedDNSDomains, " ") != strings.Join(domains, " ") || len(c.PermittedIPRanges) != 8:
		t.Errorf("its names are %v, %v", c.PermittedDNSDomains, c.PermittedIPRanges)
	case !c.NotBefore.Equal(birth.Add(-24*time.Hour)) || !c.NotAfter.Equal(birth.AddDate(20, 0, 0)):
		t.Errorf("good from %v to %v", c.NotBefore, c.NotAfter)
	case c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() != 127:
		t.Errorf("serial number %v", c.SerialNumber)
	}
	again, err := OpenAuthority(a.DER(), a.key)
	if err != nil || again.Fingerprint() != a.Fingerprint() {
		t.Error(err)
	}
	other := must(KeyFrom([]byte("another secret of some length")))
	if _, err := OpenAuthority(a.DER(), other); err == nil {
		t.Error("opened with another key")
	}
	if _, err := OpenAuthority(a.DER(), Key{}); err == nil {
		t.Error("opened without a key")
	}
	if _, err := OpenAuthority(a.DER()[1:], a.key); err == nil {
		t.Error("opened what is no certificate")
	}
	leaf := must(a.Leaf(domains, nil, When{Now: birth}, rand.Reader))
	if _, err := OpenAuthority(leaf.Certificate[0], a.key); err == nil {
		t.Error("opened a server's certificate")
	}
}

func TestAuthorityNames(t *testing.T) {
	for home, want := range map[string]string{
		"":                        "Gatehouse",
		"  \x00\n":                "Gatehouse",
		"Villa \u202eB\x1b[31m":   "Gatehouse · Villa B[31m",
		"\xff\xfe":                "Gatehouse",
		strings.Repeat("ä", 1000): "Gatehouse · " + strings.Repeat("ä", 25),
		strings.Repeat("x", 1000): "Gatehouse · " + strings.Repeat("x", 40),
		"十二把鑰匙放在門口石頭下十二把鑰匙放在門口石頭下": "Gatehouse · 十二把鑰匙放在門口石頭下十二把鑰匙",
	} {
		got := newAuthority(t, home).Name()
		if got != want || len(got) > 64 || !utf8.ValidString(got) {
			t.Errorf("%.20q is called %q", home, got)
		}
	}
	k := must(KeyFrom(secret))
	for _, bad := range []string{"", "example.com", "local", ".local", "gatehouse.local.example.com", "Gatehouse.local", "*.local", "gate house.local",
		"-a.local", "a-.local", "a..local", "192.168.1.1", "gätehouse.local", strings.Repeat("a", 64) + ".local", strings.Repeat("a.", 200) + "local"} {
		if _, err := NewAuthority("x", birth, []string{"gatehouse.local", bad}, k, rand.Reader); code(err) != CodeDomain {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	if _, err := NewAuthority("x", birth, nil, k, rand.Reader); err == nil {
		t.Error("an authority for every name")
	}
	if _, err := NewAuthority("x", birth, domains, k, strings.NewReader("short")); err == nil {
		t.Error("without randomness")
	}
}

var hostAddresses = []netip.Addr{netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("fd00::10"), netip.MustParseAddr("fe80::10%eth0"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}

// verify is what a phone that trusts the authority does.
func verify(a *Authority, der []byte, host string, at time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at})
	return err
}

func TestLeaf(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	now := birth.AddDate(3, 0, 0)
	leaf := must(a.Leaf([]string{"gatehouse.local", "kitchen.gatehouse.local"}, hostAddresses, When{Now: now}, rand.Reader))
	for _, host := range []string{"gatehouse.local", "kitchen.gatehouse.local", "192.168.1.10", "fd00::10", "fe80::10", "127.0.0.1", "::1"} {
		if err := verify(a, leaf.Certificate[0], host, now); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"hall.gatehouse.local", "gatehouse.home.arpa", "192.168.1.11", "example.com"} {
		if verify(a, leaf.Certificate[0], host, now) == nil {
			t.Errorf("%s is believed", host)
		}
	}
	c := leaf.Leaf
	switch {
	case c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth:
		t.Error("it is for more than a server")
	case !c.NotBefore.Equal(now.Add(-24*time.Hour)) || !c.NotAfter.Equal(now.Add(90*24*time.Hour)):
		t.Errorf("good from %v to %v", c.NotBefore, c.NotAfter)
	case c.SerialNumber.Sign() <= 0:
		t.Errorf("serial number %v", c.SerialNumber)
	}
	if other := must(a.Leaf(domains, nil, When{Now: now}, rand.Reader)); bytes.Equal(other.Leaf.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) {
		t.Error("two certificates have one key")
	}
}

func TestLeafTimes(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	const day = 24 * time.Hour
	built := birth.AddDate(2, 0, 0)
	end := birth.AddDate(20, 0, 0)
	for name, test := range map[string]struct {
		when     When
		from, to time.Time
	}{
		"at birth":                  {When{birth, time.Time{}}, birth.Add(-day), birth.Add(90 * day)},
		"clock of 1970":             {When{time.Unix(0, 0), time.Time{}}, birth.Add(-day), birth.Add(396 * day)},
		"clock of 1970, floor":      {When{time.Unix(0, 0), built}, built.Add(-day), built.Add(396 * day)},
		"clock a second before it":  {When{built.Add(-time.Second), built}, built.Add(-day), built.Add(396 * day)},
		"floor before birth":        {When{birth.Add(time.Hour), time.Unix(0, 0)}, birth.Add(time.Hour - day), birth.Add(time.Hour + 90*day)},
		"clock of 2106":             {When{time.Unix(1<<32-1, 0), built}, built.Add(-day), built.Add(396 * day)},
		"in the authority's last":   {When{end.Add(-day), built}, end.Add(-2 * day), end},
		"a moment before its birth": {When{birth.Add(-time.Minute), time.Time{}}, birth.Add(-day), birth.Add(396 * day)},
	} {
		leaf, err := a.Leaf(domains, nil, test.when, rand.Reader)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := leaf.Leaf
		if !c.NotBefore.Equal(test.from) || !c.NotAfter.Equal(test.to) {
			t.Errorf("%s: good from %v to %v", name, c.NotBefore, c.NotAfter)
		}
		if c.NotAfter.Sub(c.NotBefore) > 397*day || c.NotBefore.Before(a.cert.NotBefore) || c.NotAfter.After(a.cert.NotAfter) {
			t.Errorf("%s: good for longer than anybody takes", name)
		}
	}
	if _, err := a.Leaf(domains, nil, When{end.Add(day), end.Add(day)}, rand.Reader); err == nil {
		t.Error("an authority that has expired signs")
	}
}

func TestLeafRefused(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	many := func(n int) (names []string, ips []netip.Addr) {
		for i := range n {
			names, ips = append(names, fmt.Sprintf("n%d.gatehouse.local", i)), append(ips, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		}
		return names, ips
	}
	manyNames, _ := many(17)
	_, manyIPs := many(33)
	for name, test := range map[string]struct {
		names []string
		ips   []string
	}{
		"nothing":         {},
		"of the internet": {names: []string{"example.com"}},
		"another local":   {names: []string{"other.local"}},
		"ends alike":      {names: []string{"notgatehouse.local"}},
		"wildcard":        {names: []string{"*.gatehouse.local"}},
		"capitals":        {names: []string{"Gatehouse.local"}},
		"not ASCII":       {names: []string{"kü.gatehouse.local"}},
		"public address":  {ips: []string{"8.8.8.8"}},
		"public IPv6":     {ips: []string{"2001:4860:4860::8888"}},
		"mapped":          {ips: []string{"::ffff:8.8.8.8"}},
		"just outside":    {ips: []string{"172.32.0.1"}},
		"unspecified":     {ips: []string{"0.0.0.0"}},
		"too many names":  {names: manyNames},
	} {
		var ips []netip.Addr
		for _, ip := range test.ips {
			ips = append(ips, netip.MustParseAddr(ip))
		}
		if _, err := a.Leaf(test.names, ips, When{Now: birth}, rand.Reader); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
	if _, err := a.Leaf(nil, manyIPs, When{Now: birth}, rand.Reader); err == nil {
		t.Error("too many addresses were signed")
	}
	if _, err := a.Leaf(nil, []netip.Addr{{}}, When{Now: birth}, rand.Reader); err == nil {
		t.Error("no address was signed")
	}
	if _, err := a.Leaf(domains, nil, When{Now: birth}, strings.NewReader("short")); err == nil {
		t.Error("signed without randomness")
	}
}

// forged signs with the authority's key what Leaf refuses to sign.
func forged(t *testing.T, a *Authority, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: birth, NotAfter: birth.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	change(template)
	return must(x509.CreateCertificate(rand.Reader, template, a.cert, a.key.key().Public(), a.key.key()))
}

// Even with its key nobody makes a phone believe in more than the home's page:
// so say crypto/x509 and OpenSSL.
func TestConstraintsHold(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	dir := t.TempDir()
	authority := filepath.Join(dir, "authority.pem")
	if err := os.WriteFile(authority, a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("OpenSSL is not asked: it is not installed")
	}
	for name, test := range map[string]struct {
		host   string
		change func(*x509.Certificate)
		good   bool
	}{
		"page":        {"gatehouse.local", func(c *x509.Certificate) { c.DNSNames = []string{"gatehouse.local"} }, true},
		"below it":    {"a.b.gatehouse.local", func(c *x509.Certificate) { c.DNSNames = []string{"a.b.gatehouse.local"} }, true},
		"address":     {"10.9.8.7", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 9, 8, 7).To4()} }, true},
		"IPv6":        {"fdab::1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("fdab::1")} }, true},
		"internet":    {"example.com", func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }, false},
		"both":        {"gatehouse.local", func(c *x509.Certificate) { c.DNSNames = []string{"gatehouse.local", "example.com"} }, false},
		"other local": {"printer.local", func(c *x509.Certificate) { c.DNSNames = []string{"printer.local"} }, false},
		"public":      {"8.8.8.8", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(8, 8, 8, 8).To4()} }, false},
		"public IPv6": {"2001:db8::1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }, false},
		"172.32":      {"172.32.0.1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(172, 32, 0, 1).To4()} }, false},
		"for documents": {"gatehouse.local", func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{"gatehouse.local"}, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}, false},
	} {
		der := forged(t, a, test.change)
		if err := verify(a, der, test.host, birth.Add(time.Hour)); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
		if openssl == "" {
			continue
		}
		file := filepath.Join(dir, "leaf.pem")
		if err := os.WriteFile(file, pemOf(der), 0o600); err != nil {
			t.Fatal(err)
		}
		flag := "-verify_hostname"
		if _, err := netip.ParseAddr(test.host); err == nil {
			flag = "-verify_ip"
		}
		out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-attime", fmt.Sprint(birth.Add(time.Hour).Unix()), flag, test.host, "-CAfile", authority, file).CombinedOutput()
		if (err == nil) != test.good {
			t.Errorf("OpenSSL on %s: %v\n%s", name, err, out)
		}
	}
	// And no authority below it.
	below := forged(t, a, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.DNSNames = true, true, x509.KeyUsageCertSign, []string{"gatehouse.local"}
	})
	parent := must(x509.ParseCertificate(below))
	der := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(8), NotBefore: birth, NotAfter: birth.AddDate(0, 1, 0), DNSNames: []string{"gatehouse.local"}},
		parent, a.key.key().Public(), a.key.key()))
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.cert)
	between.AddCert(parent)
	if _, err := must(x509.ParseCertificate(der)).Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: birth.Add(time.Hour)}); err == nil {
		t.Error("an authority below it is believed")
	}
}

func TestOpenSSLReadsIt(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("OpenSSL is not installed")
	}
	a := newAuthority(t, "Lindenhof")
	leaf := must(a.Leaf([]string{"gatehouse.local"}, hostAddresses, When{Now: birth}, rand.Reader))
	for _, test := range []struct {
		der   []byte
		wants []string
	}{
		{a.DER(), []string{"Version: 3", "ecdsa-with-SHA256", "prime256v1", "CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "X509v3 Name Constraints: critical", "DNS:gatehouse.local",
			"IP:192.168.0.0/255.255.0.0", "IP:FC00:0:0:0:0:0:0:0/FE00:0:0:0:0:0:0:0", "TLS Web Server Authentication"}},
		{leaf.Certificate[0], []string{"CA:FALSE", "DNS:gatehouse.local, IP Address:192.168.1.10", "IP Address:FE80:0:0:0:0:0:0:10", "Digital Signature", "TLS Web Server Authentication", "X509v3 Authority Key Identifier"}},
	} {
		cmd := exec.Command(openssl, "x509", "-inform", "DER", "-noout", "-text")
		cmd.Stdin = bytes.NewReader(test.der)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range test.wants {
			if !strings.Contains(string(out), want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
}
