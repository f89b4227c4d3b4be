package cluster

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// silent are gateways that do not answer, and who was asked.
type silent struct{ asked []string }

func (s *silent) Do(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, r.URL.Host)
	return nil, errors.New("nobody is there")
}

// TestNoVoteBeforeSealing holds that a gateway for which the secrets are not
// sealed yet is not even considered for a vote: it might come to lead, and who
// leads must open them.
func TestNoVoteBeforeSealing(t *testing.T) {
	const one, two = cert.NodeID(0xA), cert.NodeID(0xB)
	envelopes := []fabric.Envelope{{Gateway: two}}
	for name, test := range map[string]struct {
		keyring *fabric.Keyring
		asked   []string
	}{
		"version 1":      {nil, []string{one.String(), two.String()}},
		"for nobody":     {&fabric.Keyring{}, nil},
		"for one of two": {&fabric.Keyring{Issuing: envelopes, Shared: envelopes}, []string{two.String()}},
		"half":           {&fabric.Keyring{Shared: envelopes}, nil},
	} {
		var peers silent
		c := &Cluster{cfg: Config{Peers: &peers}}
		if err := c.promote(t.Context(), &fabric.State{Keyring: test.keyring}, []cert.NodeID{one, two}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(peers.asked, test.asked) {
			t.Errorf("sealed %s: %v were asked, not %v", name, peers.asked, test.asked)
		}
	}
}
