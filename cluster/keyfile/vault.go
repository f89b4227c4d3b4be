package keyfile

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// Vault opens the trust state's secrets with a gateway's keys.
type Vault struct{ Keys Keys }

// Purposes of what is sealed in the trust state. %d is the generation.
const (
	purposeDataKey   = "gatehouse data key, generation %d, fabric %v"
	purposeIssuerKey = "gatehouse issuing key, generation %d, fabric %v"
	purposeIPK       = "gatehouse identity protection key, generation %d, fabric %v"
	purposeNetwork   = "gatehouse credentials of %v network %x, called %q, generation %d, fabric %v"
)

func bind(format string, generation uint32, f cert.FabricID) string {
	return fmt.Sprintf(format, generation, f)
}

// dataKey unwraps the key that a generation's secrets are sealed with.
func (v *Vault) dataKey(f cert.FabricID, g *fabric.Generation) (seal.Secret, error) {
	wrapped := g.DataKeys[v.Keys.Node]
	if wrapped == nil {
		return seal.Secret{}, fmt.Errorf("generation %d is not wrapped to gateway %v", g.Number, v.Keys.Node)
	}
	return v.Keys.Sealing[0].Unwrap(bind(purposeDataKey, g.Number, f), wrapped)
}

func (v *Vault) open(s *fabric.State, format string, blob []byte) (seal.Secret, error) {
	g := s.Generation()
	if g == nil {
		return seal.Secret{}, errors.New("there is no fabric")
	}
	key, err := v.dataKey(s.Home.FabricID, g)
	if err != nil {
		return seal.Secret{}, err
	}
	defer key.Erase()
	return seal.Open(key, bind(format, g.Number, s.Home.FabricID), blob)
}

// IssuerKey opens the key of the generation that issues now. Erase it.
func (v *Vault) IssuerKey(s *fabric.State) (issuer.PrivateKey, error) {
	g := s.Generation()
	if g == nil {
		return issuer.PrivateKey{}, errors.New("there is no fabric")
	}
	secret, err := v.open(s, purposeIssuerKey, g.Key)
	if err != nil {
		return issuer.PrivateKey{}, fmt.Errorf("issuing key: %w", err)
	}
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	return issuer.ParsePrivateKey(raw)
}

// IPK opens the identity protection key.
func (v *Vault) IPK(s *fabric.State) (cert.EpochKey, error) {
	secret, err := v.open(s, purposeIPK, s.Home.IPK)
	if err != nil {
		return cert.EpochKey{}, fmt.Errorf("identity protection key: %w", err)
	}
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	if len(raw) != cert.GroupKeyLength {
		return cert.EpochKey{}, errors.New("identity protection key: wrong length")
	}
	return cert.NewEpochKey([cert.GroupKeyLength]byte(raw)), nil
}

// networkPurpose binds credentials to their network: no other can be given them.
func networkPurpose(s *fabric.State, n *fabric.Network) string {
	return fmt.Sprintf(purposeNetwork, n.Kind, n.ID, n.Name, n.DataKey, s.Home.FabricID)
}

// SealNetwork seals a network's credentials with the data key of the
// generation that issues now, and fills both in.
func (v *Vault) SealNetwork(random io.Reader, s *fabric.State, n *fabric.Network, credentials seal.Secret) error {
	g := s.Generation()
	if g == nil {
		return errors.New("there is no fabric")
	}
	key, err := v.dataKey(s.Home.FabricID, g)
	if err != nil {
		return err
	}
	defer key.Erase()
	n.DataKey = g.Number
	plain := credentials.Reveal()
	defer clear(plain)
	n.Sealed, err = seal.Seal(random, key, networkPurpose(s, n), plain)
	return err
}

// OpenNetwork opens a network's credentials. Erase them.
func (v *Vault) OpenNetwork(s *fabric.State, n *fabric.Network) (seal.Secret, error) {
	i := slices.IndexFunc(s.Generations, func(g fabric.Generation) bool { return g.Number == n.DataKey })
	if i < 0 {
		return seal.Secret{}, fmt.Errorf("network %q: there is no generation %d any more", n.Name, n.DataKey)
	}
	key, err := v.dataKey(s.Home.FabricID, &s.Generations[i])
	if err != nil {
		return seal.Secret{}, fmt.Errorf("network %q: %w", n.Name, err)
	}
	defer key.Erase()
	secret, err := seal.Open(key, networkPurpose(s, n), n.Sealed)
	if err != nil {
		return seal.Secret{}, fmt.Errorf("network %q: %w", n.Name, err)
	}
	return secret, nil
}

// SealGeneration seals a generation's secrets with a new data key, wrapped to
// one gateway. It returns the sealed IPK and fills in the generation.
func SealGeneration(random io.Reader, f cert.FabricID, g *fabric.Generation, key issuer.PrivateKey, ipk cert.EpochKey, gateway cert.NodeID, public []byte) ([]byte, error) {
	data, err := seal.RandomSecret(random)
	if err != nil {
		return nil, err
	}
	defer data.Erase()
	raw := key.Reveal()
	defer clear(raw)
	if g.Key, err = seal.Seal(random, data, bind(purposeIssuerKey, g.Number, f), raw); err != nil {
		return nil, err
	}
	wrapped, err := seal.Wrap(public, bind(purposeDataKey, g.Number, f), data)
	if err != nil {
		return nil, err
	}
	g.DataKeys = map[cert.NodeID][]byte{gateway: wrapped}
	epoch := ipk.Reveal()
	defer clear(epoch[:])
	return seal.Seal(random, data, bind(purposeIPK, g.Number, f), epoch[:])
}
