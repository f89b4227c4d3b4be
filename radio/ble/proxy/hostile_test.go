package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"gatehouse/radio"
	"gatehouse/radio/ble/proxy"
	"gatehouse/radio/radiotest/bleproxy"
)

// peer is a proxy that a test speaks for.
type peer struct {
	t      *testing.T
	ws     *websocket.Conn
	server *proxy.Server
	radio  chan *proxy.Radio
	left   chan struct{}
	served func()
}

func newPeer(t *testing.T) *peer {
	p := &peer{t: t, radio: make(chan *proxy.Radio, 1), left: make(chan struct{})}
	p.server = proxy.New(proxy.Config{Now: time.Now, Log: quiet, Joined: func(r *proxy.Radio) func() {
		p.radio <- r
		return func() { close(p.left) }
	}})
	var err error
	p.ws, p.served, err = bleproxy.Dial(t.Context(), p.server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.ws.CloseNow()
		p.served()
	})
	return p
}

func (p *peer) say(text string) {
	p.ws.Write(p.t.Context(), websocket.MessageText, []byte(text)) // it may have been sent away
}

func (p *peer) hear() string {
	_, data, err := p.ws.Read(p.t.Context())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (p *peer) join() *proxy.Radio {
	p.t.Helper()
	p.say(`{"type":"hello","version":1}`)
	if got := p.hear(); got != `{"type":"hello_response","version":1}` {
		p.t.Fatal(got)
	}
	return <-p.radio
}

// answer answers the next command, whose name it returns.
func (p *peer) answer(result string) string {
	var m struct {
		ID      uint32
		Command string
	}
	json.Unmarshal([]byte(p.hear()), &m)
	p.say(fmt.Sprintf(`{"id":%d,"success":true,"result":%s}`, m.ID, result))
	return m.Command
}

func TestHello(t *testing.T) {
	tests := []struct {
		name  string
		speak func(*peer)
		code  websocket.StatusCode
	}{
		{"none", func(p *peer) {}, 4001},
		{"something else", func(p *peer) { p.say(`{"type":"event","version":1}`) }, 4002},
		{"no JSON", func(p *peer) { p.say(`hello`) }, 4002},
		{"binary", func(p *peer) {
			p.ws.Write(p.t.Context(), websocket.MessageBinary, []byte(`{"type":"hello","version":1}`))
		}, 4002},
		{"another version", func(p *peer) {
			p.say(`{"type":"hello","version":2}`)
			if got := p.hear(); !strings.Contains(got, `"error":"unsupported_version"`) || !strings.Contains(got, `"version":1`) {
				p.t.Error(got)
			}
		}, 4003},
		{"no version", func(p *peer) { p.say(`{"type":"hello"}`); p.hear() }, 4003},
		{"far too long", func(p *peer) { p.say(`{"type":"` + strings.Repeat("x", 1<<20)) }, websocket.StatusMessageTooBig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				tt.speak(p)
				began := time.Now()
				if _, _, err := p.ws.Read(t.Context()); websocket.CloseStatus(err) != tt.code || time.Since(began) > 10*time.Second {
					t.Errorf("%v after %v, want code %d", err, time.Since(began), tt.code)
				}
				p.served()
				if len(p.radio) != 0 {
					t.Error("it is a radio")
				}
			})
		})
	}
}

// TestNonsense leaves a proxy that breaks the protocol, and bears one that
// only hears odd things.
func TestNonsense(t *testing.T) {
	tests := []struct {
		name, text string
		bear       bool
	}{
		{"no JSON", `{"id":`, false},
		{"an empty message", ``, false},
		{"a negative id", `{"id":-1,"success":true}`, false},
		{"a handle that is none", `{"event":"disconnected","data":{"connection_handle":70000}}`, false},
		{"an event without a handle", `{"event":"disconnected","data":{}}`, false},
		{"an event without data", `{"event":"disconnected"}`, false},
		{"an indication too long", `{"event":"characteristic_notification","data":{"connection_handle":1,"value":"` + strings.Repeat("AAAA", 200) + `"}}`, false},
		{"a message too long", `{"event":"` + strings.Repeat("x", 70<<10) + `"}`, false},
		{"an answer nobody waits for", `{"id":99,"success":true,"result":{}}`, true},
		{"an event nobody knows", `{"event":"tea_time","data":[1,2]}`, true},
		{"the end of an unknown connection", `{"event":"disconnected","data":{"connection_handle":9}}`, true},
		{"an indication of an unknown connection", `{"event":"characteristic_notification","data":{"connection_handle":9,"value":"AAAA"}}`, true},
		{"the end of a scan that was none", `{"event":"scan_stopped","data":{"reason":"\u0000\n` + strings.Repeat("x", 9000) + `"}}`, true},
		{"an advertisement of nothing", `{"event":"device_discovered","data":null}`, true},
		{"an advertisement with odd data", `{"event":"device_discovered","data":{"address":"02:00:00:00:00:01","rssi":"loud","service_data":{"fff6":"%"}}}`, true},
		{"an address that is none", `{"event":"device_discovered","data":{"address":"\"},{","service_data":{"fff6":"AAAPAAAAAAA="}}}`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				r := p.join()
				p.say(tt.text)
				ended := make(chan error, 1)
				go func() {
					ended <- r.Scan(t.Context(), func(ad radio.Advertisement) {
						if ad.Discriminator != 0xabc {
							t.Errorf("heard %+v", ad)
						}
						ended <- nil
					})
				}()
				if tt.bear {
					if got := p.answer("{}"); got != "start_scan" {
						t.Fatal(got)
					}
					p.say(tt.text)
					p.say(`{"event":"device_discovered","data":{"address":"02:00:00:00:00:01","service_data":{"FFF6":"ALwK8f8BgAA="}}}`)
				} else {
					go p.hear() // it is told why, and takes note
				}
				err := <-ended
				if tt.bear && err != nil && !strings.Contains(tt.text, "scan_stopped") || !tt.bear && !errors.Is(err, proxy.ErrGone) {
					t.Error(err)
				}
				if err != nil && (len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x00")) {
					t.Errorf("said %q", err)
				}
				p.ws.CloseNow()
				<-p.left
			})
		})
	}
}

// TestOddConnections leaves a proxy whose answers make no sense, and fails
// what depends on them otherwise.
func TestOddConnections(t *testing.T) {
	const ok = `{"connection_handle":1,"mtu":247}`
	tests := []struct {
		name    string
		answers []string
		gone    bool
	}{
		{"no handle", []string{`{}`}, true},
		{"no result", []string{`null`}, true},
		{"a handle of another kind", []string{`{"connection_handle":"one"}`}, true},
		{"services of another kind", []string{ok, `{"services":5}`}, true},
		{"no services", []string{ok, `{}`}, false},
		{"other services", []string{ok, `{"services":[{"uuid":"1800"}]}`}, false},
		{"no characteristics", []string{ok, `{"services":[{"uuid":"fff6"}]}`, `{"characteristics":[{"uuid":"18ee2ef5-263d-4559-959f-4f9c429f9d11"}]}`}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				r := p.join()
				ended := make(chan error, 1)
				go func() {
					_, err := r.Connect(t.Context(), device)
					ended <- err
				}()
				for _, a := range tt.answers {
					p.answer(a)
				}
				go p.answer(`{}`) // to disconnect, or the end
				if err := <-ended; err == nil || errors.Is(err, proxy.ErrGone) != tt.gone {
					t.Error(err)
				}
				p.ws.CloseNow()
				<-p.left
			})
		})
	}
}

// TestSameHandle leaves a proxy that gives two connections one handle.
func TestSameHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		r := p.join()
		go func() {
			for _, a := range []string{`{"connection_handle":7,"mtu":3}`, `{"services":[{"uuid":"fff6"}]}`,
				`{"characteristics":[{"uuid":"18ee2ef5-263d-4559-959f-4f9c429f9d11"},{"uuid":"18ee2ef5-263d-4559-959f-4f9c429f9d12"}]}`, `{"connection_handle":7}`} {
				p.answer(a)
			}
			p.hear()
		}()
		c, err := r.Connect(t.Context(), device)
		if err != nil || c.MTU() != 23 {
			t.Fatal(err)
		}
		if _, err := r.Connect(t.Context(), device); !errors.Is(err, proxy.ErrGone) {
			t.Error(err)
		}
		if _, err := c.Read(); !errors.Is(err, proxy.ErrGone) {
			t.Error(err)
		}
		<-p.left
	})
}

// TestSilent leaves a proxy that answers nothing, not even pings.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		p.join()
		began := time.Now()
		<-p.left
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("after %v", took)
		}
	})
}

// TestFlood takes what a proxy sends without end: what is not read is lost,
// and the memory stays bounded.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		r := p.join()
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		var wg sync.WaitGroup
		wg.Go(func() { r.Scan(ctx, func(radio.Advertisement) { seen++ }) })
		p.answer("{}")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		const events = 20_000
		for i := range events {
			p.say(fmt.Sprintf(`{"event":"device_discovered","data":{"address":"02:00:00:00:%02x:%02x","service_data":{"FFF6":"ALwK8f8BgAA="}}}`, i>>8&255, i&255))
		}
		synctest.Wait()
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		cancel()
		wg.Wait()
		if took < events/1000*time.Second*9/10 || seen > int(took.Seconds()*100)+200 || seen < 100 {
			t.Errorf("%d of %d events were heard in %v", seen, events, took)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
			t.Errorf("%d bytes of memory are in use for it", grown)
		}
	})
}

// TestSeats takes sixteen proxies and refuses the next, over real sockets, and
// a page of another origin.
func TestSeats(t *testing.T) {
	server := proxy.New(proxy.Config{Now: time.Now, Log: quiet, Joined: func(*proxy.Radio) func() { return func() {} }})
	front := httptest.NewServer(server)
	defer front.Close()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var conns []*websocket.Conn
	for range 16 {
		ws, _, err := websocket.Dial(ctx, front.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		conns = append(conns, ws)
	}
	if _, r, err := websocket.Dial(ctx, front.URL, nil); err == nil || r == nil || r.StatusCode != 503 {
		t.Errorf("a seventeenth: %v", err)
	}
	conns[0].CloseNow()
	for {
		ws, _, err := websocket.Dial(ctx, front.URL, nil)
		if err == nil {
			ws.CloseNow()
			break
		}
		if ctx.Err() != nil {
			t.Fatal("its seat is not given to the next")
		}
		time.Sleep(5 * time.Millisecond)
	}
	conns[1].CloseNow()
	for {
		_, r, err := websocket.Dial(ctx, front.URL, &websocket.DialOptions{HTTPHeader: map[string][]string{"Origin": {"https://evil.test"}}})
		if r != nil && r.StatusCode == 403 {
			break
		}
		if err == nil || ctx.Err() != nil {
			t.Fatalf("another origin: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
