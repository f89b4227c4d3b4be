package hass_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
)

// FuzzRequest sends frames to a server, of which each is answered, and after
// which it goes on.
func FuzzRequest(f *testing.F) {
	for _, name := range hass.Commands() {
		args := arguments[name]
		if args == "" {
			args = "null"
		}
		f.Add(`{"message_id":"a","command":"` + name + `","args":` + args + `}`)
	}
	f.Add(`{"message_id":"a","command":"device_command","args":{"node_id":1,"endpoint_id":0,"cluster_id":62,"command_name":"RemoveFabric","payload":{"fabricIndex":"x"}}}`)
	f.Add(`{"message_id":`)
	c := &clock{t: noon}
	home := hasstest.New(c.now)
	home.Waiting = 5
	home.Add()
	home.Add()
	cfg := home.Config()
	cfg.Random, cfg.Log, cfg.Level = new(zeros), slog.New(slog.DiscardHandler), new(slog.LevelVar)
	server := hass.New(cfg)
	web := httptest.NewServer(server.Handler(func(*http.Request) (hass.Peer, bool) { return hass.Peer{Name: "x", Scope: hass.Administer}, true }))
	f.Cleanup(web.Close)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // no frame of text
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, strings.Replace(web.URL, "http", "ws", 1)+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		ws.SetReadLimit(-1)
		cl := &client{t: t, ws: ws}
		cl.next()
		cl.write(text)
		for answered := false; !answered; {
			answered = cl.next().Event == ""
		}
		if f, _ := cl.call("server_info", ""); f.Code != nil {
			t.Error(f.text)
		}
	})
}
