package portal

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/nodes"
	"gatehouse/commissioner/portal/door"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// said is a portal whose devices say what a test wants.
func said(tb testing.TB, devices int) *Portal {
	s := &fabric.State{Index: 7, Devices: make(map[cert.NodeID]*fabric.Device)}
	for n := range cert.NodeID(devices) {
		s.Devices[n+1] = &fabric.Device{Node: n + 1, Phase: fabric.Admitted, Name: fmt.Sprintf("lamp %d", n), Zone: "home"}
	}
	c := commissioner.New(commissioner.Config{Ledger: &still{s}, Now: time.Now, Addresses: commissioner.OpenAddressBook(tb.TempDir()+"/book", nil)})
	return &Portal{C: c, K: keeper.New(c)}
}

func (p *Portal) say(n cert.NodeID, on bool) {
	v, err := tlv.Marshal(on)
	if err != nil {
		panic(err)
	}
	p.K.Nodes.Apply(nodes.Change{Node: n, Values: []nodes.Value{{Path: nodes.Path{Endpoint: 1, Cluster: 6}, Data: v}, {Path: nodes.Path{Endpoint: 0, Cluster: 31}, Data: v}}})
}

// listen is a browser that hears events. The first has come when it returns.
func listen(tb testing.TB, ctx context.Context, url string) (next func() string) {
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	in := bufio.NewReader(resp.Body)
	next = func() (event string) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return "ended: " + err.Error()
			}
			if line == "\n" && event != "" {
				return event
			}
			event += line
		}
	}
	if first := next(); first != "event: home\ndata: {\"index\":7}\n" {
		tb.Fatalf("%q", first)
	}
	return next
}

func (p *Portal) eventServer(tb testing.TB, who door.Who) string {
	server := httptest.NewServer(as(who, p.allowed(look, p.events)))
	tb.Cleanup(server.Close)
	return server.URL
}

func TestEvents(t *testing.T) {
	p := said(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := listen(t, ctx, p.eventServer(t, door.Who{Kind: door.Local}))
	p.say(1, true)
	p.say(1, true) // says nothing new
	p.K.Nodes.Away(2)
	p.K.Nodes.Retain(func(n cert.NodeID) bool { return n == 1 })
	for _, want := range []string{
		"event: device\ndata: {\"node_id\":\"0000000000000001\",\"values\":{\"1/6/0\":true}}\n", // nothing of endpoint 0
		"event: device\ndata: {\"node_id\":\"0000000000000002\",\"available\":false}\n",
		"event: device\ndata: {\"node_id\":\"0000000000000002\",\"removed\":true}\n",
	} {
		if got := next(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestEventsAreLost: a browser that does not keep up is told so, and holds up
// nobody.
func TestEventsAreLost(t *testing.T) {
	p := said(t, 1)
	blocked, release := make(chan bool), make(chan bool)
	var once sync.Once
	w := &slowWriter{ResponseRecorder: httptest.NewRecorder(), before: func() { once.Do(func() { close(blocked); <-release }) }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- p.events(w, httptest.NewRequest("GET", "/", nil).WithContext(door.With(ctx, door.Who{Kind: door.Local})))
	}()
	<-blocked
	for i := range 2 * eventQueue {
		p.say(1, i%2 == 0)
	}
	close(release)
	for !w.has("event: lost") {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

type slowWriter struct {
	*httptest.ResponseRecorder
	before func()
	mu     sync.Mutex
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.before()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseRecorder.Write(b)
}

func (w *slowWriter) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.Body.String(), text)
}

func (w *slowWriter) SetWriteDeadline(time.Time) error { return nil }

func TestListenersAreBounded(t *testing.T) {
	p := said(t, 1)
	p.listening.Store(maxListeners)
	w := httptest.NewRecorder()
	if err := p.events(w, httptest.NewRequest("GET", "/", nil)); err != errListeners || p.listening.Load() != maxListeners {
		t.Errorf("%v, %d listen", err, p.listening.Load())
	}
}

// BenchmarkEvents is how long it takes until 50 browsers have heard that a lamp
// was switched.
func BenchmarkEvents(b *testing.B) {
	p := said(b, 500)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	url := p.eventServer(b, door.Who{Kind: door.Local})
	const browsers = 50
	heard := make(chan string, browsers)
	for range browsers {
		next := listen(b, ctx, url)
		go func() {
			for ctx.Err() == nil {
				heard <- next()
			}
		}()
	}
	on := false
	worst := time.Duration(0)
	for b.Loop() {
		on = !on
		began := time.Now()
		p.say(1, on)
		for range browsers {
			if e := <-heard; !strings.Contains(e, "1/6/0") {
				b.Fatal(e)
			}
		}
		worst = max(worst, time.Since(began))
	}
	b.ReportMetric(float64(worst)/1e6, "worst-ms")
}

// BenchmarkDevices is the list of 500 devices.
func BenchmarkDevices(b *testing.B) {
	p := said(b, 500)
	for n := range cert.NodeID(500) {
		p.say(n+1, true)
	}
	for b.Loop() {
		w := httptest.NewRecorder()
		if err := p.devices(w, httptest.NewRequest("GET", "/", nil)); err != nil {
			b.Fatal(err)
		}
	}
}
