package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"gatehouse/radio/radiotest/air"
)

// maxOrder bounds a line of the control socket, in bytes.
const maxOrder = 64 << 10

// Order is one line on the control socket. Each is answered by a line: a
// Reply.
//
//	{"do":"conditions","latency":"5ms","loss":0.1}   what is not given stays
//	{"do":"cut"}                                     every link, now
//	{"do":"cut","to":"peripheral","at":3}            at the third ACL packet from now
//	{"do":"inject","controller":0,"packet":"040e…"}  an HCI packet for the host of a controller
//	{"do":"inject","controller":0,"acl":"0400…"}     an L2CAP frame over each of its links
//	{"do":"broadcast","from":"02…","data":"0201…"}   one advertisement out of nowhere
//	{"do":"links"}                                   who is connected to whom
type Order struct {
	Do string `json:"do"`

	Connect *Duration `json:"connect,omitempty"`
	Latency *Duration `json:"latency,omitempty"`
	Loss    *float64  `json:"loss,omitempty"`

	To string `json:"to,omitempty"` // "central" or "peripheral"
	At int    `json:"at,omitempty"`

	Controller int   `json:"controller,omitempty"`
	Packet     Bytes `json:"packet,omitempty"`
	ACL        Bytes `json:"acl,omitempty"`

	From   Bytes `json:"from,omitempty"` // six bytes, most significant first
	Random bool  `json:"random,omitempty"`
	Kind   byte  `json:"kind,omitempty"` // as in an advertising report; 0 is connectable
	Data   Bytes `json:"data,omitempty"`
	RSSI   int8  `json:"rssi,omitempty"` // dBm
}

// Reply answers an Order.
type Reply struct {
	Error string `json:"error,omitempty"`
	Links []Link `json:"links,omitempty"`
}

// Link is one side of a connection.
type Link struct {
	Controller int      `json:"controller"`
	Handle     uint16   `json:"handle"`
	Central    bool     `json:"central"`
	Peer       string   `json:"peer"`
	Interval   Duration `json:"interval"`
	Latency    int      `json:"latency"`
	Timeout    Duration `json:"timeout"`
}

// control takes orders until l is closed.
func control(l net.Listener, a *air.Air) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			lines.Buffer(nil, maxOrder)
			for out := json.NewEncoder(conn); lines.Scan(); {
				var reply Reply
				var o Order
				err := json.Unmarshal(lines.Bytes(), &o)
				if err == nil {
					reply, err = obey(a, o)
				}
				if err != nil {
					reply.Error = err.Error()
				}
				out.Encode(reply)
			}
		}()
	}
}

func obey(a *air.Air, o Order) (Reply, error) {
	switch o.Do {
	case "conditions":
		c := a.Conditions()
		if o.Connect != nil {
			c.Connect = time.Duration(*o.Connect)
		}
		if o.Latency != nil {
			c.Latency = time.Duration(*o.Latency)
		}
		if o.Loss != nil {
			c.Loss = *o.Loss
		}
		a.SetConditions(c)
	case "cut":
		if o.To == "" {
			a.Cut()
			return Reply{}, nil
		}
		to, ok := map[string]air.Direction{"central": air.ToCentral, "peripheral": air.ToPeripheral}[o.To]
		if !ok {
			return Reply{}, fmt.Errorf("to %q: neither central nor peripheral", o.To)
		}
		a.CutAt(to, o.At)
	case "inject":
		all := a.Controllers()
		if o.Controller < 0 || o.Controller >= len(all) {
			return Reply{}, fmt.Errorf("there is no controller %d", o.Controller)
		}
		if len(o.Packet) > 0 {
			all[o.Controller].Inject(o.Packet)
		} else if all[o.Controller].InjectACL(o.ACL) == 0 {
			return Reply{}, fmt.Errorf("controller %d has no link", o.Controller)
		}
	case "broadcast":
		r := air.Report{Kind: o.Kind, From: air.Address{Random: o.Random}, Data: o.Data, RSSI: o.RSSI}
		if copy(r.From.Bytes[:], o.From) != len(o.From) || len(o.From) != len(r.From.Bytes) {
			return Reply{}, errors.New("from: an address has six bytes")
		}
		a.Broadcast(r)
	case "links":
		return Reply{Links: links(a)}, nil
	default:
		return Reply{}, fmt.Errorf("there is no order %q", o.Do)
	}
	return Reply{}, nil
}

func links(a *air.Air) (out []Link) {
	for i, c := range a.Controllers() {
		for _, l := range c.Links() {
			out = append(out, Link{Controller: i, Handle: l.Handle, Central: l.Central, Peer: l.Peer.String(),
				Interval: Duration(l.Interval), Latency: l.Latency, Timeout: Duration(l.Timeout)})
		}
	}
	return out
}

// Duration is written as in Go: 7.5ms.
type Duration time.Duration

// MarshalText is for JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText is for JSON.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Bytes are written in hex.
type Bytes []byte

// MarshalText is for JSON.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

// UnmarshalText is for JSON.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := hex.DecodeString(string(text))
	*b = v
	return err
}
