// Package vault opens and seals the secrets of the trust state: the issuing
// authority's private key, the identity protection key (IPK), the credentials
// of networks and the secret of the list of people.
//
//	key, err := v.IssuerKey(ctx, state) // and Erase it
//	cmd, err := v.Reseal(ctx, state)    // whenever !state.SealedRight()
//
// It promises that every sealed secret is bound to its place, and that in a
// home of several gateways no data key comes out without a helper's consent: a
// helper opens its layer of an envelope for a member only and, if it is of the
// issuing key, for the leader only; and it keeps a record. It keeps no secret.
package vault

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// Use tells the two data keys apart.
type Use uint8

const (
	Issuing Use = iota + 1 // of the issuing authority's private key: for the leader
	Shared                 // of what every gateway needs
)

func (u Use) String() string {
	switch u {
	case Issuing:
		return "issuing"
	case Shared:
		return "shared"
	}
	return fmt.Sprintf("use %d", uint8(u))
}

// Vault opens secrets with one gateway's keys.
type Vault struct {
	Node cert.NodeID
	// Sealing are the gateway's sealing keys, the newest first.
	Sealing func() []seal.SealingKey
	Helpers Helpers // nil for a gateway alone
	Random  io.Reader
}

// Helpers asks another gateway to open its layer of the envelope of a data
// key. The answer is closed to this gateway still.
type Helpers interface {
	Help(ctx context.Context, helper cert.NodeID, use Use, number uint32) ([]byte, error)
}

// ErrNoHelper says that no other gateway could be asked.
var ErrNoHelper = errors.New("no other gateway helped to open the home's keys: at least one must be up")

// Purposes of what is sealed in the trust state. The number is that of the
// data keys, which were the generations' once.
const (
	purposeIssuerKey = "gatehouse issuing key, generation %d, fabric %v"
	purposeIPK       = "gatehouse identity protection key, generation %d, fabric %v"
	purposeFormerIPK = "gatehouse identity protection key of before, generation %d, fabric %v"
	purposePeople    = "gatehouse people, generation %d, fabric %v"
	purposeNetwork   = "gatehouse credentials of %v network %x, called %q, generation %d, fabric %v"
)

func networkPurpose(s *fabric.State, n *fabric.Network, number uint32) string {
	return fmt.Sprintf(purposeNetwork, n.Kind, n.ID, n.Name, number, s.Home.FabricID)
}

func peoplePurpose(s *fabric.State, number uint32) string {
	return fmt.Sprintf(purposePeople, number, s.Home.FabricID)
}

func (v *Vault) open(ctx context.Context, s *fabric.State, use Use, purpose string, blob []byte) (seal.Secret, error) {
	key, err := v.dataKey(ctx, s, use)
	if err != nil {
		return seal.Secret{}, err
	}
	defer key.Erase()
	return seal.Open(key, purpose, blob)
}

// IssuerKey opens the key of the generation that issues now. Erase it.
func (v *Vault) IssuerKey(ctx context.Context, s *fabric.State) (issuer.PrivateKey, error) {
	secret, err := v.issuerKey(ctx, s)
	if err != nil {
		return issuer.PrivateKey{}, fmt.Errorf("issuing key: %w", err)
	}
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	return issuer.ParsePrivateKey(raw)
}

func (v *Vault) issuerKey(ctx context.Context, s *fabric.State) (seal.Secret, error) {
	g := s.Generation()
	if g == nil {
		return seal.Secret{}, errNoFabric
	}
	return v.open(ctx, s, Issuing, fmt.Sprintf(purposeIssuerKey, s.DataKey(), s.Home.FabricID), g.Key)
}

// IPK opens the identity protection key.
func (v *Vault) IPK(ctx context.Context, s *fabric.State) (cert.EpochKey, error) {
	secret, err := v.ipk(ctx, s)
	if err != nil {
		return cert.EpochKey{}, fmt.Errorf("identity protection key: %w", err)
	}
	return epochKey(secret)
}

// FormerIPK opens that of the fabric of before a change of the root.
func (v *Vault) FormerIPK(ctx context.Context, s *fabric.State) (cert.EpochKey, error) {
	secret, err := v.formerIPK(ctx, s)
	if err != nil {
		return cert.EpochKey{}, fmt.Errorf("identity protection key of before: %w", err)
	}
	return epochKey(secret)
}

// epochKey makes a key of a secret, which it erases.
func epochKey(secret seal.Secret) (cert.EpochKey, error) {
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	if len(raw) != cert.GroupKeyLength {
		return cert.EpochKey{}, errors.New("identity protection key: wrong length")
	}
	return cert.NewEpochKey([cert.GroupKeyLength]byte(raw)), nil
}

func (v *Vault) formerIPK(ctx context.Context, s *fabric.State) (seal.Secret, error) {
	if s.Former == nil {
		return seal.Secret{}, errors.New("the home has no other fabric")
	}
	return v.open(ctx, s, Shared, fmt.Sprintf(purposeFormerIPK, s.DataKey(), s.Home.FabricID), s.Former.IPK)
}

func (v *Vault) ipk(ctx context.Context, s *fabric.State) (seal.Secret, error) {
	if s.Generation() == nil {
		return seal.Secret{}, errNoFabric
	}
	return v.open(ctx, s, Shared, fmt.Sprintf(purposeIPK, s.DataKey(), s.Home.FabricID), s.Home.IPK)
}

// SealNetwork seals a network's credentials, and fills in what is sealed and
// the number of the data key.
func (v *Vault) SealNetwork(ctx context.Context, s *fabric.State, n *fabric.Network, credentials seal.Secret) error {
	if s.Generation() == nil {
		return errNoFabric
	}
	key, err := v.dataKey(ctx, s, Shared)
	if err != nil {
		return err
	}
	defer key.Erase()
	n.DataKey = s.DataKey()
	n.Sealed, err = v.close(s, key, networkPurpose(s, n, n.DataKey), credentials)
	return err
}

// OpenNetwork opens a network's credentials. Erase them.
func (v *Vault) OpenNetwork(ctx context.Context, s *fabric.State, n *fabric.Network) (seal.Secret, error) {
	secret, err := v.open(ctx, s, Shared, networkPurpose(s, n, n.DataKey), n.Sealed)
	if err != nil {
		return seal.Secret{}, fmt.Errorf("network %q: %w", n.Name, err)
	}
	return secret, nil
}

// SealPeople seals the secret of the list of people. number is that of the data
// key.
func (v *Vault) SealPeople(ctx context.Context, s *fabric.State, secret seal.Secret) (sealed []byte, number uint32, err error) {
	if s.Generation() == nil {
		return nil, 0, errNoFabric
	}
	key, err := v.dataKey(ctx, s, Shared)
	if err != nil {
		return nil, 0, err
	}
	defer key.Erase()
	number = s.DataKey()
	sealed, err = v.close(s, key, peoplePurpose(s, number), secret)
	return sealed, number, err
}

// OpenPeople opens it. Erase it.
func (v *Vault) OpenPeople(ctx context.Context, s *fabric.State) (seal.Secret, error) {
	if s.People == nil {
		return seal.Secret{}, errors.New("the home has no list of people")
	}
	secret, err := v.open(ctx, s, Shared, peoplePurpose(s, s.DataKey()), s.People.Key)
	if err != nil {
		return seal.Secret{}, fmt.Errorf("people: %w", err)
	}
	return secret, nil
}

var errNoFabric = errors.New("there is no fabric")

// close seals a secret of a State under a data key.
func (v *Vault) close(s *fabric.State, key seal.Secret, purpose string, secret seal.Secret) ([]byte, error) {
	plain := secret.Reveal()
	defer clear(plain)
	return seal.Suite(s.SealSuite()).Secrets().Seal(v.Random, key, purpose, plain)
}
