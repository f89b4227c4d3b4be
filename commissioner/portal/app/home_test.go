package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/login"
	"gatehouse/commissioner/portal/webpki"
	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// evil is a name that would run, if it were not written as text.
const evil = `<script>alert("x")</script>'"&{}`

// acts are the portal's, by their names there.
var acts = map[string]door.Act{
	"free": {Need: door.Nothing}, "known": {Need: door.Known}, "look": {Need: door.Look}, "operate": {Need: door.Operate}, "arrange": {Need: door.Arrange},
	"approve": {Need: door.Approve}, "admit": {Need: door.Approve}, "review": {Need: door.Review}, "administer": {Need: door.Administer}, "part": {Need: door.Administer},
	"critical": {Need: door.Administer}, "self": {Need: door.Self}, "personal": {Need: door.Self}, "own": {Need: door.Own},
}

// api is a home in memory, whose routes and what they take are the portal's own.
type api struct {
	mux     *http.ServeMux
	answers map[string]any // by pattern: what it answers, or a func(*http.Request) any
	routes  map[string]door.Act
}

var routeLine = regexp.MustCompile(`\{"([A-Z]+ /api/[^"]+)", (\w+), `)

func newAPI(t testing.TB, devices int) *api {
	t.Helper()
	source, err := os.ReadFile("../routes.go")
	if err != nil {
		t.Fatal(err)
	}
	a := &api{mux: http.NewServeMux(), answers: answers(devices), routes: make(map[string]door.Act)}
	for _, m := range routeLine.FindAllStringSubmatch(string(source), -1) {
		act, ok := acts[m[2]]
		if !ok {
			t.Fatalf("the test does not know the act %s", m[2])
		}
		a.routes[m[1]] = act
		a.mux.HandleFunc(m[1], a.answer(m[1], act))
	}
	if len(a.routes) < 70 {
		t.Fatalf("only %d routes were found", len(a.routes))
	}
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

func (a *api) answer(pattern string, act door.Act) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := door.From(r.Context())
		if err := who.May(act, 0); err != nil {
			refuse(w, http.StatusForbidden, err)
			return
		}
		v, ok := a.answers[pattern]
		if f, is := v.(func(http.ResponseWriter, *http.Request) any); is {
			v = f(w, r)
		}
		switch v := v.(type) {
		case nil:
			if !ok {
				refuse(w, http.StatusNotFound, commissioner.Fail(commissioner.CodeUnknownDevice, nil))
			}
		case error:
			refuse(w, http.StatusForbidden, v)
		default:
			json.NewEncoder(w).Encode(v)
		}
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": commissioner.Explain(err, commissioner.CodeInternal)})
}

// someone is who has a role; 0: a stranger.
func someone(role fabric.Role) door.Who {
	if role == 0 {
		return door.Who{}
	}
	return door.Who{Kind: door.Session, Person: "p1", Name: evil, Role: role, Limit: role, Pass: "pass1", Fresh: true}
}

// node is the id of a device of the tests.
func node(i int) string { return cert.NodeID(0xD000 + uint64(i)).String() }

// device is one of many kinds.
func device(i int, now time.Time) (portal.Device, portal.DeviceState) {
	yes := true
	d := portal.Device{Node: node(i), Name: fmt.Sprintf("Lamp %d", i), Zone: []string{"home", "guests"}[i%2], Room: []string{"Kitchen", "Hall", ""}[i%3], Phase: "admitted", AdmittedAt: &now,
		Address: "fd00::1", Owner: "00000000000000A1", Reachable: &yes, Serial: "47000001", Facts: fabric.Facts{VendorID: 0xFFF1, ProductID: 0x8001, VendorName: "Acme", ProductName: "Light", SoftwareString: "1.0"}}
	values := map[string]json.RawMessage{"1/6/0": json.RawMessage(strconv.FormatBool(i%2 == 0)), "1/29/0": json.RawMessage(`[{"0":257,"1":3}]`)}
	if i%3 == 0 {
		values["1/8/0"] = json.RawMessage("127")
	}
	s := portal.DeviceState{Node: d.Node, Available: i%7 != 6, Heard: &now, Values: values}
	switch i {
	case 0:
		d.Name, d.Room, d.Zone, d.Facts.VendorName, d.Attested.Exception = evil, evil, evil, evil, evil
		values["2/1026/0"], values["2/1029/0"], values["3/69/0"], values["4/257/0"], values["5/1030/0"] = json.RawMessage("2150"), json.RawMessage("4100"), json.RawMessage("true"), json.RawMessage("2"), json.RawMessage("1")
	case 1:
		d.Standing = &portal.Standing{Verdict: "quarantine", Since: now, Update: "2.0", Deadline: &now, Reasons: []fabric.FirmwareReason{{Code: "firmware-recalled", Text: evil}}}
	case 2:
		d.Standing = &portal.Standing{Verdict: "admit", Since: now, Update: evil}
	case 3:
		d.Phase, d.AdmittedAt = "issued", nil
	}
	return d, s
}

// answers are what the home says.
func answers(devices int) map[string]any {
	now := time.UnixMilli(1_800_000_000_000).UTC()
	list, states := portal.Devices{Index: 9}, portal.DeviceStates{}
	for i := range devices {
		d, s := device(i, now)
		list.Devices = append(list.Devices, d)
		if i != 5 { // which said nothing yet
			states.States = append(states.States, s)
		}
	}
	index := func(r *http.Request) int {
		for i := range devices {
			if r.PathValue("node") == node(i) {
				return i
			}
		}
		return -1
	}
	one := func(_ http.ResponseWriter, r *http.Request) any {
		if i := index(r); i >= 0 {
			return list.Devices[i]
		}
		return error(commissioner.Fail(commissioner.CodeUnknownDevice, nil))
	}
	state := func(_ http.ResponseWriter, r *http.Request) any { _, s := device(max(0, index(r)), now); return s }
	session := func(r *http.Request) portal.Session {
		who := door.From(r.Context())
		s := portal.Session{Person: who.Person, Name: who.Name, Role: who.Role.String(), May: []string{}}
		for n := door.Look; n <= door.Administer; n++ {
			if who.May(door.Act{Need: n}, 0) == nil {
				s.May = append(s.May, n.String())
			}
		}
		return s
	}
	passes := []portal.Pass{{ID: "pass1", Name: "Safari on iPhone", Role: "administrator", Since: now, This: true}, {ID: "pass2", Name: evil, Role: "guest", Since: now}, {ID: "pass3", Name: evil, Token: true, Role: "resident", Since: now}}
	return map[string]any{
		"GET /api/v1/session": func(_ http.ResponseWriter, r *http.Request) any { return session(r) },
		"GET /api/v1/account": func(_ http.ResponseWriter, r *http.Request) any {
			return portal.Account{Session: session(r), Factors: door.Factors{Password: true, Passkeys: []login.Item{{Name: evil, Added: now}}, Authenticators: []login.Item{{Name: evil, Added: now}}, RecoveryCodes: 3}, Passes: passes, Button: true}
		},
		"GET /api/v1/status":               portal.Status{Home: evil, Devices: devices, Index: 9},
		"GET /api/v1/devices":              list,
		"GET /api/v1/states":               states,
		"GET /api/v1/devices/{node}":       one,
		"GET /api/v1/devices/{node}/state": state,
		"GET /api/v1/hooks":                portal.Hooks{Hooks: []portal.Hook{{Name: "pager", Host: "192.168.1.9", Signed: true}, {Name: evil, Host: evil}}},
		"GET /api/v1/zones":                portal.Zones{Zones: []portal.Zone{{Name: "home", Devices: 3}, {Name: evil}}},
		"GET /api/v1/networks":             portal.Networks{Networks: []portal.Network{{Name: evil, Kind: "wifi", ID: evil, Preferred: true, SetAt: now}, {Name: "mesh", Kind: "thread", ID: "dead00beef00cafe", SetAt: now}}},
		"GET /api/v1/mode":                 portal.Mode{Required: true},
		"GET /api/v1/gateways": portal.Gateways{Gateways: []portal.Gateway{{Node: "00000000000000A1", Name: evil, Self: true, Leader: true, Role: "voter", Keys: "tpm2"}, {Node: "00000000000000A2", Name: "attic", Role: "learner", Keys: "file", AwaySeconds: 12},
			{Node: "00000000000000A3", Name: "new", Role: "joining", Keys: evil}}, Trusting: list.Devices[:min(1, devices)], Exposed: []string{evil}},
		"GET /api/v1/firmware": portal.Firmware{Policy: fabric.FirmwarePolicy{Recalled: fabric.RefuseDevice}, Sources: []portal.FirmwareSource{{Name: "acme", Where: evil, Title: evil, Expires: &now, Products: 3, Error: evil}}, Records: 2, Oldest: &now, LedgerError: evil},
		"GET /api/v1/firmware/rollouts": portal.Rollouts{Rollouts: []portal.Rollout{{Image: "ab12", Product: "FFF1/8001", Name: evil, Stage: "waiting", Devices: []portal.RolloutDevice{{Node: node(1), Name: evil, Why: evil}}},
			{Image: "cd34", Product: "FFF1/8002", Name: "2", Stage: "first"}, {Image: "ef56", Product: "FFF1/8003", Name: "2", Stage: "rest"}, {Image: "0078", Product: "FFF1/8004", Name: "2", Stage: "stopped", Why: evil}}},
		"GET /api/v1/people":   portal.People{People: []portal.Person{{ID: "p1", Name: evil, Role: "administrator", Since: now, Passes: passes}, {ID: "p2", Name: "Rosa", Role: "resident", Since: now, Passes: passes[1:]}}, Exposed: true},
		"GET /api/v1/approval": portal.Approval{Role: "administrator"},
		"GET /api/v1/audit":    trailOf(120),
	}
}

// trailOf is an audit trail of so many records, every tenth about device 1.
func trailOf(size uint64) func(http.ResponseWriter, *http.Request) any {
	return func(w http.ResponseWriter, r *http.Request) any {
		q := r.URL.Query()
		number := func(name string, otherwise uint64) uint64 {
			if n, err := strconv.ParseUint(q.Get(name), 10, 64); err == nil {
				return n
			}
			return otherwise
		}
		next, taken := number("after", ^uint64(0))+1, uint64(0)
		for ; next < size && taken < number("limit", 100); next++ {
			record := audit.Record{Index: next, Time: 1_800_000_000_000, What: "zone-added", Zone: evil, For: evil}
			if next%10 == 0 {
				record = audit.Record{Index: next, Time: 1_800_000_000_000, What: "command-refused", Refused: "device-known", Device: 0xD001, By: 0xA1}
			}
			if q.Get("device") == "" || record.Device != 0 {
				w.Write(append(record.Append(nil), '\n'))
				taken++
			}
		}
		return portal.Audit{Size: size, Next: next}
	}
}

// newApp is an App over a home with so many devices.
func newApp(t testing.TB, devices int) (*App, *api) {
	t.Helper()
	key, err := webpki.KeyFrom(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := webpki.NewAuthority("villa", time.UnixMilli(1_800_000_000_000), []string{"gatehouse.local"}, key, strings.NewReader(strings.Repeat("x", 64)))
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, devices)
	return New(Config{API: a, Authority: func() *webpki.Authority { return authority }, Log: slog.New(slog.DiscardHandler)}), a
}

// get is what a person gets.
func (a *App) get(role fabric.Role, path string) *httptest.ResponseRecorder {
	return a.do(role, httptest.NewRequest(http.MethodGet, "https://gatehouse.local"+path, nil))
}

func (a *App) do(role fabric.Role, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r.WithContext(door.With(context.WithoutCancel(r.Context()), someone(role))))
	return w
}
