// Package bleproxy is the other side of radio/ble/proxy: a program with
// Bluetooth that does what a gateway asks it to. Its Bluetooth is whatever is
// in memory. Like the program in most use it obeys one command after the
// other, and reads nothing meanwhile. Production code never imports it.
package bleproxy

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/btp"
)

// Air is Bluetooth.
type Air interface {
	Scan(ctx context.Context, seen func(radio.Advertisement)) error
	Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error)
}

// The names of Matter's service, each in a spelling of its own.
const (
	service = "0000FFF6-0000-1000-8000-00805f9b34fb"
	c1      = "18EE2EF5-263D-4559-959F-4F9C429F9D11"
	c2      = "18ee2ef5263d4559959f4f9c429f9d12"
)

// client is one connection to a gateway.
type client struct {
	ws    *websocket.Conn
	air   Air
	ctx   context.Context
	scan  *scan // nil: nobody scans
	conns map[uint16]*conn
	next  uint16
	wg    sync.WaitGroup

	failing sync.Mutex
	err     error
}

// scan is over when it was stopped or has stopped by itself.
type scan struct {
	stop context.CancelFunc
	over chan struct{}
}

type conn struct {
	btp.Bearer
	subscribed bool
}

// Serve is a proxy on a WebSocket to a gateway, until one of the two ends or
// ctx does. It returns what the gateway did that no gateway may, if anything.
func Serve(ctx context.Context, ws *websocket.Conn, air Air) error {
	ctx, cancel := context.WithCancel(ctx)
	c := &client{ws: ws, air: air, ctx: ctx, conns: map[uint16]*conn{}, next: 0xfffe} // the handles begin anew soon
	defer c.wg.Wait()
	defer func() {
		cancel()
		for _, conn := range c.conns {
			conn.Close()
		}
		ws.CloseNow()
	}()
	c.send(map[string]any{"type": "hello", "version": 1})
	var welcome struct {
		Type    string
		Version int
		Error   string
	}
	if err := c.receive(&welcome); err != nil || welcome.Type != "hello_response" || welcome.Version != 1 || welcome.Error != "" {
		return fmt.Errorf("no welcome: %+v, %w", welcome, err)
	}
	for {
		var m command
		if err := c.receive(&m); err != nil {
			c.failing.Lock()
			defer c.failing.Unlock()
			return c.err
		}
		c.obey(m)
	}
}

type command struct {
	ID      *uint32
	Command string
	Args    struct {
		ServiceUUIDs   []string `json:"service_uuids"`
		Duplicates     bool     `json:"allow_duplicates"`
		Address        string
		Timeout        int
		Handle         uint16 `json:"connection_handle"`
		Service        string `json:"service_uuid"`
		Characteristic string `json:"characteristic_uuid"`
		Value          []byte
		Response       bool
		WriteUUID      string `json:"write_uuid"`
		WriteValue     []byte `json:"write_value"`
		WriteResponse  bool   `json:"write_response"`
		SubscribeUUID  string `json:"subscribe_uuid"`
	}
}

func (c *client) receive(v any) error {
	kind, data, err := c.ws.Read(c.ctx)
	if err != nil {
		return err
	}
	if kind != websocket.MessageText {
		c.fault("a binary message")
		return nil
	}
	return json.Unmarshal(data, v)
}

func (c *client) send(v any) {
	if data, err := json.Marshal(v); err == nil {
		c.ws.Write(c.ctx, websocket.MessageText, data)
	}
}

// fault notes what no gateway may do.
func (c *client) fault(format string, args ...any) {
	c.failing.Lock()
	defer c.failing.Unlock()
	c.err = errors.Join(c.err, fmt.Errorf(format, args...))
}

// failure is a command that is not obeyed.
type failure struct{ code, text string }

// obey answers one command.
func (c *client) obey(m command) {
	if m.ID == nil {
		c.fault("command %q without an id", m.Command)
		return
	}
	result, failed := c.do(m)
	if failed != nil {
		c.send(map[string]any{"id": m.ID, "success": false, "error": failed.code, "message": failed.text})
		return
	}
	if result == nil {
		result = map[string]any{}
	}
	c.send(map[string]any{"id": m.ID, "success": true, "result": result})
}

func (c *client) do(m command) (map[string]any, *failure) {
	a := &m.Args
	switch m.Command {
	case "start_scan":
		if len(a.ServiceUUIDs) != 1 || a.ServiceUUIDs[0] != "fff6" || !a.Duplicates {
			c.fault("scan for %q, duplicates %v", a.ServiceUUIDs, a.Duplicates)
		}
		return nil, c.startScan()
	case "stop_scan":
		if c.scan == nil {
			return nil, &failure{"not_scanning", ""}
		}
		c.scan.stop()
		<-c.scan.over
		c.scan = nil
		return nil, nil
	case "connect":
		return c.connect(a.Address, time.Duration(a.Timeout)*time.Millisecond)
	}
	conn := c.conns[a.Handle]
	if conn == nil {
		return nil, &failure{"not_connected", "no such connection"}
	}
	switch m.Command {
	case "disconnect":
		delete(c.conns, a.Handle)
		conn.Close()
	case "discover_services":
		return map[string]any{"services": []map[string]any{{"uuid": "1800"}, {"uuid": service}}}, nil
	case "discover_characteristics":
		if a.Service != service {
			return nil, &failure{"service_not_found", a.Service}
		}
		return map[string]any{"characteristics": []map[string]any{{"uuid": c2, "properties": []string{"indicate"}}, {"uuid": c1, "properties": []string{"write"}}}}, nil
	case "write_and_subscribe":
		if conn.subscribed || a.WriteUUID != c1 || a.SubscribeUUID != c2 || !a.WriteResponse {
			c.fault("write to %s and subscribe to %s, response %v, already %v", a.WriteUUID, a.SubscribeUUID, a.WriteResponse, conn.subscribed)
		}
		conn.subscribed = true
		c.wg.Go(func() { c.notify(a.Handle, conn) })
		return nil, conn.write(a.WriteValue)
	case "write_characteristic":
		if !conn.subscribed || a.Characteristic != c1 || !a.Response {
			c.fault("write to %s, response %v, subscribed %v", a.Characteristic, a.Response, conn.subscribed)
		}
		return nil, conn.write(a.Value)
	default:
		return nil, &failure{"internal_error", "unknown command"}
	}
	return nil, nil
}

func (c *conn) write(p []byte) *failure {
	if err := c.Write(p); err != nil {
		return &failure{"write_failed", err.Error()}
	}
	return nil
}

func (c *client) startScan() *failure {
	if c.scan != nil {
		select {
		case <-c.scan.over:
		default:
			return &failure{"already_scanning", ""}
		}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	over := make(chan struct{})
	c.scan = &scan{cancel, over}
	c.wg.Go(func() {
		err := c.air.Scan(ctx, func(ad radio.Advertisement) {
			c.send(map[string]any{"event": "device_discovered", "data": map[string]any{
				"address": ad.Addrs[0].Peer, "name": nil, "rssi": ad.RSSI, "connectable": true, "manufacturer_data": map[string]string{}, "service_uuids": []string{service},
				"service_data": map[string]string{service: base64.StdEncoding.EncodeToString(ble.Advertising(ad)[7:])}, // behind flags and header
			}})
		})
		close(over) // before anybody is told
		if err != nil && ctx.Err() == nil {
			c.send(map[string]any{"event": "scan_stopped", "data": map[string]any{"reason": err.Error()}})
		}
	})
	return nil
}

func (c *client) connect(address string, limit time.Duration) (map[string]any, *failure) {
	if limit <= 0 {
		c.fault("connect within %v", limit)
	}
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	b, err := c.air.Connect(ctx, radio.Addr{Transport: radio.BLE, Peer: address})
	if err != nil {
		return nil, &failure{"connection_failed", err.Error()}
	}
	for c.next++; c.conns[c.next] != nil; c.next++ {
	}
	c.conns[c.next] = &conn{Bearer: b}
	return map[string]any{"connection_handle": c.next, "mtu": b.MTU()}, nil
}

// notify passes indications on until the connection has ended.
func (c *client) notify(handle uint16, conn *conn) {
	for {
		p, err := conn.Read()
		if err != nil {
			c.send(map[string]any{"event": "disconnected", "data": map[string]any{"connection_handle": handle}})
			return
		}
		frame := binary.BigEndian.AppendUint16([]byte{0x02}, handle)
		c.ws.Write(c.ctx, websocket.MessageBinary, append(frame, p...))
	}
}
