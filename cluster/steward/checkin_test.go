package steward

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

type ledger struct{ Ledger }

func (ledger) State() *fabric.State { return new(fabric.State) }

type people struct{ Vault }

func (people) OpenPeople(context.Context, *fabric.State) (seal.Secret, error) {
	return seal.NewSecret(bytes.Repeat([]byte{1}, 32)), nil
}

// TestCheckInKeys has keys that an HKDF of the specification's text gave, in
// Python: devices have such keys, so they stay what they are.
func TestCheckInKeys(t *testing.T) {
	a := &Authority{Ledger: ledger{}, Vault: people{}}
	names := []fabric.CheckInKey{{Node: cert.NodeID(7), Epoch: 70}, {Node: 7, Epoch: 71}, {Node: 8, Epoch: 70}}
	keys, err := a.CheckInKeys(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"7e3f32ce8c4e92f63636a1951efe53b6", "17cd947cca10035eba9d68969d064b51", "9b5b272a7cbda78e6a760b396edc848a"} {
		if got := hex.EncodeToString(keys[i].Reveal()); got != want {
			t.Errorf("%+v: %s, not %s", names[i], got, want)
		}
	}
}
