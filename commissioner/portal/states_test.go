package portal

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/nodes"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// TestStates tells of all devices what a list shows, and no more.
func TestStates(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	manager, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	state := &fabric.State{Devices: map[cert.NodeID]*fabric.Device{1: {Node: 1, Phase: fabric.Admitted}, 2: {Node: 2, Phase: fabric.Admitted}}}
	com := commissioner.New(commissioner.Config{Ledger: behind{state, state}, Manager: manager, Now: time.Now, Random: rand.Reader, Log: log,
		Addresses: commissioner.OpenAddressBook(filepath.Join(t.TempDir(), "addresses.json"), log)})
	p := &Portal{C: com, K: keeper.New(com), Log: log}
	yes, err := tlv.Marshal(true)
	if err != nil {
		t.Fatal(err)
	}
	here := true
	change := nodes.Change{Node: 1, Full: true, Available: &here}
	for _, path := range []nodes.Path{{Endpoint: 1, Cluster: 6}, {Endpoint: 1, Cluster: 6, Attribute: 0x4000}, {Endpoint: 0, Cluster: 29}, {Endpoint: 2, Cluster: 0x402}, {Endpoint: 2, Cluster: 3}} {
		change.Values = append(change.Values, nodes.Value{Path: path, Data: yes})
	}
	p.K.Nodes.Apply(change)
	w := httptest.NewRecorder()
	ForLocal(p.allowed(look, p.deviceStates)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/states", nil))
	var got DeviceStates
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.States) != 1 {
		t.Fatalf("%s, %v", w.Body, err)
	}
	s := got.States[0]
	if s.Node != "0000000000000001" || !s.Available || len(s.Values) != 2 || string(s.Values["1/6/0"]) != "true" || s.Values["2/1026/0"] == nil {
		t.Errorf("%+v", s)
	}
}

// TestTypedCode tells what a code is that was typed, or what is wrong with it.
func TestTypedCode(t *testing.T) {
	p := &Portal{C: commissioner.New(commissioner.Config{Ledger: behind{&fabric.State{}, nil}}), Codes: qr.NewReader(1), Log: slog.New(slog.DiscardHandler)}
	for text, want := range map[string]string{" 3497-011-2332\n": `"discriminator":"`, "MT:Y.K9042C00KA0648G00": `"vendor_id":65521`, "3497-011-2333": `"code":"code-checksum"`, "": `"code":"code-empty"`,
		strings.Repeat("7", 2*maxCodeText): `"code":"code-`} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/codes", strings.NewReader(text))
		r.Header.Set("Content-Type", "text/plain; charset=utf-8")
		w := httptest.NewRecorder()
		ForLocal(p.allowed(approve, p.readCodes)).ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) || strings.HasPrefix(want, `"code"`) == (w.Code == http.StatusOK) {
			t.Errorf("%.40q: %d, %s", text, w.Code, w.Body)
		}
	}
}

// deadlines is a browser that tells until when it may be written to.
type deadlines struct {
	bytes.Buffer
	at time.Time
}

func (d *deadlines) Header() http.Header                 { return http.Header{} }
func (d *deadlines) WriteHeader(int)                     {}
func (d *deadlines) Flush()                              {}
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.at = at; return nil }

// TestEventsLast holds that a stream outlives the time for one write: HTTP/2 ends
// streams whose deadline passes, though nothing is written.
func TestEventsLast(t *testing.T) {
	d := new(deadlines)
	s := &eventStream{w: d, control: http.NewResponseController(d)}
	if s.send("home", HomeEvent{7}); s.err != nil || !d.at.IsZero() || d.Len() == 0 {
		t.Errorf("after an event the stream ends at %v, %v", d.at, s.err)
	}
}
