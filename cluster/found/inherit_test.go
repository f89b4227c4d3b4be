package found

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// TestInherit founds homes on a fabric that there is.
func TestInherit(t *testing.T) {
	long := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, published := range []bool{true, false} {
		old, err := issuer.NewFabric(rand.Reader, issuer.Params{FabricID: 2, Birth: long})
		if err != nil {
			t.Fatal(err)
		}
		secret, ipk := old.RootKey.Reveal(), old.IPK.Reveal()
		c := config(t, new(logged))
		c.Inherit = &Inheritance{FabricID: 2, Root: old.RCAC, RootKey: old.RootKey, Import: fabric.Import{Controller: 112233, Published: published},
			Devices: []fabric.Inherited{{Node: 1, Name: "lamp"}, {Node: 2}}}
		if !published {
			c.Inherit.IPK = old.IPK
		}
		if _, err := Found(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		l, keys := reopened(t, c)
		s := l.State()
		if s.Home.FabricID != 2 || !bytes.Equal(s.Home.Root, old.RCAC) || s.Home.Birth != long.UnixMilli() || s.Import.Controller != 112233 || len(s.Devices) != 2 ||
			s.Devices[1].Terms != fabric.ForeignTerms || s.Devices[1].Gateway != keys.Node {
			t.Errorf("%+v", s)
		}
		root, err := Root(s.Home.Root)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := root.Verify(s.Gateways[keys.Node].NOC, s.Generation().ICAC, cert.At(now)); err != nil || n.NodeID != keys.Node || len(n.CATs) != 1 {
			t.Errorf("the gateway: %+v, %v", n, err)
		}
		v := &vault.Vault{Node: keys.Node, Sealing: func() []seal.SealingKey { return keys.Sealing }}
		own, err := v.IPK(t.Context(), s)
		if err != nil || (own.Reveal() == ipk) == published || own.Reveal() == [cert.GroupKeyLength]byte{} {
			t.Errorf("published %v, and the home's key is the old one %v: %v", published, own.Reveal() == ipk, err)
		}
		if kit := opened(t, c.Kit); !bytes.Equal(kit.Key.Reveal(), secret) || !bytes.Equal(kit.Root, old.RCAC) || kit.FabricID != 2 || !kit.Made.Equal(now.Truncate(time.Second)) {
			t.Error("the kit is not the root's")
		}
		if old.RootKey.Reveal() != nil {
			t.Error("the root's key was not erased")
		}
	}
}

// TestInheritRefused leaves nothing behind.
func TestInheritRefused(t *testing.T) {
	one, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: now})
	if err != nil {
		t.Fatal(err)
	}
	other, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: now})
	if err != nil {
		t.Fatal(err)
	}
	for what, i := range map[string]Inheritance{
		"another root's key": {FabricID: 2, Root: one.RCAC, RootKey: other.RootKey, IPK: one.IPK},
		"no key":             {FabricID: 2, Root: one.RCAC, IPK: one.IPK},
		"no root":            {FabricID: 2, RootKey: one.RootKey, IPK: one.IPK},
		"no IPK":             {FabricID: 2, Root: one.RCAC, RootKey: one.RootKey},
	} {
		c := config(t, new(logged))
		i.Import.Controller = 112233
		c.Inherit = &i
		if _, err := Found(t.Context(), c); err == nil {
			t.Errorf("%s: founded", what)
		}
	}
}
