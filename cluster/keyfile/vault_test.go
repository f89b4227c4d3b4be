package keyfile

import (
	"bytes"
	"errors"
	"testing"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// TestVault opens what was sealed, and nothing that was put elsewhere.
func TestVault(t *testing.T) {
	k := keys(t, 1)
	key, err := issuer.GenerateKey(seeded(7))
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := cert.RandomEpochKey(seeded(8))
	if err != nil {
		t.Fatal(err)
	}
	generation := fabric.Generation{Number: 1}
	ipk, err := SealGeneration(seeded(9), 5, &generation, key, epoch, k.Node, k.Sealing[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	state := func() *fabric.State {
		return &fabric.State{Home: fabric.Home{FabricID: 5, IPK: ipk}, Generations: []fabric.Generation{generation}}
	}
	v := Vault{Keys: k}
	gotKey, err1 := v.IssuerKey(state())
	gotIPK, err2 := v.IPK(state())
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(gotKey.Reveal(), key.Reveal()) || gotIPK.Reveal() != epoch.Reveal() {
		t.Errorf("other secrets came out: %v", err)
	}
	for what, spoil := range map[string]func(*fabric.State, *Vault){
		"another fabric":      func(s *fabric.State, _ *Vault) { s.Home.FabricID++ },
		"another generation":  func(s *fabric.State, _ *Vault) { s.Generations[0].Number++ },
		"no generation":       func(s *fabric.State, _ *Vault) { s.Generations = nil },
		"one for another":     func(s *fabric.State, _ *Vault) { s.Home.IPK, s.Generations[0].Key = s.Generations[0].Key, s.Home.IPK },
		"another gateway":     func(_ *fabric.State, v *Vault) { v.Keys = keys(t, 2) },
		"another sealing key": func(_ *fabric.State, v *Vault) { v.Keys.Sealing = keys(t, 2).Sealing },
		"nothing sealed":      func(s *fabric.State, _ *Vault) { s.Home.IPK, s.Generations[0].Key = nil, nil },
	} {
		s, v := state(), Vault{Keys: k}
		s.Generations = append([]fabric.Generation(nil), s.Generations...)
		spoil(s, &v)
		if _, err := v.IssuerKey(s); err == nil {
			t.Errorf("%s: the issuing key opens", what)
		}
		if _, err := v.IPK(s); err == nil {
			t.Errorf("%s: the IPK opens", what)
		}
	}
}

// TestNetwork opens a network's credentials as that network's only.
func TestNetwork(t *testing.T) {
	k := keys(t, 1)
	key, err := issuer.GenerateKey(seeded(7))
	if err != nil {
		t.Fatal(err)
	}
	generation := fabric.Generation{Number: 1}
	if _, err := SealGeneration(seeded(9), 5, &generation, key, cert.EpochKey{}, k.Node, k.Sealing[0].Public()); err != nil {
		t.Fatal(err)
	}
	s := &fabric.State{Home: fabric.Home{FabricID: 5}, Generations: []fabric.Generation{generation}}
	v := Vault{Keys: k}
	n := fabric.Network{Name: "attic", Kind: fabric.WiFi, ID: []byte("ssid")}
	if err := v.SealNetwork(seeded(3), s, &n, seal.NewSecret([]byte("password"))); err != nil {
		t.Fatal(err)
	}
	if got, err := v.OpenNetwork(s, &n); err != nil || string(got.Reveal()) != "password" {
		t.Errorf("opened as something else, %v", err)
	}
	if bytes.Contains(n.Sealed, []byte("password")) {
		t.Error("it is not sealed")
	}
	for what, spoil := range map[string]func(*fabric.Network){
		"another name":       func(n *fabric.Network) { n.Name = "cellar" },
		"another SSID":       func(n *fabric.Network) { n.ID = []byte("evil twin") },
		"another kind":       func(n *fabric.Network) { n.Kind = fabric.Thread },
		"another generation": func(n *fabric.Network) { n.DataKey = 2 },
		"nothing sealed":     func(n *fabric.Network) { n.Sealed = nil },
	} {
		spoilt := n
		spoil(&spoilt)
		if _, err := v.OpenNetwork(s, &spoilt); err == nil {
			t.Errorf("%s: it opens", what)
		}
	}
	stranger := Vault{Keys: keys(t, 2)}
	if _, err := stranger.OpenNetwork(s, &n); err == nil {
		t.Error("another gateway's keys open it")
	}
}
