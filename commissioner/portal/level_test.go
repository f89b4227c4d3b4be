package portal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// behind is a ledger that knows less than there is.
type behind struct{ known, current *fabric.State }

func (b behind) State() *fabric.State { return b.known }

func (b behind) Current(context.Context) (*fabric.State, error) {
	if b.current == nil {
		return nil, errors.New("no gateway leads")
	}
	return b.current, nil
}

func (behind) Propose(context.Context, fabric.Command) (*fabric.State, error) {
	return nil, errors.New("a list changes nothing")
}

func TestLevel(t *testing.T) {
	old := &fabric.State{Index: 7}
	fresh := &fabric.State{Index: 9, Devices: map[cert.NodeID]*fabric.Device{1: {Node: 1, Name: "lamp", Phase: fabric.Reserved}}}
	log := slog.New(slog.DiscardHandler)
	manager, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	for _, test := range []struct {
		query   string
		current *fabric.State
		status  int
		index   uint64
		code    commissioner.Code
	}{
		{"", fresh, 200, 7, ""},
		{"?level=local", nil, 200, 7, ""},
		{"?level=linearizable", fresh, 200, 9, ""},
		{"?level=linearizable", nil, 503, 0, "not-current"},
		{"?level=eventual", fresh, 400, 0, commissioner.CodeInvalidArgument},
	} {
		com := commissioner.New(commissioner.Config{Ledger: behind{old, test.current}, Manager: manager,
			Identity: func() *securechannel.Identity { return new(securechannel.Identity) }, Addresses: commissioner.OpenAddressBook(filepath.Join(t.TempDir(), "book"), log)})
		p := &Portal{C: com, K: keeper.New(com), Log: log}
		for _, list := range []struct {
			name string
			h    handler
		}{{"devices", p.devices}, {"gateways", p.gateways}} {
			if list.name == "gateways" && test.status == 200 {
				continue // it takes a whole gateway: a script asks one
			}
			w := httptest.NewRecorder()
			if err := list.h(w, httptest.NewRequest("GET", "/api/v1/"+list.name+test.query, nil)); err != nil {
				p.fail(w, err)
			}
			var got struct {
				Devices
				Error *commissioner.Failure
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			switch {
			case w.Code != test.status || got.Index != test.index || test.status == 200 && len(got.Devices.Devices) != int(test.index-7)/2:
				t.Errorf("%s%s: status %d, index %d, %d devices", list.name, test.query, w.Code, got.Index, len(got.Devices.Devices))
			case test.code != "" && (got.Error == nil || got.Error.Code != test.code || got.Error.Remedy == ""):
				t.Errorf("%s%s: %+v", list.name, test.query, got.Error)
			}
		}
	}
}
