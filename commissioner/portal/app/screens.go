package app

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/door"
)

// screen is one of the pages.
type screen struct {
	path string
	name string
	need door.Need // to see it at all
	data func(*visit) (any, error)
}

// screens are all there are.
func screens() []screen {
	return []screen{
		{"/{$}", "devices", door.Look, devicesPage},
		{"/devices/{node}", "device", door.Look, devicePage},
		{"/add", "add", door.Approve, addPage},
		{"/more", "more", door.Look, morePage},
		{"/gateways", "gateways", door.Look, one[portal.Gateways]("/api/v1/gateways")},
		{"/zones", "zones", door.Look, one[portal.Zones]("/api/v1/zones")},
		{"/networks", "networks", door.Approve, one[portal.Networks]("/api/v1/networks")},
		{"/firmware", "firmware", door.Review, firmwarePage},
		{"/people", "people", door.Review, peoplePage},
		{"/audit", "audit", door.Review, auditPage},
		{"/alerts", "alerts", door.Review, one[portal.Hooks]("/api/v1/hooks")},
		{"/account", "account", door.Known, one[portal.Account]("/api/v1/account")},
		{"/login", "login", door.Nothing, func(v *visit) (any, error) { return loginPage{Next: local(v.r.URL.Query().Get("next"))}, nil }},
		{"/welcome", "welcome", door.Nothing, nil},
		{"/trust", "trust", door.Nothing, trustPage},
	}
}

// section is the entry of the navigation that a screen is below.
func (s screen) section() string {
	switch s.name {
	case "devices", "device":
		return "/"
	case "add", "account":
		return s.path
	}
	return "/more"
}

// one is a page of one answer of the API.
func one[T any](path string) func(*visit) (any, error) {
	return func(v *visit) (any, error) {
		var answer T
		err := v.get(path, &answer)
		return answer, err
	}
}

type loginPage struct{ Next, Name string }

// devicesData is the home's devices, as many as the query asks for.
type devicesData struct {
	Rooms []room
	Zones []string
	Total int
	Index uint64
	Query struct{ Text, Zone, Show string }
}

type room struct {
	Name    string // empty: of no room
	Devices []*thing
}

// Shows of the list.
const (
	showAway      = "away"
	showAttention = "attention"
)

func devicesPage(v *visit) (any, error) {
	var list portal.Devices
	var states portal.DeviceStates
	if err := v.get("/api/v1/devices", &list); err != nil {
		return nil, err
	}
	if err := v.get("/api/v1/states", &states); err != nil {
		return nil, err
	}
	said := make(map[string]*portal.DeviceState, len(states.States))
	for i := range states.States {
		said[states.States[i].Node] = &states.States[i]
	}
	d, q := devicesData{Total: len(list.Devices), Index: list.Index}, v.r.URL.Query()
	d.Query.Text, d.Query.Zone, d.Query.Show = q.Get("q"), q.Get("zone"), q.Get("show")
	rooms := make(map[string][]*thing)
	for i := range list.Devices {
		t := newThing(&list.Devices[i], said[list.Devices[i].Node])
		if !slices.Contains(d.Zones, t.Zone) {
			d.Zones = append(d.Zones, t.Zone)
		}
		if t.matches(d.Query.Text, d.Query.Zone, d.Query.Show) {
			rooms[t.Room] = append(rooms[t.Room], t)
		}
	}
	slices.Sort(d.Zones)
	for name, devices := range rooms {
		d.Rooms = append(d.Rooms, room{name, devices})
	}
	slices.SortFunc(d.Rooms, func(a, b room) int { // what has no room comes last
		return cmp.Or(cmp.Compare(btoi(a.Name == ""), btoi(b.Name == "")), strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)))
	})
	return d, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

type deviceData struct {
	*thing
	Rooms []string // that there are
	Index uint64
}

func devicePage(v *visit) (any, error) {
	path := "/api/v1/devices/" + url.PathEscape(v.r.PathValue("node"))
	var d portal.Device
	var state portal.DeviceState
	var list portal.Devices
	if err := v.get(path, &d); err != nil {
		return nil, err
	}
	if err := v.get(path+"/state", &state); err != nil {
		return nil, err
	}
	if err := v.get("/api/v1/devices", &list); err != nil {
		return nil, err
	}
	data := deviceData{thing: newThing(&d, &state), Index: list.Index}
	for _, other := range list.Devices {
		if other.Room != "" && !slices.Contains(data.Rooms, other.Room) {
			data.Rooms = append(data.Rooms, other.Room)
		}
	}
	slices.Sort(data.Rooms)
	v.Title = d.Name
	return data, nil
}

type addData struct {
	portal.Zones
	portal.Networks
	portal.Mode
}

func addPage(v *visit) (any, error) {
	var d addData
	if err := v.get("/api/v1/zones", &d.Zones); err != nil {
		return nil, err
	}
	if err := v.get("/api/v1/networks", &d.Networks); err != nil {
		return nil, err
	}
	return d, v.get("/api/v1/mode", &d.Mode)
}

// morePage lists the screens that the navigation has no room for.
func morePage(v *visit) (any, error) {
	var list []screen
	for _, s := range screens() {
		if slices.Contains([]string{"people", "gateways", "zones", "networks", "firmware", "alerts", "audit"}, s.name) && v.May[s.need.String()] {
			list = append(list, s)
		}
	}
	return append(list, screen{path: "/trust", name: "trust"}), nil
}

func (s screen) Path() string { return s.path }
func (s screen) Name() string { return s.name }

type firmwareData struct {
	portal.Firmware
	portal.Rollouts
}

func firmwarePage(v *visit) (any, error) {
	var d firmwareData
	if err := v.get("/api/v1/firmware", &d.Firmware); err != nil {
		return nil, err
	}
	return d, v.get("/api/v1/firmware/rollouts", &d.Rollouts)
}

type peopleData struct {
	portal.People
	portal.Approval
}

func peoplePage(v *visit) (any, error) {
	var d peopleData
	if err := v.get("/api/v1/people", &d.People); err != nil {
		return nil, err
	}
	return d, v.get("/api/v1/approval", &d.Approval)
}

// systems are those that the trust page has instructions for, and how a browser
// says that it is on one. The first that fits counts.
var systems = []struct{ name, says string }{{"apple", "iPhone"}, {"apple", "iPad"}, {"android", "Android"}, {"mac", "Macintosh"}, {"windows", "Windows"}, {"linux", "Linux"}}

type trustData struct {
	Fingerprint []string // in lines; none: the certificate is of somebody else's authority
	Authority   string
	System      string // the visitor's; empty: who knows
	Systems     []string
}

func trustPage(v *visit) (any, error) {
	d := trustData{Systems: []string{"apple", "android", "mac", "windows", "linux"}}
	if a := v.app.Authority(); a != nil {
		const line = 8 * len("AB:") // so that a phone shows it without scrolling
		for text := a.Fingerprint().String(); text != ""; text = text[min(line, len(text)):] {
			d.Fingerprint = append(d.Fingerprint, text[:min(line, len(text))])
		}
		d.Authority = a.Name()
	}
	for _, s := range systems {
		if d.System == "" && strings.Contains(v.r.UserAgent(), s.says) {
			d.System = s.name
		}
	}
	return d, nil
}
