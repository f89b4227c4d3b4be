package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gatehouse/commissioner/portal"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// Limits of a page of the audit trail.
const (
	trailPage  = 50     // records shown
	trailLook  = 20_000 // the newest that are looked through for those of a device
	trailLimit = 1000   // that the API gives at once
)

type auditData struct {
	Records []decision
	Size    uint64
	Device  string // whose they are; empty: all
	Names   []string
	Older   uint64 // before which there are more; 0: there are none
}

// decision is a record for people.
type decision struct {
	Index   uint64
	At      time.Time
	What    string // code
	Subject string // whom it is about
	By      string // person, or gateway
	Refused string
}

// auditPage shows the newest records first, before the one that the query names.
func auditPage(v *visit) (any, error) {
	d := auditData{Device: v.r.URL.Query().Get("device")}
	names, err := v.names()
	if err != nil {
		return nil, err
	}
	end, _, err := v.trail(url.Values{"limit": {"1"}})
	if err != nil {
		return nil, err
	}
	d.Size = end.Size
	before := end.Size
	if n, err := strconv.ParseUint(v.r.URL.Query().Get("before"), 10, 64); err == nil {
		before = min(n, before)
	}
	look := uint64(trailPage)
	if d.Device != "" {
		look = trailLook
	}
	from := max(end.First, before-min(before, look))
	query := url.Values{"limit": {strconv.Itoa(trailLimit)}}
	if d.Device != "" {
		query.Set("device", d.Device)
	}
	var found []*audit.Record
	for next := from; next < before; {
		if query.Del("after"); next > 0 { // without it, the first
			query.Set("after", strconv.FormatUint(next-1, 10))
		}
		page, records, err := v.trail(query)
		if err != nil {
			return nil, err
		}
		found = append(found, records...)
		if page.Next <= next {
			break
		}
		next = page.Next
	}
	found = slices.DeleteFunc(found, func(r *audit.Record) bool { return r.Index >= before })
	slices.Reverse(found)
	if d.Older = from; len(found) > trailPage {
		found = found[:trailPage]
		d.Older = found[trailPage-1].Index
	}
	if d.Older <= end.First {
		d.Older = 0
	}
	for _, r := range found {
		d.Records = append(d.Records, tell(r, names))
	}
	for _, name := range names {
		d.Names = append(d.Names, name)
	}
	slices.Sort(d.Names)
	d.Names = slices.Compact(d.Names)
	return d, nil
}

// names are what devices and gateways are called, by node id.
func (v *visit) names() (map[string]string, error) {
	names := make(map[string]string)
	var devices portal.Devices
	var gateways portal.Gateways
	if err := v.get("/api/v1/devices", &devices); err != nil {
		return nil, err
	}
	if err := v.get("/api/v1/gateways", &gateways); err != nil {
		return nil, err
	}
	for _, d := range devices.Devices {
		names[d.Node] = d.Name
	}
	for _, g := range gateways.Gateways {
		names[g.Node] = g.Name
	}
	return names, nil
}

// trail reads records in order.
func (v *visit) trail(query url.Values) (end portal.Audit, records []*audit.Record, err error) {
	got := v.app.call(v.r, http.MethodGet, "/api/v1/audit?"+query.Encode(), nil)
	if err := got.failure(); err != nil {
		return end, nil, err
	}
	lines := bytes.Split(bytes.TrimSpace(got.Bytes()), []byte("\n"))
	last := len(lines) - 1
	for _, line := range lines[:last] {
		r, err := audit.Parse(line)
		if err != nil {
			return end, nil, err
		}
		records = append(records, r)
	}
	return end, records, json.Unmarshal(lines[last], &end)
}

// tell names whom a record is about.
func tell(r *audit.Record, names map[string]string) decision {
	d := decision{Index: r.Index, At: time.UnixMilli(r.Time), What: r.What, Subject: r.Name, By: r.For, Refused: r.Refused}
	called := func(n cert.NodeID) string {
		if name := names[n.String()]; name != "" {
			return name
		}
		return n.String()
	}
	switch {
	case d.Subject != "":
	case r.Device != 0:
		d.Subject = called(r.Device)
	case r.Gateway != 0:
		d.Subject = called(r.Gateway)
	default:
		d.Subject = r.Zone
	}
	if d.By == "" && r.By != 0 {
		d.By = called(r.By)
	}
	return d
}
