package portal

import (
	"fmt"
	"net/http"
	"time"

	"gatehouse/commissioner"
)

// Mode is the gateway's pairing mode.
type Mode struct {
	Open     bool       `json:"open"`
	Until    *time.Time `json:"until,omitempty"`
	Pairings int        `json:"pairings"` // going on
	Required bool       `json:"required"` // nothing is paired while it is closed
}

// OpenMode opens the pairing mode.
type OpenMode struct {
	Seconds int `json:"seconds"`
}

func (p *Portal) mode(w http.ResponseWriter, r *http.Request) error {
	until, pairings := p.C.Mode.State()
	m := Mode{Pairings: pairings, Required: p.C.Mode.Required}
	if !until.IsZero() {
		until = until.UTC()
		m.Open, m.Until = true, &until
	}
	return reply(w, m)
}

func (p *Portal) openMode(w http.ResponseWriter, r *http.Request) error {
	var req OpenMode
	if err := decode(r, &req); err != nil {
		return err
	}
	length := time.Duration(req.Seconds) * time.Second
	if length <= 0 || length > commissioner.MaxMode {
		return invalid(fmt.Errorf("the pairing mode lasts up to %v", commissioner.MaxMode))
	}
	p.C.Mode.Open(length)
	return p.mode(w, r)
}

func (p *Portal) cancelMode(w http.ResponseWriter, r *http.Request) error {
	p.C.Mode.Cancel()
	return p.mode(w, r)
}
