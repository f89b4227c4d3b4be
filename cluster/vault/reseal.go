package vault

import (
	"context"
	"fmt"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// Secrets are all that the trust state holds sealed.
type Secrets struct {
	IssuerKey seal.Secret
	IPK       seal.Secret
	Networks  map[string]seal.Secret // by name
	// Former is the IPK of the fabric of before a change of the root; nil if
	// there is none.
	Former *seal.Secret
	// People is the secret of the list of people; nil if there is none.
	People *seal.Secret
}

// Erase overwrites them.
func (x *Secrets) Erase() {
	x.IssuerKey.Erase()
	x.IPK.Erase()
	for _, n := range x.Networks {
		n.Erase()
	}
	for _, secret := range []*seal.Secret{x.Former, x.People} {
		if secret != nil {
			secret.Erase()
		}
	}
}

// Founding are the secrets of a home that is about to be founded.
func Founding(key issuer.PrivateKey, ipk cert.EpochKey) *Secrets {
	raw, epoch := key.Reveal(), ipk.Reveal()
	defer clear(raw)
	defer clear(epoch[:])
	return &Secrets{IssuerKey: seal.NewSecret(raw), IPK: seal.NewSecret(epoch[:])}
}

// Reseal is the command that seals the secrets of a State anew, with new data
// keys, for the gateways it has now.
func (v *Vault) Reseal(ctx context.Context, s *fabric.State) (*fabric.Reseal, error) {
	x, err := v.Open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("seal the home's secrets anew: %w", err)
	}
	defer x.Erase()
	return v.Seal(s, s.DataKey()+1, x)
}

// Open opens all the secrets of a State. Erase them.
func (v *Vault) Open(ctx context.Context, s *fabric.State) (x *Secrets, err error) {
	x = &Secrets{Networks: make(map[string]seal.Secret)}
	if x.IssuerKey, err = v.issuerKey(ctx, s); err != nil {
		return nil, err
	}
	if x.IPK, err = v.ipk(ctx, s); err != nil {
		x.Erase()
		return nil, err
	}
	if s.Former != nil {
		former, err := v.formerIPK(ctx, s)
		if err != nil {
			x.Erase()
			return nil, err
		}
		x.Former = &former
	}
	if s.People != nil {
		people, err := v.OpenPeople(ctx, s)
		if err != nil {
			x.Erase()
			return nil, err
		}
		x.People = &people
	}
	for name, n := range s.Networks {
		if x.Networks[name], err = v.OpenNetwork(ctx, s, n); err != nil {
			x.Erase()
			return nil, err
		}
	}
	return x, nil
}

// Seal is the command that seals secrets for the gateways of a State, with
// data keys of a number that was never used.
func (v *Vault) Seal(s *fabric.State, number uint32, x *Secrets) (*fabric.Reseal, error) {
	var keys [2]seal.Secret
	for i := range keys {
		var err error
		if keys[i], err = seal.RandomSecret(v.Random); err != nil {
			return nil, err
		}
		defer keys[i].Erase()
	}
	issuing, shared := keys[0], keys[1]
	c := &fabric.Reseal{Keyring: fabric.Keyring{Number: number, Suite: s.Suite}, Networks: make(map[string][]byte)}
	if s.Generation() != nil { // there is something sealed already
		c.Of = s.Sealed()
	}
	var err error
	if c.IssuerKey, err = v.close(s, issuing, fmt.Sprintf(purposeIssuerKey, number, s.Home.FabricID), x.IssuerKey); err != nil {
		return nil, err
	}
	if c.IPK, err = v.close(s, shared, fmt.Sprintf(purposeIPK, number, s.Home.FabricID), x.IPK); err != nil {
		return nil, err
	}
	if x.Former != nil {
		if c.Former, err = v.close(s, shared, fmt.Sprintf(purposeFormerIPK, number, s.Home.FabricID), *x.Former); err != nil {
			return nil, err
		}
	}
	if x.People != nil {
		if c.People, err = v.close(s, shared, peoplePurpose(s, number), *x.People); err != nil {
			return nil, err
		}
	}
	for name, secret := range x.Networks {
		if c.Networks[name], err = v.close(s, shared, networkPurpose(s, s.Networks[name], number), secret); err != nil {
			return nil, err
		}
	}
	forIssuing, forShared := s.Addressees()
	if c.Keyring.Issuing, err = wrapAll(s, Issuing, number, forIssuing, issuing); err != nil {
		return nil, err
	}
	c.Keyring.Shared, err = wrapAll(s, Shared, number, forShared, shared)
	return c, err
}

func wrapAll(s *fabric.State, use Use, number uint32, to []fabric.Addressee, key seal.Secret) (all []fabric.Envelope, err error) {
	for _, a := range to {
		e, err := wrap(s, use, number, a, key)
		if err != nil {
			return nil, fmt.Errorf("close the %v data key to gateway %v: %w", use, a.Gateway, err)
		}
		all = append(all, e)
	}
	return all, nil
}
