package portal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio/thread/otbr"
)

// agent is an old otbr-agent with one node. It counts how often it collected.
func agent(t *testing.T) (*otbr.Client, *atomic.Int32) {
	t.Helper()
	collected := new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/node":
			io.WriteString(w, `{"State":4,"ExtAddress":"524346077901b890","NetworkName":"Lab","Rloc16":17408,"ExtPanId":"a1b2c3d4e5f60708"}`)
		case "/diagnostics":
			collected.Add(1)
			io.WriteString(w, `[{"ExtAddress":"524346077901b890","Rloc16":17408}]`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	c, err := otbr.NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c, collected
}

// assisted is Home Assistant with the right to look, on a connection of its own.
func assisted(t *testing.T, url string) (ask func(command, args string), next func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() }) // before the server ends, which waits for it
	next = func() string {
		t.Helper()
		_, b, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ask = func(command, args string) {
		t.Helper()
		if err := ws.Write(ctx, websocket.MessageText, []byte(`{"message_id":"1","command":"`+command+`","args":`+args+`}`)); err != nil {
			t.Fatal(err)
		}
	}
	next() // the greeting
	ask("start_listening", "{}")
	next()
	return ask, next
}

// identified is a gateway's identity, as far as Home Assistant is told of it.
func identified(t *testing.T) func() *securechannel.Identity {
	t.Helper()
	f, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	rcac, err := cert.Parse(f.RCAC)
	if err != nil {
		t.Fatal(err)
	}
	root, err := cert.NewRoot(rcac)
	if err != nil {
		t.Fatal(err)
	}
	return func() *securechannel.Identity { return &securechannel.Identity{Fabric: f.FabricID, Root: root} }
}

// TestMeshAssistant has Home Assistant ask for what a border router's network
// says of itself; another that did not is told nothing.
func TestMeshAssistant(t *testing.T) {
	router, collected := agent(t)
	ctx, cancel := context.WithCancel(t.Context())
	var passed atomic.Int64
	mesh := NewMesh(ctx, func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }, slog.New(slog.DiscardHandler), router)
	defer mesh.Close()
	defer cancel()
	url := assist(t, mesh)
	ask, next := assisted(t, url)
	other, heard := assisted(t, url)
	const batch = `{"extPanIdHex":"A1B2C3D4E5F60708","networkName":"Lab","collectedAt":0,"source":"otbr-rest","nodes":[{"extMacAddress":"524346077901B890","rloc16":17408}]}`
	ask("get_thread_diagnostics", `{}`)
	got := map[string]string{} // the event may come sooner
	for range 2 {
		kind, data := sorted(t, next())
		got[kind] = data
	}
	if got["answer"] != `[]` || got[hass.ThreadDiagnostics] != batch {
		t.Errorf("nothing is known at first, and then it is told: %v", got)
	}
	ask("get_thread_diagnostics", `{"ext_pan_id":"a1b2c3d4e5f60708","force":true}`) // too soon to be asked again
	if kind, data := sorted(t, next()); kind != "answer" || data != batch || collected.Load() != 1 {
		t.Errorf("%s %s, collected %d times", kind, data, collected.Load())
	}
	ask("get_thread_diagnostics", `{}`)
	if kind, data := sorted(t, next()); kind != "answer" || data != "["+batch+"]" || collected.Load() != 1 {
		t.Errorf("%s %s, collected %d times", kind, data, collected.Load())
	}
	for _, args := range []string{`{"ext_pan_id":"a1b2c3d4e5f60708","force":true}`, `{"force":true}`} {
		passed.Add(int64(meshRest))
		before := collected.Load()
		ask("get_thread_diagnostics", args)
		for range 2 {
			if kind, data := sorted(t, next()); !strings.Contains(data, batch) {
				t.Errorf("%s: %s %s", args, kind, data)
			}
		}
		if got := collected.Load(); got != before+1 {
			t.Errorf("%s: collected %d times, before %d", args, got, before)
		}
	}
	passed.Add(int64(meshRest))
	for _, args := range []string{`{}`, `{"ext_pan_id":"A1B2C3D4E5F60708"}`} { // the second would wait, if the first had begun anything
		ask("get_thread_diagnostics", args)
		if kind, data := sorted(t, next()); kind != "answer" || strings.Trim(data, "[]") != batch || collected.Load() != 3 {
			t.Errorf("%s: %s %s, collected %d times", args, kind, data, collected.Load())
		}
	}
	other("server_info", "{}")
	if kind, data := sorted(t, heard()); kind != "answer" {
		t.Errorf("who asked for nothing is told %s", data)
	}
}

// TestNoMesh asks where no border router may be asked.
func TestNoMesh(t *testing.T) {
	ask, next := assisted(t, assist(t, nil))
	for args, want := range map[string]string{`{"ext_pan_id":"a1b2c3d4e5f60708"}`: `null`, `{"force":true}`: `[]`} {
		ask("get_thread_diagnostics", args)
		if kind, data := sorted(t, next()); kind != "answer" || data != want {
			t.Errorf("%s: %s %s", args, kind, data)
		}
	}
}

// assist serves Home Assistant, and says where.
func assist(t *testing.T, mesh *Mesh) (url string) {
	t.Helper()
	p := said(t, 0)
	p.C.Identity, p.Log, p.Mesh = identified(t), slog.New(slog.DiscardHandler), mesh
	s, _ := p.HomeAssistant("0", rand.Reader)
	web := httptest.NewServer(s.Handler(func(*http.Request) (hass.Peer, bool) { return hass.Peer{Name: "ha", Scope: hass.Read}, true }))
	t.Cleanup(func() {
		web.Close()
		s.Close(context.Background())
	})
	return web.URL
}

// sorted tells an answer from an event; times are taken out of it.
func sorted(t *testing.T, text string) (kind, data string) {
	t.Helper()
	var f struct {
		Event        string
		Data, Result json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	kind, data = f.Event, string(f.Data)
	if kind == "" {
		kind, data = "answer", string(f.Result)
	}
	if before, after, ok := strings.Cut(data, `"collectedAt":`); ok {
		_, after, _ = strings.Cut(after, ",")
		data = before + `"collectedAt":0,` + after
	}
	return kind, data
}
