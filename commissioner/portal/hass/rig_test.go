package hass_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
)

// noon is when tests happen.
var noon = time.Date(2026, 8, 21, 10, 15, 0, 0, time.UTC)

// zeros is all the randomness that tests need, each draw another.
type zeros struct {
	mu sync.Mutex
	n  byte
}

func (z *zeros) Read(b []byte) (int, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.n++
	clear(b)
	b[0] = z.n
	return len(b), nil
}

// rig is a server over a home in memory.
type rig struct {
	t      *testing.T
	home   *hasstest.Home
	server *hass.Server
	http   *httptest.Server
	clock  *clock
	log    *record
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// who takes the scope from a request's user and refuses who has none.
func who(r *http.Request) (hass.Peer, bool) {
	user, _, _ := r.BasicAuth()
	for _, s := range []hass.Scope{hass.Read, hass.Operate, hass.Administer} {
		if s.String() == strings.Trim(user, "0123456789") {
			return hass.Peer{Name: user, Scope: s}, true
		}
	}
	return hass.Peer{}, false
}

func start(t *testing.T, change ...func(*hass.Config)) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock{t: noon}, log: new(record)}
	r.home = hasstest.New(r.clock.now)
	cfg := r.home.Config()
	cfg.Random, cfg.Level = new(zeros), new(slog.LevelVar)
	cfg.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, f := range change {
		f(&cfg)
	}
	r.server = hass.New(cfg)
	r.http = httptest.NewServer(r.server.Handler(who))
	t.Cleanup(r.http.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.server.Close(ctx)
	})
	return r
}

// record is a log that can be read while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// frame is whatever the server says.
type frame struct {
	ID      json.RawMessage `json:"message_id"`
	Result  json.RawMessage `json:"result"`
	Code    *hass.Code      `json:"error_code"`
	Details string          `json:"details"`
	Status  *int            `json:"status"`
	Event   string          `json:"event"`
	Data    json.RawMessage `json:"data"`
	SDK     string          `json:"sdk_version"`
	text    string
}

// client is one of the server's.
type client struct {
	t  *testing.T
	ws *websocket.Conn
	n  int
}

// patience is for a machine that is busy with others.
const patience = time.Minute

// dial connects, and reads the greeting.
func (r *rig) dial(scope hass.Scope) *client {
	r.t.Helper()
	c := r.open(scope.String())
	if f := c.next(); f.SDK == "" {
		r.t.Fatalf("the server begins with %s", f.text)
	}
	return c
}

func (r *rig) open(user string) *client {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	url := strings.Replace(r.http.URL, "http://", "ws://"+user+":x@", 1) + "/ws?ignored"
	ws, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	r.t.Cleanup(func() { ws.CloseNow() })
	return &client{t: r.t, ws: ws}
}

// next is the next frame.
func (c *client) next() frame {
	c.t.Helper()
	f, err := c.read(patience)
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) read(d time.Duration) (f frame, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		return f, err
	}
	f.text = string(b)
	if err := json.Unmarshal(b, &f); err != nil {
		c.t.Errorf("%v: %s", err, b)
	}
	return f, nil
}

func (c *client) write(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// send gives a command, and says by which id its answer will go.
func (c *client) send(command, args string) (id string) {
	c.t.Helper()
	c.n++
	id = `"` + strings.Repeat("m", c.n) + `"`
	if args == "" {
		args = "null"
	}
	c.write(`{"message_id":` + id + `,"command":"` + command + `","args":` + args + `}`)
	return id
}

// call gives a command and waits for its answer, past events.
func (c *client) call(command, args string) (answer frame, before []frame) {
	c.t.Helper()
	id := c.send(command, args)
	for {
		f := c.next()
		if string(f.ID) == id {
			return f, before
		}
		before = append(before, f)
	}
}

// must calls a command that succeeds, and decodes its result.
func (c *client) must(command, args string, v any) []frame {
	c.t.Helper()
	f, before := c.call(command, args)
	if f.Code != nil {
		c.t.Fatalf("%s %s: %s", command, args, f.text)
	}
	if v != nil {
		if err := json.Unmarshal(f.Result, v); err != nil {
			c.t.Fatalf("%s: %v: %s", command, err, f.text)
		}
	}
	return before
}

// refused calls a command that fails with a code, and a text in its details.
func (c *client) refused(command, args string, code hass.Code, with string) {
	c.t.Helper()
	f, _ := c.call(command, args)
	if f.Code == nil || *f.Code != code || !strings.Contains(strings.ToLower(f.Details), strings.ToLower(with)) || f.Result != nil {
		c.t.Errorf("%s %s: not error %d with %q: %s", command, args, code, with, f.text)
	}
}

// event waits for an event.
func (c *client) event(name string) frame {
	c.t.Helper()
	for {
		if f := c.next(); f.Event == name {
			return f
		} else if f.Event == "" {
			c.t.Fatalf("while waiting for %s: %s", name, f.text)
		}
	}
}

// silent sees that nothing more comes than the answer to a last command.
func (c *client) silent() {
	c.t.Helper()
	for range 2 { // an answer overtakes what waits, but not what is being sent
		if f, before := c.call("server_info", ""); f.Code != nil || len(before) > 0 {
			c.t.Errorf("%v %v", before, f.text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
