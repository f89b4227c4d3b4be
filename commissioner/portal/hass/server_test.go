package hass_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// node is a node as clients see it.
type node struct {
	ID         uint64                     `json:"node_id"`
	Date       string                     `json:"date_commissioned"`
	Available  bool                       `json:"available"`
	Bridge     bool                       `json:"is_bridge"`
	Version    int                        `json:"interview_version"`
	Matter     string                     `json:"matter_version"`
	Attributes map[string]json.RawMessage `json:"attributes"`
}

// TestSession is the session that the reference works out.
func TestSession(t *testing.T) {
	r := start(t)
	c := r.open("administer")
	const greeting = `{"fabric_id":1,"compressed_fabric_id":11400714819323198485,"fabric_index":1,"schema_version":13,"min_supported_schema_version":11,` +
		`"sdk_version":"gatehouse/0.0.0-test","wifi_credentials_set":false,"thread_credentials_set":false,"bluetooth_enabled":true,"ble_proxy_enabled":false,"controller_node_id":112233}`
	if f := c.next(); f.text != greeting {
		t.Errorf("the greeting is %s", f.text)
	}
	if f, before := c.call("start_listening", ""); f.text != `{"message_id":"m","result":[]}` || before != nil {
		t.Errorf("%v %s", before, f.text)
	}
	f, before := c.call("set_wifi_credentials", `{"ssid":"iot","credentials":"top secret","id":"default"}`)
	if f.text != `{"message_id":"mm","result":{}}` {
		t.Error(f.text)
	}
	if before == nil {
		before = []frame{c.next()}
	}
	if !strings.HasPrefix(before[0].text, `{"event":"server_info_updated","data":{`) || !strings.Contains(before[0].text, `"wifi_credentials_set":true`) {
		t.Error(before[0].text)
	}
	f, before = c.call("commission_with_code", `{"code":"34970112332","network_only":false}`)
	var paired, added node
	before = slices.DeleteFunc(before, func(e frame) bool { return e.Event == "node_updated" }) // the twin tells of the pairing as well
	if len(before) != 1 || before[0].Event != "node_added" || json.Unmarshal(before[0].Data, &added) != nil || json.Unmarshal(f.Result, &paired) != nil {
		t.Fatalf("%v %s", before, f.text)
	}
	if string(before[0].Data) != string(f.Result) || paired.ID != 1 || paired.Date != "2026-08-21T10:15:00.000000" || !paired.Available || paired.Version != 6 ||
		paired.Matter != "1.4.0" || string(paired.Attributes["1/6/0"]) != "false" || string(paired.Attributes["0/29/0"]) != `[{"0":22,"1":1}]` ||
		string(paired.Attributes["0/62/1"][:8]) != `[{"1":"A` || !strings.Contains(string(paired.Attributes["0/62/1"]), `"3":18446744073709551600`) {
		t.Errorf("%+v", paired)
	}
	f, before = c.call("device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":6,"command_name":"Toggle","payload":{},"response_type":null,"timed_request_timeout_ms":null,"interaction_timeout_ms":null}`)
	if f.text != `{"message_id":"mmmm","result":null}` {
		t.Error(f.text)
	}
	for e := range slices.Values(before) {
		if e.Event == "node_updated" { // of the pairing, still
			continue
		}
		f = e
	}
	if f.Event == "" {
		f = c.event("attribute_updated")
	}
	if f.text != `{"event":"attribute_updated","data":[1,"1/6/0",true]}` {
		t.Error(f.text)
	}
	if log := r.log.String(); strings.Contains(log, "top secret") || strings.Contains(log, "20202021") {
		t.Errorf("a secret is in the log: %s", log)
	}
}

// TestGate sees that nothing is told before start_listening is answered, and
// all that happens from then on.
func TestGate(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	on := hass.Path{Endpoint: 1, Cluster: 6}
	c := r.dial(hass.Administer)
	r.home.Set(n, on, true)
	c.must("set_wifi_credentials", `{"ssid":"iot","credentials":"secret"}`, nil)
	c.silent()
	for range 50 {
		c := r.dial(hass.Read)
		done := make(chan bool)
		go func() {
			defer close(done)
			for i := range 101 {
				r.home.Set(n, on, i%2 == 0)
			}
			r.home.SetAvailable(n, true)
		}()
		id := c.send("start_listening", "")
		f := c.next()
		var nodes []node
		if string(f.ID) != id || json.Unmarshal(f.Result, &nodes) != nil || len(nodes) != 1 {
			t.Fatalf("before the answer to start_listening: %s", f.text)
		}
		<-done
		// What changed meanwhile is in the answer or follows it.
		for last := string(nodes[0].Attributes["1/6/0"]); last != "true"; {
			switch f := c.next(); f.Event {
			case "attribute_updated":
				last = strings.TrimSuffix(strings.TrimPrefix(string(f.Data), `[1,"1/6/0",`), "]")
			case "node_updated":
				var n node
				json.Unmarshal(f.Data, &n)
				last = string(n.Attributes["1/6/0"])
			}
		}
	}
}

// TestUnknownNodes sees that nothing is said of a node that a client does not
// know, or knows no more.
func TestUnknownNodes(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	on := hass.Path{Endpoint: 1, Cluster: 6}
	c := r.dial(hass.Administer)
	c.must("start_listening", "", nil)
	for _, kind := range []hass.ChangeKind{hass.AttributeChanged, hass.EndpointAdded, hass.Removed, hass.Updated} {
		r.home.Tell(hass.Change{Kind: kind, Node: n + 7, Path: on}) // no such node
	}
	c.silent()
	second := r.home.Add()
	r.home.Set(second, on, true)
	if f := c.next(); f.Event != "node_added" {
		t.Errorf("a new node begins with %s", f.text)
	}
	c.event("attribute_updated")
	before := c.must("remove_node", fmt.Sprintf(`{"node_id":%d}`, second), nil)
	r.home.Set(second, on, false)
	if len(before) == 0 {
		before = append(before, c.next())
	}
	if len(before) != 1 || before[0].text != `{"event":"node_removed","data":2}` {
		t.Error(before)
	}
	for _, kind := range []hass.ChangeKind{hass.AttributeChanged, hass.EndpointAdded, hass.Removed, hass.Updated} {
		r.home.Tell(hass.Change{Kind: kind, Node: second, Path: on})
	}
	c.silent()
	// Who listens again knows what that answer shows, and nothing from before.
	r.home.Lose(n)
	c.must("start_listening", "", nil)
	r.home.Tell(hass.Change{Kind: hass.AttributeChanged, Node: n, Path: on})
	c.silent()
}

// TestEndpoints sees that a bridge's new endpoint is told of behind the node
// that shows it.
func TestEndpoints(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	c := r.dial(hass.Read)
	c.must("start_listening", "", nil)
	r.home.AddEndpoint(n, 3)
	f := c.next()
	var shown node
	if f.Event != "node_updated" || json.Unmarshal(f.Data, &shown) != nil || shown.Attributes["3/6/0"] == nil {
		t.Errorf("first comes %s", f.text)
	}
	if f := c.next(); f.text != `{"event":"endpoint_added","data":{"node_id":1,"endpoint_id":3}}` {
		t.Error(f.text)
	}
	r.home.RemoveEndpoint(n, 3)
	if f := c.event("endpoint_removed"); string(f.Data) != `{"node_id":1,"endpoint_id":3}` {
		t.Error(f.text)
	}
}

func TestNodeEvent(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	c := r.dial(hass.Read)
	c.must("start_listening", "", nil)
	data, err := tlv.Marshal(struct {
		Position uint8 `tlv:"0"`
	}{1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		r.home.Happen(n, 1, 59, 1, uint64(12345+i), data)
	}
	const want = `{"event":"node_event","data":{"node_id":1,"endpoint_id":1,"cluster_id":59,"event_id":1,"event_number":12345,"priority":1,"timestamp":1787307300000,"timestamp_type":1,"data":{"newPosition":1}}}`
	if f := c.next(); f.text != want {
		t.Error(f.text)
	}
	for range 29 {
		c.event("node_event")
	}
	var d struct {
		Info   hass.Info
		Nodes  []node
		Events []struct {
			Number int `json:"event_number"`
		}
	}
	c.must("diagnostics", "", &d)
	if len(d.Events) != 25 || d.Events[24].Number != 12374 || len(d.Nodes) != 1 || d.Info.Schema != 13 {
		t.Errorf("%+v", d)
	}
}

// TestOptIn sees that events which old clients choke on go only to those that
// asked for what they are about.
func TestOptIn(t *testing.T) {
	r := start(t)
	c, other := r.dial(hass.Operate), r.dial(hass.Operate)
	for event, command := range map[string]string{hass.ThreadDiagnostics: "get_thread_diagnostics", hass.NetworkTopology: "get_network_topology", hass.WebRTCCallback: "send_webrtc_provider_command"} {
		c.must("start_listening", "", nil)
		other.must("start_listening", "", nil)
		r.server.Publish(event, "early")
		c.silent()
		c.call(command, `{"node_id":9}`) // also if it fails
		r.server.Publish(event, "late")
		if f := c.next(); f.Event != event || string(f.Data) != `"late"` {
			t.Error(f.text)
		}
		other.silent()
	}
}

// TestFrames gives the server what is no request.
func TestFrames(t *testing.T) {
	r := start(t)
	c := r.dial(hass.Administer)
	for text, want := range map[string]struct {
		code hass.Code
		id   string
	}{
		``:                   {hass.InvalidArguments, `""`},
		`null`:               {hass.InvalidCommand, `""`},
		`{`:                  {hass.InvalidArguments, `""`},
		`[]`:                 {hass.InvalidArguments, `""`},
		`{}`:                 {hass.InvalidCommand, `""`},
		`{"message_id":"a"}`: {hass.InvalidCommand, `"a"`},
		`{"message_id":12345678901234567890,"command":"nothing"}`:                  {hass.InvalidCommand, `12345678901234567890`},
		`{"message_id":{"a":1},"command":"nothing"}`:                               {hass.InvalidCommand, `""`},
		`{"message_id":"` + strings.Repeat("x", 2000) + `","command":"nothing"}`:   {hass.InvalidCommand, `""`},
		`{"message_id":"a","command":7}`:                                           {hass.InvalidArguments, `"a"`},
		`{"message_id":"a","command":"get_node","args":[]}`:                        {hass.InvalidArguments, `"a"`},
		`{"message_id":"a","command":"get_node","args":{"node_id":-1}}`:            {hass.InvalidArguments, `"a"`},
		`{"message_id":"a","command":"get_node","args":{"node_id":1.5}}`:           {hass.InvalidArguments, `"a"`},
		`{"message_id":"a","command":"get_node","args":{"node_id":1e30}}`:          {hass.InvalidArguments, `"a"`},
		`{"message_id":"a","command":"get_node"}`:                                  {hass.InvalidArguments, `"a"`},
		`{"message_id":"a","command":"get_node","args":{"node_id":1},"more":null}`: {hass.NotExists, `"a"`},
	} {
		c.write(text)
		if f := c.next(); f.Code == nil || *f.Code != want.code || string(f.ID) != want.id {
			t.Errorf("%.80s: %s", text, f.text)
		}
	}
	c.silent()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.ws.Write(ctx, websocket.MessageBinary, []byte(`{}`))
	if _, err := c.read(patience); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("a binary frame: %v", err)
	}
}

// TestOversize sends the largest frame there may be, and one beyond.
func TestOversize(t *testing.T) {
	r := start(t)
	c := r.dial(hass.Administer)
	const most = 32 << 20
	head, tail := `{"message_id":"a","command":"import_test_node","args":{"dump":"`, `"}}`
	c.write(head + strings.Repeat("x", most-len(head)-len(tail)) + tail)
	if f := c.next(); f.Code == nil || *f.Code != hass.InvalidArguments {
		t.Errorf("%.200s", f.text)
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.ws.Write(ctx, websocket.MessageText, []byte(head+strings.Repeat("x", most)+tail))
	}()
	if _, err := c.read(patience); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("beyond that: %v", err)
	}
}

// TestPending gives more requests than may wait.
func TestPending(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	c := r.dial(hass.Operate)
	wait := make(chan bool)
	r.home.Slow(func(id cert.NodeID) { <-wait })
	for range 513 {
		c.send("ping_node", fmt.Sprintf(`{"node_id":%d}`, n))
	}
	if f := c.next(); f.Code == nil || *f.Code != hass.Unknown || !strings.Contains(f.Details, "too many") {
		t.Errorf("the 513th: %s", f.text)
	}
	close(wait)
	for range 512 {
		if f := c.next(); f.Code != nil {
			t.Fatal(f.text)
		}
	}
	c.silent()
}

// TestInTurn gives commands to one endpoint while the first is slow.
func TestInTurn(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	c := r.dial(hass.Operate)
	c.must("start_listening", "", nil)
	first := make(chan bool, 1)
	first <- true
	r.home.Slow(func(cert.NodeID) {
		select {
		case <-first:
			time.Sleep(50 * time.Millisecond)
		default:
		}
	})
	var ids []string
	for i := range 20 {
		ids = append(ids, c.send("device_command", fmt.Sprintf(`{"node_id":%d,"endpoint_id":1,"cluster_id":6,"command_name":%q,"payload":{}}`, n, []string{"On", "Off"}[i%2])))
	}
	for len(ids) > 0 {
		if f := c.next(); string(f.ID) == ids[0] {
			ids = ids[1:]
		} else if f.Event == "" {
			t.Fatalf("%s out of turn", f.text)
		}
	}
	var values map[string]bool
	c.must("read_attribute", `{"node_id":1,"attribute_path":"1/6/0"}`, &values)
	if values["1/6/0"] {
		t.Error("the last command was not the last that was carried out")
	}
}

func TestShutdown(t *testing.T) {
	r := start(t)
	c := r.dial(hass.Read)
	c.must("start_listening", "", nil)
	go r.server.Close(t.Context())
	if f := c.next(); f.text != `{"event":"server_shutdown","data":{}}` {
		t.Error(f.text)
	}
	if _, err := c.read(patience); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Error(err)
	}
	late := r.open("read")
	if _, err := late.read(patience); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("a late client: %v", err)
	}
}

// TestHTTP is what is served beside the WebSocket.
func TestHTTP(t *testing.T) {
	r := start(t)
	r.home.Add()
	get := func(method, path, user string) (int, string) {
		req, _ := http.NewRequest(method, r.http.URL+path, nil)
		if user != "" {
			req.SetBasicAuth(user, "x")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(b))
	}
	if status, body := get("GET", "/health", ""); status != 200 || body != `{"version":"0.0.0-test","node_count":1}` {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get("POST", "/health", ""); status != 405 {
		t.Errorf("%d", status)
	}
	if status, body := get("GET", "/info", "read"); status != 200 || !strings.Contains(body, `"compressed_fabric_id":11400714819323198485`) {
		t.Errorf("%d %s", status, body)
	}
	for _, path := range []string{"/info", "/ws", "/ota-upload/00"} {
		if status, _ := get("GET", path, ""); status != 401 {
			t.Errorf("%s without a name: %d", path, status)
		}
	}
	req, _ := http.NewRequest("GET", r.http.URL+"/ws", nil)
	req.SetBasicAuth("administer", "x")
	for key, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": "https://elsewhere.example"} {
		req.Header.Set(key, value)
	}
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 403 {
		t.Errorf("another site's page is let in: %v %v", resp, err)
	}
}
