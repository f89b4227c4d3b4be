package portal

import (
	"net/http"

	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

// Sealing is how the home's secrets rest.
type Sealing struct {
	Suite   seal.Suite `json:"suite"`   // of algorithms, to be sealed with
	Newest  seal.Suite `json:"newest"`  // that this release knows
	Secrets string     `json:"secrets"` // what they are sealed with now
	// Gateways have sealing keys, which the keys to the secrets are closed to.
	Gateways []SealingKey `json:"gateways"`
	Kit      string       `json:"kit,omitempty"` // what the recovery kit's key is for
	Done     bool         `json:"done"`          // all of it is sealed with the suite, but for the kit
}

// SealingKey is what a gateway's sealing key is for.
type SealingKey struct {
	Node      string `json:"node_id"`
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
}

func (p *Portal) sealing(w http.ResponseWriter, r *http.Request) error {
	return reply(w, sealing(p.M.State()))
}

func sealing(s *fabric.State) Sealing {
	suite := seal.Suite(s.SealSuite())
	v := Sealing{Suite: suite, Newest: seal.NewestSuite, Secrets: seal.AES256GCM.String(), Gateways: []SealingKey{}, Done: s.SealedRight()}
	if s.Keyring != nil {
		v.Secrets = seal.Suite(max(s.Keyring.Suite, 1)).Secrets().String()
	}
	for _, g := range s.Members() {
		a := seal.AlgorithmOf(g.SealKey)
		v.Gateways = append(v.Gateways, SealingKey{g.Node.String(), g.Name, a.String()})
		v.Done = v.Done && a == suite.Envelopes()
	}
	if s.Home.Recovery != nil {
		v.Kit = seal.AlgorithmOf(s.Home.Recovery).String()
	}
	return v
}

// rotateSealing goes to the newest suite of algorithms.
func (p *Portal) rotateSealing(w http.ResponseWriter, r *http.Request) error {
	s := p.M.State()
	if s.SealSuite() < uint8(seal.NewestSuite) {
		var err error
		if s, err = p.propose(r, fabric.Command{RotateSealing: &fabric.RotateSealing{Suite: uint8(seal.NewestSuite)}}); err != nil {
			return err
		}
	}
	return reply(w, sealing(s))
}
