package app

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gatehouse/commissioner/portal"
)

// Matter clusters whose first attribute the app shows, and types of devices.
const (
	onOff       = 6
	level       = 8
	descriptor  = 29
	contact     = 69
	lock        = 257
	temperature = 1026
	humidity    = 1029
	occupancy   = 1030

	maxLevel = 254
)

// icons are those of types of devices (Matter Device Library).
var icons = map[int]string{0x0100: "light", 0x0101: "light", 0x010C: "light", 0x010D: "light", 0x010A: "plug", 0x010B: "plug", 0x0103: "switch", 0x0104: "switch", 0x0105: "switch",
	0x000F: "switch", 0x000A: "lock", 0x0015: "contact", 0x0106: "sensor", 0x0107: "sensor", 0x0302: "sensor", 0x0307: "sensor", 0x0301: "sensor", 0x000E: "gateway"}

// measure is how a reading is told: a number with its unit, or a word by value.
type measure struct {
	Kind    string // also its text in the catalogue
	cluster int
	Scale   float64 // that the number is divided by; 0: words tell it
	Digits  int
	Unit    string
	Words   map[string]string // by JSON value; * for all others
}

var measures = []measure{
	{Kind: "temperature", cluster: temperature, Scale: 100, Digits: 1, Unit: "°C"},
	{Kind: "humidity", cluster: humidity, Scale: 100, Unit: "%"},
	{Kind: "contact", cluster: contact, Words: map[string]string{"true": text("measure.closed"), "false": text("measure.open")}},
	{Kind: "lock", cluster: lock, Words: map[string]string{"1": text("measure.locked"), "2": text("measure.unlocked"), "*": text("measure.ajar")}},
	{Kind: "occupancy", cluster: occupancy, Words: map[string]string{"0": text("measure.empty"), "*": text("measure.occupied")}},
}

// reading is what a device measures at an endpoint.
type reading struct {
	measure
	Path string
	Text string
}

// JSON of the words, for the module that keeps the reading current.
func (r reading) WordsJSON() string {
	b, _ := json.Marshal(r.Words) // a map of texts
	return string(b)
}

func (m *measure) tell(raw json.RawMessage) (string, bool) {
	if string(raw) == "null" {
		return "", false
	}
	if m.Scale == 0 {
		word, ok := m.Words[string(raw)]
		if !ok {
			word, ok = m.Words["*"]
		}
		return word, ok
	}
	n, ok := number(raw)
	return strconv.FormatFloat(n/m.Scale, 'f', m.Digits, 64) + " " + m.Unit, ok
}

// control is one endpoint of a device.
type control struct {
	Endpoint int
	Icon     string
	Switch   bool // it is switched
	On       bool
	Level    bool // and more or less bright
	Percent  int
	Readings []reading
}

// thing is a device as the app shows it.
type thing struct {
	portal.Device
	State    *portal.DeviceState
	Controls []control
	Health   string // ok, away, quarantined, update, joining: how the catalogue tells it
}

// newThing is a device, and what it last said, if it said anything.
func newThing(d *portal.Device, s *portal.DeviceState) *thing {
	t := &thing{Device: *d, State: s}
	t.Health = t.health()
	if s == nil {
		return t
	}
	endpoints := make(map[int]bool)
	for p := range s.Values {
		if n, _, _ := strings.Cut(p, "/"); n != "0" {
			if e, err := strconv.Atoi(n); err == nil {
				endpoints[e] = true
			}
		}
	}
	for e := range endpoints {
		if c := newControl(e, s.Values); c.Switch || len(c.Readings) > 0 {
			t.Controls = append(t.Controls, c)
		}
	}
	slices.SortFunc(t.Controls, func(a, b control) int { return a.Endpoint - b.Endpoint })
	return t
}

func newControl(endpoint int, values map[string]json.RawMessage) control {
	c := control{Endpoint: endpoint, Icon: "device"}
	if on, ok := values[first(endpoint, onOff)]; ok {
		c.Switch, c.On = true, string(on) == "true"
	}
	if raw, ok := values[first(endpoint, level)]; ok && c.Switch {
		c.Level, c.Percent = true, 100 // until it says more
		if n, ok := number(raw); ok {
			c.Percent = percent(n)
		}
	}
	for _, m := range measures {
		if raw, ok := values[first(endpoint, m.cluster)]; ok {
			if told, ok := m.tell(raw); ok {
				c.Readings = append(c.Readings, reading{m, first(endpoint, m.cluster), told})
			}
		}
	}
	var types []map[string]json.RawMessage
	if json.Unmarshal(values[first(endpoint, descriptor)], &types) == nil {
		for _, kind := range types {
			if n, ok := number(kind["0"]); ok && icons[int(n)] != "" {
				c.Icon = icons[int(n)]
			}
		}
	}
	return c
}

// percent of a level; what shines does so by one at least.
func percent(n float64) int { return int(max(1, math.Round(n*100/maxLevel))) }

func (t *thing) health() string {
	switch {
	case t.Phase != "admitted":
		return "joining"
	case t.Standing != nil && t.Standing.Verdict == "quarantine":
		return "quarantined"
	case t.State == nil || !t.State.Available:
		return showAway
	case t.Standing != nil && t.Standing.Update != "":
		return "update"
	}
	return "ok"
}

// Main is what the list shows of a device: its first endpoint that is switched,
// or the first that measures; nil: neither is known.
func (t *thing) Main() *control {
	for i := range t.Controls {
		if t.Controls[i].Switch {
			return &t.Controls[i]
		}
	}
	if len(t.Controls) > 0 {
		return &t.Controls[0]
	}
	return nil
}

// Icon is that of its main endpoint.
func (t *thing) Icon() string {
	if c := t.Main(); c != nil {
		return c.Icon
	}
	return "device"
}

// Reach is whether it can be switched.
func (t *thing) Reach() bool { return t.State != nil && t.State.Available }

// matches tells whether a device is asked for.
func (t *thing) matches(words, zone, show string) bool {
	for word := range strings.FieldsSeq(strings.ToLower(words)) {
		if !strings.Contains(t.Search(), word) {
			return false
		}
	}
	return (zone == "" || t.Zone == zone) && (show == "" || show == showAway && t.Health == showAway || show == showAttention && t.Attention())
}

// Attention tells whether somebody should look at it.
func (t *thing) Attention() bool {
	return t.Health == "quarantined" || t.Health == "update" || t.Health == "joining"
}

// Search is what a device is searched by.
func (t *thing) Search() string {
	return strings.ToLower(t.Name + " " + t.Room + " " + t.Facts.VendorName + " " + t.Facts.ProductName)
}

// number is a value that the API told as JSON, where it is one.
func number(raw json.RawMessage) (n float64, ok bool) {
	return n, json.Unmarshal(raw, &n) == nil && string(raw) != "null"
}

// first is the path of the first attribute of an endpoint's cluster.
func first(endpoint, cluster int) string { return fmt.Sprintf("%d/%d/0", endpoint, cluster) }
