package otbr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// nodeBefore and diagnosticsBefore are an old agent's.
const (
	nodeBefore = `{"State":4,"NumOfRouter":2,"RlocAddress":"fd00::ff:fe00:0","ExtAddress":"524346077901b890","NetworkName":"Lab","Rloc16":17408,
		"LeaderData":{"PartitionId":7,"Weighting":64,"DataVersion":1,"StableDataVersion":1,"LeaderRouterId":17},"ExtPanId":"a1b2c3d4e5f60708"}`
	diagnosticsBefore = `[{"ExtAddress":"524346077901b890","Rloc16":17408,"Mode":{"RxOnWhenIdle":1,"DeviceType":1,"NetworkData":1},"Timeout":240,
		"Connectivity":{"ParentPriority":-1,"LinkQuality3":3,"LinkQuality2":0,"LinkQuality1":0,"LeaderCost":1,"IdSequence":219,"ActiveRouters":4,"SedBufferSize":1280,"SedDatagramCount":1},
		"Route":{"IdSequence":219,"RouteData":[{"RouteId":5,"LinkQualityOut":3,"LinkQualityIn":2,"RouteCost":1}]},
		"LeaderData":{"PartitionId":828699576,"Weighting":65,"DataVersion":116,"StableDataVersion":72,"LeaderRouterId":17},"NetworkData":"08040b02","IP6AddressList":["fd00::ff:fe00:4400","no address"],
		"MACCounters":{"IfInUnknownProtos":0,"IfInErrors":18,"IfOutErrors":0,"IfInUcastPkts":55,"IfInBroadcastPkts":153,"IfInDiscards":1,"IfOutUcastPkts":73,"IfOutBroadcastPkts":136,"IfOutDiscards":0},
		"ChildTable":[{"ChildId":1,"Timeout":12,"Mode":{"RxOnWhenIdle":0,"DeviceType":0,"NetworkData":1}}],"ChannelPages":"00","MaxChildTimeout":240}]`
	rendered = `{"extMacAddress":"524346077901B890","rloc16":17408,"mode":{"rxOnWhenIdle":true,"ftd":true,"fullNetworkData":true},"timeout":240,` +
		`"connectivity":{"parentPriority":-1,"linkQuality3":3,"linkQuality2":0,"linkQuality1":0,"leaderCost":1,"idSequence":219,"activeRouters":4,"sedBufferSize":1280,"sedDatagramCount":1},` +
		`"route64":{"idSequence":219,"entries":[{"routerId":5,"linkQualityIn":2,"linkQualityOut":3,"routeCost":1}]},` +
		`"leaderData":{"partitionId":828699576,"weighting":65,"dataVersion":116,"stableDataVersion":72,"leaderRouterId":17},"networkData":"08040B02","ipv6Addresses":["FD00000000000000000000FFFE004400"],` +
		`"macCounters":{"ifInUnknownProtos":0,"ifInErrors":18,"ifOutErrors":0,"ifInUcastPkts":55,"ifInBroadcastPkts":153,"ifInDiscards":1,"ifOutUcastPkts":73,"ifOutBroadcastPkts":136,"ifOutDiscards":0},` +
		`"childTable":[{"timeoutExponent":12,"timeoutSeconds":256,"incomingLinkQuality":0,"childId":1,"mode":{"rxOnWhenIdle":false,"ftd":false,"fullNetworkData":true}}],"channelPages":[0],"maxChildTimeout":240}`

	nodeNow = `{"baId":"35a46708f3edb74be2de940a544fd6bb","baState":"active","state":"leader","routerCount":4,"rlocAddress":"fd58::ff:fe00:4400","extAddress":"524346077901b890",
		"networkName":"Lab","rloc16":"0x4400","routerId":17,"leaderData":{"partitionId":828699576,"weighting":65,"dataVersion":116,"stableDataVersion":72,"leaderRouterId":17},"extPanId":"a1b2c3d4e5f60708"}`
	attributesNow = `{"extAddress":"%s","rloc16":"0x8800","routerId":34,"mode":{"rxOnWhenIdle":true,"fullThreadDevice":true,"fullNetworkData":true},"ipv6Addresses":["fe80::1"],
		"childTable":[],"%s":5,"vendorName":"","threadStackVersion":"OPENTHREAD/1","mleCounters":{"radioDisabledCount":1,"totalTrackingTime":1035181,"leaderRoleTime":168579},
		"routerNeighbors":[{"rloc16":"0x1400"}],"isLeader":false,"created":"2026-11-22T11:13:47+00:00"}`
)

// serve is an agent that answers as f does; requests are noted.
func serve(t *testing.T, f func(w http.ResponseWriter, r *http.Request, body string)) (*Client, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		mu.Unlock()
		f(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	c, err := NewClient(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

func notFound(w http.ResponseWriter) {
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, `{"title":"Not Found","status":404,"detail":""}`)
}

// neverAsked sees that nothing was asked that gives keys away.
func neverAsked(t *testing.T, asked []string) {
	t.Helper()
	for _, a := range asked {
		if strings.Contains(a, "dataset") || strings.Contains(a, "epskc") {
			t.Errorf("asked %s", a)
		}
	}
}

func TestCollectBefore(t *testing.T) {
	c, asked := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		switch r.URL.Path {
		case "/node":
			io.WriteString(w, nodeBefore)
		case "/diagnostics":
			io.WriteString(w, diagnosticsBefore)
		default:
			notFound(w)
		}
	})
	report, err := c.Collect(t.Context())
	if err != nil || report.ExtendedPANID != 0xa1b2c3d4e5f60708 || report.Name != "Lab" || len(report.Nodes) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got, err := json.Marshal(report.Nodes[0]); err != nil || string(got) != rendered {
		t.Errorf("%v\n%s\n%s", err, got, rendered)
	}
	neverAsked(t, asked())
}

// agent is one of the newer generation.
type agent struct {
	version string // what it calls the version of Thread
	silent  string // a device that does not answer
	wicked  string // one whose result would lead elsewhere
	forgets bool   // somebody clears its tasks away
	slow    int    // looks until a task is done
	devices []string

	mu      sync.Mutex
	tasks   []item
	looks   int
	deleted []string
}

func (a *agent) serve(w http.ResponseWriter, r *http.Request, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.URL.Path == "/node":
		io.WriteString(w, nodeNow)
	case r.Method == http.MethodDelete:
		a.deleted = append(a.deleted, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/vnd.api+json":
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case r.Method == http.MethodPost:
		var q collection
		if json.Unmarshal([]byte(body), &q) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if strings.Contains(body, diagnose) && !strings.Contains(body, `"`+a.version+`"`) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		for i := range q.Data {
			q.Data[i].ID = fmt.Sprintf("0000-%04d", len(a.tasks))
			a.tasks = append(a.tasks, q.Data[i])
		}
		json.NewEncoder(w).Encode(q)
	case r.URL.Path == "/api/actions":
		a.looks++
		now := collection{Data: []item{{ID: "another", Type: "getEnergyScanTask", Attributes: json.RawMessage(`{"status":"active"}`)}}}
		for i, t := range a.tasks {
			var q struct{ Destination string }
			json.Unmarshal(t.Attributes, &q)
			switch {
			case a.looks <= a.slow:
				t.Attributes = json.RawMessage(`{"status":"pending"}`)
			case q.Destination == a.silent && q.Destination != "":
				t.Attributes = json.RawMessage(`{"status":"stopped"}`)
			case q.Destination == a.wicked && q.Destination != "":
				t.Attributes = json.RawMessage(`{"status":"completed"}`)
				t.Relationships.Result.Data.ID = "../../node/dataset/active"
			case a.forgets:
				continue
			default:
				t.Attributes = json.RawMessage(`{"status":"completed"}`)
				t.Relationships.Result.Data.ID = fmt.Sprintf("a371-%d", i)
			}
			now.Data = append(now.Data, t)
		}
		json.NewEncoder(w).Encode(now)
	case r.URL.Path == "/api/devices":
		all := collection{}
		for _, id := range a.devices {
			all.Data = append(all.Data, item{ID: id, Type: "threadDevice", Attributes: json.RawMessage(`{}`)})
		}
		json.NewEncoder(w).Encode(all)
	case strings.HasPrefix(r.URL.Path, "/api/diagnostics/"):
		var i int
		var q struct{ Destination string }
		fmt.Sscanf(r.URL.Path, "/api/diagnostics/a371-%d", &i)
		json.Unmarshal(a.tasks[i].Attributes, &q)
		fmt.Fprintf(w, `{"data":{"id":"x","type":"networkDiagnostics","attributes":`+attributesNow+`}}`, q.Destination, a.version)
	default:
		notFound(w)
	}
}

func TestCollectNow(t *testing.T) {
	for _, version := range versionTypes {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := &agent{version: version, slow: 1, silent: "2ada296467e37351", wicked: "1111111111111111",
				devices: []string{"062b0d6da5fa7cfa", "2ada296467e37351", "../../node/dataset", "1111111111111111", "524346077901b890"}}
			c, asked := serve(t, a.serve)
			report, err := c.Collect(t.Context())
			if err != nil || report.ExtendedPANID != 0xa1b2c3d4e5f60708 || len(report.Nodes) != 2 {
				t.Fatalf("%+v, %v", report, err)
			}
			n := report.Nodes[1]
			if n.ExtendedAddress != "524346077901B890" || *n.RLOC16 != 0x8800 || !n.Mode.Full || *n.Version != 5 || n.MLE.Tracked != 1035181 || n.MLE.Disabled != 1 || n.Children == nil {
				t.Errorf("%+v", n)
			}
			if a.mu.Lock(); len(a.deleted) != 5+2 || strings.Contains(strings.Join(a.deleted, " "), "another") {
				t.Errorf("cleared away %v", a.deleted)
			}
			a.mu.Unlock()
			neverAsked(t, asked())
		})
	}
}

// TestCollectLate gives what came before the time was over.
func TestCollectLate(t *testing.T) {
	t.Parallel()
	a := &agent{version: "threadVersion", slow: 1000, devices: []string{"062b0d6da5fa7cfa"}}
	c, _ := serve(t, a.serve)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	report, err := c.Collect(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || report == nil || report.ExtendedPANID == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.deleted) != 1 {
		t.Errorf("cleared away %v", a.deleted)
	}
}

// TestCollectMany asks no more devices than there may be, and waits for no task
// that is gone.
func TestCollectMany(t *testing.T) {
	t.Parallel()
	a := &agent{version: "version", forgets: true}
	for i := range maxNodes + 1 {
		a.devices = append(a.devices, fmt.Sprintf("%016x", i+1))
	}
	c, _ := serve(t, a.serve)
	report, err := c.Collect(t.Context())
	if err != nil || len(report.Nodes) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tasks) != 1+maxNodes {
		t.Errorf("%d tasks", len(a.tasks))
	}
}

// TestHostile has something else answer.
func TestHostile(t *testing.T) {
	endless := func(w http.ResponseWriter, open string) {
		io.WriteString(w, open)
		for range 64 << 20 / 1024 {
			if _, err := io.WriteString(w, strings.Repeat("[", 1024)); err != nil {
				return
			}
		}
		t.Error("all of an endless answer is read")
	}
	for name, f := range map[string]func(w http.ResponseWriter, r *http.Request){
		"endless node":         func(w http.ResponseWriter, r *http.Request) { endless(w, "") },
		"a network without id": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"state":"leader","extPanId":"x"}`) },
		"a short id": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/node":
				io.WriteString(w, `{"state":"leader","extPanId":"a1b2"}`)
			case "/diagnostics":
				io.WriteString(w, `[]`)
			default:
				notFound(w)
			}
		},
		"nothing there": func(w http.ResponseWriter, r *http.Request) { notFound(w) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/node", http.StatusFound)
		},
		"endless diagnostics": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/node":
				io.WriteString(w, nodeBefore)
			case "/diagnostics":
				endless(w, "[")
			default:
				notFound(w)
			}
		},
		"a long nothing": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/node":
				io.WriteString(w, nodeBefore)
			case "/diagnostics":
				io.WriteString(w, diagnosticsBefore+strings.Repeat(" ", maxAnswer))
			default:
				notFound(w)
			}
		},
		"wrong types": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/node":
				io.WriteString(w, nodeBefore)
			case "/diagnostics":
				io.WriteString(w, `[{"ExtAddress":7},{"ExtAddress":"524346077901b890","Rloc16":{}},[],null,"x"]`)
			default:
				notFound(w)
			}
		},
		"no list": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/node":
				io.WriteString(w, nodeBefore)
			case "/diagnostics":
				io.WriteString(w, `{"a":1}`)
			default:
				notFound(w)
			}
		},
		"tasks without ids": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/node":
				io.WriteString(w, nodeNow)
			case r.Method == http.MethodPost:
				io.WriteString(w, `{"data":[{"id":"../../node/dataset/active","type":"x","attributes":{}}]}`)
			default:
				io.WriteString(w, `{"data":[]}`)
			}
		},
		"no tasks": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/node" {
				io.WriteString(w, nodeNow)
			} else {
				io.WriteString(w, `{"data":[]}`)
			}
		},
		"devices that are none": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/node":
				io.WriteString(w, nodeNow)
			case r.URL.Path == "/api/devices":
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, `{"data":[]}`)
			default:
				io.WriteString(w, `{"data":[{"id":"0-1","type":"x","attributes":{"status":"completed"}}]}`)
			}
		},
		"a redirect of tasks": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/node" {
				io.WriteString(w, nodeNow)
			} else {
				http.Redirect(w, r, "/node/dataset/active", http.StatusFound)
			}
		},
		"a task that fails": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/node" {
				io.WriteString(w, nodeNow)
			} else if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, asked := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) { f(w, r) })
			if report, err := c.Collect(t.Context()); !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrUnreachable) || report != nil && len(report.Nodes) > 0 {
				t.Errorf("%+v, %v", report, err)
			}
			neverAsked(t, asked())
		})
	}
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := c.Collect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		c, err := NewClient("http://127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Collect(t.Context()); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	})
	for _, base := range []string{"", "127.0.0.1:8081", "ftp://a", "http://u:p@a", "http://a/path", "http://a?q", "file:///etc"} {
		if _, err := NewClient(base); err == nil {
			t.Errorf("%q is an address", base)
		}
	}
}

// TestVectors reads what a real agent wrote.
func TestVectors(t *testing.T) {
	const file = "../../../../shared/vectors/thread/rest-08-jsonapi-actions.txt"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("the captured answers are not here: %v", err)
	}
	_, after, _ := strings.Cut(string(b), "/api/diagnostics\n--- request")
	_, after, _ = strings.Cut(after, "\n\n{")
	body, _, _ := strings.Cut("{"+after, "\n====")
	var all collection
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all.Data) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	n, ok := decodeNode(all.Data[0].Attributes)
	if !ok || n.ExtendedAddress != "2ADA296467E37351" || len(n.Route.Entries) != 4 || n.Route.Entries[1].Router != 17 || len(n.Addresses) != 4 || n.MAC.InErrors != 18 ||
		n.Leader.Partition != 828699576 || *n.Version != 5 || n.MLE.BetterPartitions != 0 || n.MLE.RouterTime != 739471 || len(n.NetworkData) < 200 || !n.Mode.Full {
		t.Errorf("%+v", n)
	}
}

// TestDecode reads nodes that go to the limits, and beyond.
func TestDecode(t *testing.T) {
	many := func(n int, one string) string { return "[" + strings.Repeat(one+",", n-1) + one + "]" }
	quoted := func(n int, one string) string { return `"` + strings.Repeat(one, n) + `"` }
	const id = `"rloc16":1`
	for _, c := range []struct{ what, in, want string }{
		{"a name", `"extAddress":"062b0d6da5fa7cfa"`, `{"extMacAddress":"062B0D6DA5FA7CFA"}`},
		{"no name", `"mode":{}`, ``},
		{"a short name", `"extAddress":"062b"`, ``},
		{"a long name", `"extAddress":"062b0d6da5fa7cfa00"`, ``},
		{"a number in hex", `"rloc16":"0xFFFFFFFFFFFFFFFF"`, `{"rloc16":18446744073709551615}`},
		{"a number that no fraction is exact for", `"rloc16":9007199254740993`, `{"rloc16":9007199254740993}`},
		{"an exponent", `"rloc16":1e3`, `{"rloc16":1000}`},
		{"too large", `"rloc16":1e300`, ``},
		{"below nothing", `"rloc16":-1`, ``},
		{"a fraction in words", `"rloc16":"1.5"`, ``},
		{"a truth that is none", id + `,"mode":{"rxOnWhenIdle":2}`, ``},
		{"the mode of August 2025", id + `,"mode":{"deviceType":1,"networkData":1}`, `{"rloc16":1,"mode":{"rxOnWhenIdle":false,"ftd":true,"fullNetworkData":true}}`},
		{"the mode of June 2026", id + `,"mode":{"deviceTypeFTD":true}`, `{"rloc16":1,"mode":{"rxOnWhenIdle":false,"ftd":true,"fullNetworkData":false}}`},
		{"an old address", id + `,"ipv6Addresses":["1.2.3.4"]`, `{"rloc16":1}`},
		{"a long text", id + `,"vendorName":` + quoted(maxText, "v"), `{"rloc16":1,"vendorName":` + quoted(maxText, "v") + `}`},
		{"too long a text", id + `,"vendorName":` + quoted(maxText+1, "v"), `{"rloc16":1}`},
		{"long network data", id + `,"networkData":` + quoted(maxHex, "0a"), `{"rloc16":1,"networkData":` + quoted(maxHex, "0A") + `}`},
		{"too long network data", id + `,"networkData":` + quoted(maxHex+1, "0a"), `{"rloc16":1}`},
		{"too many pages", id + `,"channelPages":` + quoted(maxHex+1, "00"), `{"rloc16":1}`},
		{"too many addresses", id + `,"ipv6Addresses":` + many(maxAddresses+1, `"::"`), `{"rloc16":1,"ipv6Addresses":` + many(maxAddresses, quoted(32, "0")) + `}`},
		{"too many routes", id + `,"route":{"routeData":` + many(maxRoutes+1, `{}`) + `}`,
			`{"rloc16":1,"route64":{"idSequence":0,"entries":` + many(maxRoutes, `{"routerId":0,"linkQualityIn":0,"linkQualityOut":0,"routeCost":0}`) + `}}`},
		{"a child for ever", id + `,"childTable":[{"timeout":4000}]`,
			`{"rloc16":1,"childTable":[{"timeoutExponent":4000,"timeoutSeconds":134217728,"incomingLinkQuality":0,"childId":0,"mode":{"rxOnWhenIdle":false,"ftd":false,"fullNetworkData":false}}]}`},
		{"too many children", id + `,"childTable":` + many(maxChildren+1, `{"timeout":4}`),
			`{"rloc16":1,"childTable":` + many(maxChildren, `{"timeoutExponent":4,"timeoutSeconds":1,"incomingLinkQuality":0,"childId":0,"mode":{"rxOnWhenIdle":false,"ftd":false,"fullNetworkData":false}}`) + `}`},
	} {
		n, ok := decodeNode([]byte("{" + c.in + "}"))
		got, err := json.Marshal(n)
		if err != nil || ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s: %v, %v, %s", c.what, ok, err, got)
		}
	}
	if nodes, ok := decodeNodes([]byte(many(maxNodes+1, `{"rloc16":1}`))); !ok || len(nodes) != maxNodes {
		t.Errorf("%d nodes, %v", len(nodes), ok)
	}
}

// FuzzNodes bounds what is kept of an answer, and renders it.
func FuzzNodes(f *testing.F) {
	f.Add([]byte(diagnosticsBefore))
	f.Add([]byte("[" + fmt.Sprintf(attributesNow, "062b0d6da5fa7cfa", "version") + "]"))
	f.Add([]byte(`[{"rloc16":"0x10000000000000000"},{"rloc16":1e400},{"rloc16":-1},{"rloc16":"0x1"},{"RLOC16":2,"mode":null}]`))
	f.Add([]byte(`[{"rloc16":"0xffffffffffffffff"},{"rloc16":9007199254740993},{"rloc16":1e300},{"rloc16":null}]`))
	f.Add([]byte(`[{"rloc16":1,"childTable":[{"timeout":99999999999}],"ipv6Addresses":["::ffff:1.2.3.4","fe80::1%eth0"],"channelPages":"zz"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		nodes, ok := decodeNodes(b)
		if !ok && len(nodes) > 0 || len(nodes) > maxNodes {
			t.Fatalf("%d nodes, %v", len(nodes), ok)
		}
		for _, n := range nodes {
			if len(n.Addresses) > maxAddresses || len(n.Children) > maxChildren || n.Route != nil && len(n.Route.Entries) > maxRoutes || len(n.NetworkData) > 2*maxHex || len(n.Stack) > maxText {
				t.Fatalf("%+v", n)
			}
			out, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			var again Node
			if err := json.Unmarshal(out, &again); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if twice, err := json.Marshal(again); err != nil || string(twice) != string(out) {
				t.Fatalf("%s\n%s", out, twice)
			}
		}
	})
}
