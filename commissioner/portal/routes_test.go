package portal

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/fabric"
)

// still is a trust state that stays as it is.
type still struct{ s *fabric.State }

func (l still) State() *fabric.State                           { return l.s }
func (l still) Current(context.Context) (*fabric.State, error) { return l.s, nil }
func (l still) Propose(context.Context, fabric.Command) (*fabric.State, error) {
	panic("nothing is to be changed")
}

// matrixFile has a line for each route: its pattern, and for everybody who may
// come whether they may, in the order of callers: y yes, 2 with a second factor
// only, - no.
var matrixFile = filepath.Join("testdata", "matrix.txt")

// callers are everybody who may come, and the role that may let devices in
// beside administrators.
var callers = []struct {
	name    string
	who     door.Who
	approve fabric.Role
}{
	{"stranger", door.Who{}, 0},
	{"guest", session(fabric.Guest), 0},
	{"resident", session(fabric.Resident), 0},
	{"auditor", session(fabric.Auditor), 0},
	{"administrator", session(fabric.Administrator), 0},
	{"resident where residents approve", session(fabric.Resident), fabric.Resident},
	{"guest's token", token(fabric.Guest), 0},
	{"resident's token", token(fabric.Resident), 0},
	{"administrator's token", token(fabric.Administrator), 0},
	{"gateway", door.Who{Kind: door.Gateway}, 0},
	{"socket", door.Who{Kind: door.Local}, 0},
}

func session(r fabric.Role) door.Who {
	return door.Who{Kind: door.Session, Person: "01", Name: "Anna", Role: r, Limit: r, Pass: "x"}
}

func token(r fabric.Role) door.Who {
	return door.Who{Kind: door.Token, Person: "01", Name: "Anna", Role: fabric.Administrator, Limit: r, Pass: "x"}
}

// TestMatrix asks for every route as everybody, with a second factor and
// without.
func TestMatrix(t *testing.T) {
	ledger := &still{&fabric.State{People: &fabric.People{}}}
	p := &Portal{C: commissioner.New(commissioner.Config{Ledger: ledger})}
	done := false
	stub := func(w http.ResponseWriter, r *http.Request) error {
		done = true
		return reply(w, Done{true})
	}
	may := func(a door.Act, who door.Who, approve fabric.Role) bool {
		ledger.s = &fabric.State{People: &fabric.People{Approve: approve}}
		done = false
		w := httptest.NewRecorder()
		p.allowed(a, stub)(w, httptest.NewRequest("GET", "/", nil).WithContext(door.With(t.Context(), who)))
		if refused := w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden; refused == done || w.Code != http.StatusOK && !refused {
			t.Fatalf("%+v: done %v, answered %d", who, done, w.Code)
		}
		return done
	}
	var lines []string
	for _, route := range append(p.routes(), route{pattern: "GET /metrics", act: review}, route{pattern: "GET /ble", act: proxying}) {
		line := []byte(nil)
		for _, c := range callers {
			fresh := c.who
			fresh.Fresh = true
			switch {
			case may(route.act, c.who, c.approve):
				line = append(line, 'y')
				if !may(route.act, fresh, c.approve) {
					t.Errorf("%s: a second factor shuts %s out", route.pattern, c.name)
				}
			case c.who.Kind == door.Session && may(route.act, fresh, c.approve):
				line = append(line, '2')
			default:
				line = append(line, '-')
			}
		}
		lines = append(lines, string(line)+" "+route.pattern)
	}
	want, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), lines); d != "" {
		t.Errorf("who may do what is held in %s; have a look, and change it by hand:\n%s", matrixFile, d)
	}
}

// TestStrangers: what needs nobody is to come in, and nothing else.
func TestStrangers(t *testing.T) {
	want := []string{"POST /api/v1/login", "POST /api/v1/login/passkey/question", "POST /api/v1/login/passkey", "POST /api/v1/welcome/question", "POST /api/v1/welcome"}
	var got []string
	for _, r := range new(Portal).routes() {
		if r.act.Need == door.Nothing {
			got = append(got, r.pattern)
		}
		if r.act.Need == 0 {
			t.Errorf("%s says nothing of who may", r.pattern)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("strangers may %q", got)
	}
}

func TestGuarded(t *testing.T) {
	p := &Portal{C: commissioner.New(commissioner.Config{Ledger: &still{&fabric.State{}}})}
	for _, c := range []struct {
		body string
		role fabric.Role
		want int
	}{
		{`{"path":"1/6/2"}`, fabric.Guest, 200},
		{`{"path":"0x1/0x6/2"}`, fabric.Guest, 200},
		{`{"path":"1/257/0"}`, fabric.Guest, 403},
		{`{"path":"1/257/0"}`, fabric.Resident, 200},
		{`{"path":"0/62/10"}`, fabric.Resident, 403},
		{`{"path":"0x0/62/10"}`, fabric.Resident, 403},
		{`{"path":"00/62/10"}`, fabric.Resident, 403},
		{`{"path":"1/6/2","path":"0/62/10"}`, fabric.Resident, 403},
		{`{"path":"1/6/2","PATH":"0/62/10"}`, fabric.Resident, 403},
		{`{"path":"1/30/0"}`, fabric.Resident, 403},
		{`{"path":"0/62/10"}`, fabric.Administrator, 200},
		{`{"path":"*/6/2"}`, fabric.Administrator, 400},
		{`nonsense`, fabric.Administrator, 400},
	} {
		var got string
		w := httptest.NewRecorder()
		h := p.allowed(operate, p.guarded(func(w http.ResponseWriter, r *http.Request) error {
			var req InvokeRequest
			if err := decode(r, &req); err != nil {
				return err
			}
			got = req.Path
			return nil
		}))
		h(w, httptest.NewRequest("POST", "/", strings.NewReader(c.body)).WithContext(door.With(t.Context(), session(c.role))))
		if w.Code != c.want || (c.want == 200) != (got != "") {
			t.Errorf("%v: %s: %d, done to %q", c.role, c.body, w.Code, got)
		}
	}
}
