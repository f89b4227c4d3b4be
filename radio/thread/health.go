package thread

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/radio"
)

// Code is the stable name of a Finding.
type Code string

const (
	CodeDatasetIncomplete Code = "thread-dataset-incomplete"
	CodeNoBorderRouter    Code = "thread-no-border-router"
	CodeOtherNetworks     Code = "thread-network-not-served"
	CodeUnprovisioned     Code = "thread-router-unprovisioned"
	CodeNotAttached       Code = "thread-router-not-attached"
	CodePartitions        Code = "thread-network-split"
	CodeDatasetOld        Code = "thread-dataset-outdated"
	CodeDatasetNew        Code = "thread-dataset-not-adopted"
	CodeNoMesh            Code = "thread-mesh-unrouted"
	CodeMeshSplit         Code = "thread-mesh-prefixes-differ"
	CodeNoRoute           Code = "thread-no-route"
	CodeRouteStale        Code = "thread-route-stale"
)

// Finding is one thing that is wrong with a Thread network, seen from here.
type Finding struct {
	Code    Code
	Blocks  bool   // devices cannot be admitted or reached while it lasts
	Message string // a sentence
	Remedy  string // what to do about it
}

var remedies = map[Code]struct {
	blocks bool
	remedy string
}{
	CodeDatasetIncomplete: {true, "take the dataset over from the border router again"},
	CodeNoBorderRouter:    {true, "switch the border router on, and check that it is on this network and that nothing filters multicast between"},
	CodeOtherNetworks:     {true, "take over the dataset of the border router that is there, or set it up with this one"},
	CodeUnprovisioned:     {false, "give it this network's dataset, so that it leads there too"},
	CodeNotAttached:       {true, "wait a minute; if it stays so, check the border router's radio and its log"},
	CodePartitions:        {false, "bring the parts into reach of each other with a mains-powered Thread device between them; they join by themselves"},
	CodeDatasetOld:        {true, "take the dataset over from the border router again"},
	CodeDatasetNew:        {false, "wait for it to spread; if it stays so, restart the border router"},
	CodeNoMesh:            {true, "check that border routing is switched on in the border router, and restart it"},
	CodeMeshSplit:         {false, "wait some minutes; if it stays so, restart the border router whose prefix the devices do not have"},
	CodeNoRoute: {true, "let the host take routes from router advertisements: net.ipv6.conf.all.accept_ra_rt_info_max_plen=64, " +
		"and accept_ra=2 if it forwards; then wait for the next one, or ask for it with rdisc6"},
	CodeRouteStale: {false, "wait a minute: a route over a border router that has gone expires by itself"},
}

// State bits of a border router's advertisement (Thread 1.4, 8.1.1.1).
const (
	stateInterface = 0x18 // 0: switched off, then detached, attached
	stateAttached  = 0x10
)

// Check says what keeps devices of a network from being reached from here:
// d is what the home has, routers are those that discovery found, routes the
// host's own. Nothing found is good news.
func Check(d Dataset, routers []radio.Advertisement, routes []Route) []Finding {
	c := check{}
	id, ok := d.ExtendedPANID()
	if err := d.Complete(); err != nil || !ok {
		return c.add(CodeDatasetIncomplete, "%v", err)
	}
	name, _ := d.Name()
	var ours []radio.Advertisement
	others := map[string]bool{}
	some := false
	for _, r := range routers {
		switch n := r.Thread; {
		case r.Kind != radio.BorderRouter:
			continue
		case n.ExtendedPANID == 0:
			c.add(CodeUnprovisioned, "border router %q has no Thread network yet", r.Instance)
		case n.ExtendedPANID == id:
			ours = append(ours, r)
		default:
			others[fmt.Sprintf("%q", n.NetworkName)] = true
		}
		some = true
	}
	switch {
	case !some:
		return c.add(CodeNoBorderRouter, "no border router announces itself on this network")
	case len(ours) == 0 && len(others) > 0:
		return c.add(CodeOtherNetworks, "no border router leads into Thread network %q, only into %s", name, strings.Join(slices.Sorted(maps.Keys(others)), ", "))
	case len(ours) == 0:
		return c.add(CodeOtherNetworks, "no border router leads into Thread network %q", name)
	}
	if ours = c.attached(ours); len(ours) == 0 {
		return c.findings
	}
	c.partitions(name, ours)
	c.timestamps(d, ours)
	c.way(name, ours, routes)
	return c.findings
}

type check struct{ findings []Finding }

func (c *check) add(code Code, format string, args ...any) []Finding {
	r := remedies[code]
	c.findings = append(c.findings, Finding{code, r.blocks, fmt.Sprintf(format, args...), r.remedy})
	return c.findings
}

// attached are the routers that are part of the network; one that does not
// say counts. Others are a finding when there is none.
func (c *check) attached(routers []radio.Advertisement) (up []radio.Advertisement) {
	for _, r := range routers {
		if s := r.Thread.State; s == 0 || s&stateInterface == stateAttached {
			up = append(up, r)
		}
	}
	if len(up) == 0 {
		c.add(CodeNotAttached, "border router %q knows the network but is not part of it at the moment", routers[0].Instance)
	}
	return up
}

// values are the different values that routers have, without the zero value.
func values[T cmp.Ordered](routers []radio.Advertisement, of func(radio.ThreadRouter) T) []T {
	var zero T
	set := map[T]bool{}
	for _, r := range routers {
		set[of(r.Thread)] = true
	}
	delete(set, zero)
	return slices.Sorted(maps.Keys(set))
}

func (c *check) partitions(name string, routers []radio.Advertisement) {
	if parts := values(routers, func(n radio.ThreadRouter) uint32 { return n.Partition }); len(parts) > 1 {
		c.add(CodePartitions, "Thread network %q is split into %d parts that do not hear each other", name, len(parts))
	}
}

func (c *check) timestamps(d Dataset, routers []radio.Advertisement) {
	have, _ := d.ActiveTimestamp()
	for _, v := range values(routers, func(n radio.ThreadRouter) uint64 { return n.ActiveTimestamp }) {
		switch t := ParseTimestamp(v); have.Compare(t) {
		case -1:
			c.add(CodeDatasetOld, "the network has a newer dataset (of second %d) than the home (%d)", t.Seconds, have.Seconds)
		case 1:
			c.add(CodeDatasetNew, "the network has an older dataset (of second %d) than the home (%d)", t.Seconds, have.Seconds)
		}
	}
}

// way looks at how packets would get from the host to the mesh.
func (c *check) way(name string, routers []radio.Advertisement, routes []Route) {
	set := map[netip.Prefix]bool{}
	hops := map[netip.Addr]bool{}
	for _, r := range routers {
		if r.Thread.Mesh.IsValid() {
			set[r.Thread.Mesh] = true
		}
		for _, a := range r.Addrs {
			hops[a.IP.Addr().WithZone("")] = true
		}
	}
	meshes := slices.SortedFunc(maps.Keys(set), netip.Prefix.Compare)
	switch {
	case len(meshes) == 0:
		c.add(CodeNoMesh, "no border router of Thread network %q offers a way to its devices", name)
	case len(meshes) > 1:
		c.add(CodeMeshSplit, "the border routers of Thread network %q give its devices addresses of different prefixes", name)
	}
	for _, mesh := range meshes {
		c.route(mesh, Towards(routes, mesh), hops)
	}
}

func (c *check) route(mesh netip.Prefix, towards []Route, hops map[netip.Addr]bool) {
	// The default route leads to the internet, where no mesh is.
	if len(towards) == 0 || towards[0].To.Bits() == 0 || towards[0].Reject {
		c.add(CodeNoRoute, "this host has no route to the devices' addresses, %v", mesh)
		return
	}
	for _, r := range towards {
		if !r.Via.IsValid() || hops[r.Via] {
			return
		}
	}
	c.add(CodeRouteStale, "the route to the devices' addresses, %v, leads over %v, which is no border router that announces itself", mesh, towards[0].Via)
}
