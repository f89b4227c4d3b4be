package portal

import (
	"errors"
	"fmt"
	"net/http"

	"gatehouse/commissioner"
	"gatehouse/fabric"
)

// Levels of a list: GET devices?level=linearizable.
const (
	// LevelLocal is what this gateway knows, at once and whoever leads. It may
	// be behind.
	LevelLocal = "local"
	// LevelLinearizable is no older than the request, or a failure: not-current
	// where most gateways cannot be reached.
	LevelLinearizable = "linearizable"
)

// atLevel is the trust state at the level that the request names, by default
// the local one.
func (p *Portal) atLevel(r *http.Request) (*fabric.State, error) {
	switch level := r.URL.Query().Get("level"); level {
	case "", LevelLocal:
		return p.C.Ledger.State(), nil
	case LevelLinearizable:
		s, err := p.C.Ledger.Current(r.Context())
		if err != nil {
			return nil, &commissioner.Failure{Code: codeNotCurrent, Message: fmt.Sprintf("what is current cannot be told now (%v)", err),
				Remedy: "switch on the home's other gateways and connect them, or ask for the local level: what this one knew last"}
		}
		return s, nil
	default:
		return nil, invalid(errors.New("the level is neither local nor linearizable"))
	}
}

const codeNotCurrent commissioner.Code = "not-current"
