package portal

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"gatehouse/commissioner"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// TestForMember holds that nothing is changed for a gateway that was evicted,
// though this one has not heard of that; nor for one that only says so.
func TestForMember(t *testing.T) {
	member := &fabric.State{Gateways: map[cert.NodeID]*fabric.Gateway{0: {NOC: []byte("noc")}}} // 0 is who asks over no wire
	for _, test := range []struct {
		name      string
		forwarded bool
		current   *fabric.State
		done      bool
		code      commissioner.Code
	}{
		{"asked here", false, nil, true, ""},
		{"a member", true, member, true, ""},
		{"evicted", true, &fabric.State{}, false, "gateway-evicted"},
		{"no leader", true, nil, false, commissioner.CodeCommit},
	} {
		p := &Portal{C: commissioner.New(commissioner.Config{Ledger: behind{member, test.current}})}
		done := false
		h := p.forMember(func(http.ResponseWriter, *http.Request) error { done = true; return nil })
		r := httptest.NewRequest("DELETE", "/api/v1/devices/1", nil)
		if test.forwarded {
			r.Header.Set(forwarded, "00000000000000A1")
		}
		err := h(httptest.NewRecorder(), r)
		var code commissioner.Code
		if err != nil {
			code = commissioner.Explain(err, commissioner.CodeInternal).Code
		}
		if done != test.done || code != test.code {
			t.Errorf("%s: done %v, code %q", test.name, done, code)
		}
	}
}
