package wire

import (
	"testing"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// knows has a gateway know others by the keys of these certificates.
func knows(t *testing.T, ids ...*Identity) func(*Config) {
	keys := map[cert.NodeID]cert.PublicKey{}
	for _, id := range ids {
		c, err := cert.Parse(id.NOC)
		if err != nil {
			t.Fatal(err)
		}
		keys[id.Node] = c.PublicKey
	}
	return func(c *Config) {
		c.Known = func(n cert.NodeID) (cert.PublicKey, bool) { key, ok := keys[n]; return key, ok }
	}
}

// TestForgedMember: who has taken the authority's key can make a certificate
// for a gateway's node id, and is not let in with it.
func TestForgedMember(t *testing.T) {
	h := newHome(t, 1)
	one, two := h.identity(1), h.identity(2)
	g1 := h.gateway(one, knows(t, one, two))
	g2 := h.gateway(two, knows(t, one, two))
	if err := dialRaft(g2, 1); err != nil {
		t.Errorf("the real one: %v", err)
	}
	key, err := issuer.GenerateKey(seeded(99))
	if err != nil {
		t.Fatal(err)
	}
	forged := h.identity(2, func(r *issuer.Reservation) { r.PublicKey = key.PublicKey() })
	forged.Key = key
	thief := h.gateway(forged, func(*Config) {})
	if err := dialRaft(thief, 1); err == nil {
		t.Error("a forged certificate for a gateway's node id is let in")
	}
	g1.log.eventually(t, "has another key")
	wants(t, dialRaft(g1, 2), "has another key") // the thief took its place on the network
}

// TestOtherRoot: gateways that know each other's keys talk, also while one has
// heard of a new root and the other has not; a stranger below the other root
// is let in by nobody.
func TestOtherRoot(t *testing.T) {
	h, anew := newHome(t, 1), newHome(t, 2)
	anew.fabric.FabricID = h.fabric.FabricID
	f, err := issuer.NewFabric(seeded(3), issuer.Params{Birth: birth, FabricID: h.fabric.FabricID, Generation: 2})
	if err != nil {
		t.Fatal(err)
	}
	anew.fabric, anew.root = f, rootOf(t, f.RCAC)
	behind, ahead, stranger := h.identity(1), anew.identity(2), anew.identity(3)
	g1 := h.gateway(behind, knows(t, behind, ahead))
	g2 := h.gateway(ahead, knows(t, behind, ahead))
	for from, to := range map[*gateway]cert.NodeID{g1: 2, g2: 1} {
		if err := dialRaft(from, to); err != nil {
			t.Errorf("gateway %v reaches %v: %v", from.node, to, err)
		}
	}
	if err := dialRaft(h.gateway(stranger), 1); err == nil {
		t.Error("another root vouches for a stranger")
	}
}
