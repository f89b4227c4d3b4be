package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

// helpTime bounds the asking of one helper, who may be unplugged.
const helpTime = 2 * time.Second

const (
	purposeEnvelope = "gatehouse data key for %v, number %d, fabric %v, gateway %v, helper %v"
	helpersLayer    = ", outer layer"
	// purposeFirst is version 1's: one key for all, closed to the only gateway.
	purposeFirst = "gatehouse data key, generation %d, fabric %v"
)

func envelopePurpose(s *fabric.State, use Use, number uint32, gateway, helper cert.NodeID) string {
	return fmt.Sprintf(purposeEnvelope, use, number, s.Home.FabricID, gateway, helper)
}

func envelopes(s *fabric.State, use Use) []fabric.Envelope {
	if use == Issuing {
		return s.Keyring.Issuing
	}
	return s.Keyring.Shared
}

// dataKey opens one of the data keys, with a helper if it takes one.
func (v *Vault) dataKey(ctx context.Context, s *fabric.State, use Use) (seal.Secret, error) {
	if s.Generation() == nil {
		return seal.Secret{}, errNoFabric
	}
	if s.Keyring == nil {
		g := s.Generation()
		return v.unwrap(fmt.Sprintf(purposeFirst, g.Number, s.Home.FabricID), g.DataKeys[v.Node])
	}
	var failed error
	asked := false
	for _, e := range envelopes(s, use) {
		if e.Gateway != v.Node {
			continue
		}
		blob, err := e.Blob, error(nil)
		if e.Helper != 0 {
			asked = true
			blob, err = v.ask(ctx, e.Helper, use, s.Keyring.Number)
		}
		var key seal.Secret
		if err == nil {
			key, err = v.unwrap(envelopePurpose(s, use, s.Keyring.Number, v.Node, e.Helper), blob)
		}
		if err == nil {
			return key, nil
		}
		failed = errors.Join(failed, err)
	}
	switch {
	case failed == nil:
		return seal.Secret{}, fmt.Errorf("no envelope of the %v data key is for gateway %v", use, v.Node)
	case asked:
		return seal.Secret{}, fmt.Errorf("%w: %w", ErrNoHelper, failed)
	}
	return seal.Secret{}, failed
}

func (v *Vault) ask(ctx context.Context, helper cert.NodeID, use Use, number uint32) ([]byte, error) {
	if v.Helpers == nil {
		return nil, errors.New("nobody can be asked")
	}
	ctx, cancel := context.WithTimeout(ctx, helpTime)
	defer cancel()
	return v.Helpers.Help(ctx, helper, use, number)
}

// unwrap opens an envelope's layer with whichever sealing key it is for.
func (v *Vault) unwrap(purpose string, blob []byte) (key seal.Secret, err error) {
	err = seal.ErrOpen
	for _, k := range v.Sealing() {
		if key, err = k.Unwrap(purpose, blob); err == nil {
			return key, nil
		}
	}
	return seal.Secret{}, err
}

// wrap closes a data key to a gateway and then to its helper.
func wrap(s *fabric.State, use Use, number uint32, a fabric.Addressee, key seal.Secret) (fabric.Envelope, error) {
	purpose := envelopePurpose(s, use, number, a.Gateway, a.Helper)
	blob, err := seal.Wrap(a.GatewayKey, purpose, key)
	if err == nil && a.Helper != 0 {
		inner := seal.NewSecret(blob)
		blob, err = seal.Wrap(a.HelperKey, purpose+helpersLayer, inner)
	}
	return fabric.Envelope{Gateway: a.Gateway, Helper: a.Helper, To: a.To(), Blob: blob}, err
}

// ErrRefused says that this gateway does not help the one who asked.
var ErrRefused = errors.New("this gateway does not help with that")

// Help opens this gateway's layer of the envelope of a data key for another
// gateway. What comes out is closed to who asked. leader is who leads, as far
// as this gateway knows.
func (v *Vault) Help(s *fabric.State, asker, leader cert.NodeID, use Use, number uint32) ([]byte, error) {
	g := s.Gateways[asker]
	switch {
	case g == nil || !g.Member() || asker == v.Node:
		return nil, fmt.Errorf("%w: %v is not another member", ErrRefused, asker)
	case s.Keyring == nil || s.Keyring.Number != number:
		return nil, fmt.Errorf("%w: data keys %d are not those in use here", ErrRefused, number)
	case use != Issuing && use != Shared:
		return nil, fmt.Errorf("%w: there is no such key", ErrRefused)
	case use == Issuing && asker != leader:
		return nil, fmt.Errorf("%w: %v does not lead, and only the leader issues", ErrRefused, asker)
	}
	all := envelopes(s, use)
	i := slices.IndexFunc(all, func(e fabric.Envelope) bool { return e.Gateway == asker && e.Helper == v.Node })
	if i < 0 {
		return nil, fmt.Errorf("%w: there is no envelope for %v", ErrRefused, asker)
	}
	inner, err := v.unwrap(envelopePurpose(s, use, number, asker, v.Node)+helpersLayer, all[i].Blob)
	if err != nil {
		return nil, err
	}
	return inner.Reveal(), nil // it is no secret: closed to who asked
}
