package cert

import "testing"

// BenchmarkVerify is what a CASE handshake pays for the peer's chain.
func BenchmarkVerify(b *testing.B) {
	c := newChain(b, nil)
	noc, icac := c.noc.TLV(), c.icac.TLV()
	when := At(birth)
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			root := &Authority{cert: c.rcac, key: &c.rootKey.PublicKey}
			if _, err := root.Verify(noc, icac, when); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("intermediate known", func(b *testing.B) {
		root, err := NewRoot(c.rcac)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := root.Verify(noc, icac, when); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(noc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tbs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.noc.TBS(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
