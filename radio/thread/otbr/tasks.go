package otbr

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"
)

// The newer interface.
const (
	pathActions = "/api/actions"
	pathDevices = "/api/devices"
	pathResults = "/api/diagnostics"

	discover = "updateDeviceCollectionTask"
	diagnose = "getNetworkDiagnosticTask"
)

// Limits of ours, in seconds: an agent knows no others.
const (
	freshDevice     = 60 // a device that was seen so lately is not looked for again
	discoverTimeout = 15
	diagnoseTimeout = 15 // of the first; tasks are done one by one
	diagnoseEach    = 2  // more for each before it
	retries         = 1
)

// types are what a node is asked for. The last has another name since July 2026,
// and an agent refuses all if it does not know one.
var types = []string{"extAddress", "rloc16", "mode", "timeout", "connectivity", "route", "leaderData", "networkData", "ipv6Addresses", "macCounters", "batteryLevel",
	"supplyVoltage", "childTable", "channelPages", "maxChildTimeout", "vendorName", "vendorModel", "vendorSwVersion", "threadStackVersion", "mleCounters"}

var versionTypes = []string{"threadVersion", "version"}

// What may stand in a path: what came from outside goes into one.
var (
	deviceID = regexp.MustCompile(`^[0-9a-fA-F]{16}$`)
	itemID   = regexp.MustCompile(`^[0-9a-fA-F-]{1,64}$`)
)

// item is a resource of the interface: a task, a device or a result.
type item struct {
	ID            string          `json:"id,omitempty"`
	Type          string          `json:"type"`
	Attributes    json.RawMessage `json:"attributes"`
	Relationships struct {
		Result struct {
			Data struct {
				ID string `json:"id"`
			} `json:"data"`
		} `json:"result"`
	} `json:"relationships,omitzero"`
}

// collection is several of them.
type collection struct {
	Data []item `json:"data"`
}

// collectByTasks has the agent look for devices, then ask each of them.
func (c *Client) collectByTasks(ctx context.Context) ([]Node, error) {
	var junk []string // paths of what the agent keeps because of us
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTimeout)
		defer cancel()
		for _, path := range junk {
			if _, _, err := c.do(ctx, http.MethodDelete, path, nil); err != nil {
				return // it throws away the oldest by itself
			}
		}
	}()
	_, tasks, err := c.begin(ctx, task(discover, map[string]any{"maxAge": freshDevice, "maxRetries": retries, "deviceCount": 1, "timeout": discoverTimeout}))
	if err != nil {
		return nil, err
	}
	junk = append(junk, pathActions+"/"+tasks[0])
	if err := c.watch(ctx, tasks, func(string) error { return nil }); err != nil {
		return nil, err
	}
	var devices collection
	if err := c.get(ctx, pathDevices, &devices); err != nil {
		return nil, err
	}
	if tasks, err = c.ask(ctx, devices.Data[:min(len(devices.Data), maxNodes)]); err != nil {
		return nil, err
	}
	for _, id := range tasks {
		junk = append(junk, pathActions+"/"+id)
	}
	nodes := []Node{}
	err = c.watch(ctx, tasks, func(result string) error {
		if !itemID.MatchString(result) {
			return nil // a device that did not answer
		}
		junk = append(junk, pathResults+"/"+result)
		var one struct {
			Data item `json:"data"`
		}
		if err := c.get(ctx, pathResults+"/"+result, &one); err != nil {
			return err
		}
		if n, ok := decodeNode(one.Data.Attributes); ok {
			nodes = append(nodes, n)
		}
		return nil
	})
	return nodes, err
}

func task(kind string, attributes map[string]any) item {
	b, _ := json.Marshal(attributes) // numbers and strings
	return item{Type: kind, Attributes: b}
}

// begin gives the agent tasks, and says by which ids they go, in order.
func (c *Client) begin(ctx context.Context, tasks ...item) (status int, ids []string, err error) {
	status, body, err := c.do(ctx, http.MethodPost, pathActions, collection{tasks})
	switch {
	case err != nil:
		return 0, nil, err
	case status != http.StatusOK:
		return status, nil, unexpected(http.MethodPost, pathActions, status)
	}
	var begun collection
	if json.Unmarshal(body, &begun) != nil || len(begun.Data) != len(tasks) {
		return status, nil, fmt.Errorf("POST %s: %w", pathActions, ErrProtocol)
	}
	for _, t := range begun.Data {
		if !itemID.MatchString(t.ID) {
			return status, nil, fmt.Errorf("POST %s: %w: a task has no id", pathActions, ErrProtocol)
		}
		ids = append(ids, t.ID)
	}
	return status, ids, nil
}

// ask has every device asked.
func (c *Client) ask(ctx context.Context, devices []item) (ids []string, err error) {
	for _, version := range versionTypes {
		var tasks []item
		for i, d := range devices {
			if deviceID.MatchString(d.ID) {
				tasks = append(tasks, task(diagnose, map[string]any{"destination": d.ID, "types": append(types[:len(types):len(types)], version), "timeout": diagnoseTimeout + i*diagnoseEach}))
			}
		}
		if len(tasks) == 0 {
			return nil, nil
		}
		var status int
		if status, ids, err = c.begin(ctx, tasks...); status != http.StatusUnprocessableEntity {
			break
		}
	}
	return ids, err
}

// watch looks at tasks until all have ended, and tells of the result of each as
// it does; empty: it has none.
func (c *Client) watch(ctx context.Context, ids []string, ended func(result string) error) error {
	open := make(map[string]bool, len(ids))
	for _, id := range ids {
		open[id] = true
	}
	for len(open) > 0 {
		pause := time.NewTimer(pollPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
		var now collection
		if err := c.get(ctx, pathActions, &now); err != nil {
			return err
		}
		there := make(map[string]bool, len(now.Data))
		for _, t := range now.Data {
			there[t.ID] = true
			var a struct {
				Status string `json:"status"`
			}
			if !open[t.ID] || json.Unmarshal(t.Attributes, &a) == nil && (a.Status == "pending" || a.Status == "active") {
				continue
			}
			delete(open, t.ID)
			if err := ended(t.Relationships.Result.Data.ID); err != nil {
				return err
			}
		}
		for id := range open {
			if !there[id] { // somebody else cleared it away
				delete(open, id)
			}
		}
	}
	return nil
}

// get reads one resource, or several.
func (c *Client) get(ctx context.Context, path string, v any) error {
	status, body, err := c.do(ctx, http.MethodGet, path, nil)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return unexpected(http.MethodGet, path, status)
	case json.Unmarshal(body, v) != nil:
		return fmt.Errorf("GET %s: %w", path, ErrProtocol)
	}
	return nil
}
