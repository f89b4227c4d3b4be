package hass_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
	"gatehouse/fabric/cert"
	"gatehouse/radio/thread/otbr"
)

// arguments are, of each command, some that it takes in the home of commands.
var arguments = map[string]string{
	"start_listening": ``, "server_info": ``, "diagnostics": ``, "get_nodes": `{"only_available":true}`, "get_node": `{"node_id":1}`, "get_loglevel": ``, "set_loglevel": `{"console_loglevel":"debug"}`,
	"read_attribute": `{"node_id":1,"attribute_path":"0/40/*"}`, "write_attribute": `{"node_id":1,"attribute_path":"0/40/5","value":"den"}`,
	"device_command":               `{"node_id":1,"endpoint_id":1,"cluster_id":6,"command_name":"toggle"}`,
	"send_webrtc_provider_command": `{"node_id":1,"endpoint_id":1,"command_name":"ProvideOffer","payload":{"webRTCSessionID":null,"sdp":"v=0","streamUsage":3}}`, "subscribe_attribute": `{"any":"thing"}`,
	"interview_node": `{"node_id":1}`, "ping_node": `{"node_id":1,"attempts":2}`, "get_node_ip_addresses": `{"node_id":1}`,
	"discover": ``, "discover_commissionable_nodes": `{}`, "commission_with_code": `{"code":"` + hasstest.QR + `"}`, "commission_on_network": `{"setup_pin_code":20202021,"filter_type":2,"filter":3840}`,
	"open_commissioning_window": `{"node_id":1,"timeout":180}`, "remove_node": `{"node_id":2}`,
	"get_vendor_names": ``, "get_matter_fabrics": `{"node_id":1}`, "remove_matter_fabric": `{"node_id":1,"fabric_index":2}`,
	"set_acl_entry":    fmt.Sprintf(`{"node_id":1,"entry":[{"privilege":5,"auth_mode":2,"subjects":[%d],"targets":null}]}`, uint64(hasstest.Administrator)),
	"set_node_binding": `{"node_id":1,"endpoint":1,"bindings":[{"node":2,"group":null,"endpoint":1,"cluster":6}]}`, "set_default_fabric_label": `{"label":"Den"}`, "get_fabric_label": ``,
	"set_wifi_credentials": `{"ssid":"iot","credentials":"secret"}`, "set_thread_dataset": `{"dataset":"0e080000000000010000"}`, "remove_wifi_credentials": ``, "remove_thread_dataset": `{"id":"default"}`,
	"get_all_credentials": ``, "check_node_update": `{"node_id":1}`, "update_node": `{"node_id":1,"software_version":"2"}`, "initiate_ota_upload": ``,
	"get_icd_state": `{"node_id":1}`, "register_icd": `{"node_id":1}`, "unregister_icd": `{"node_id":1}`, "resync_icd": `{"node_id":1}`,
	"get_thread_border_routers": ``, "get_thread_diagnostics": `{"ext_pan_id":"fedcba9876543210"}`, "get_network_topology": `{"refresh":true}`,
	"import_test_node": `{"dump":"{\"data\":{\"node\":{\"attributes\":{}}}}"}`,
}

// fails are the commands that are refused in any home like that, and how.
var fails = map[string]hass.Code{"register_icd": hass.Unknown, "resync_icd": hass.Unknown}

// needed is what each command takes. One that is not here is not tested, and
// one without a scope does not compile.
var needed = map[hass.Scope]string{
	hass.Read: "start_listening server_info diagnostics get_nodes get_node get_loglevel read_attribute subscribe_attribute ping_node get_node_ip_addresses get_vendor_names get_matter_fabrics " +
		"set_default_fabric_label get_fabric_label check_node_update get_icd_state get_thread_border_routers get_thread_diagnostics get_network_topology",
	hass.Operate: "write_attribute device_command send_webrtc_provider_command interview_node",
	hass.Administer: "set_loglevel discover discover_commissionable_nodes commission_with_code commission_on_network open_commissioning_window remove_node remove_matter_fabric set_acl_entry set_node_binding " +
		"set_wifi_credentials set_thread_dataset remove_wifi_credentials remove_thread_dataset get_all_credentials update_node initiate_ota_upload register_icd unregister_icd resync_icd import_test_node",
}

// TestScopes gives every command with every scope.
func TestScopes(t *testing.T) {
	listed := map[string]hass.Scope{}
	for scope, commands := range needed {
		for name := range strings.FieldsSeq(commands) {
			listed[name] = scope
		}
	}
	for _, name := range hass.Commands() {
		want, ok := listed[name]
		args, ok2 := arguments[name]
		if !ok || !ok2 {
			t.Errorf("nobody says what %s takes", name)
			continue
		}
		delete(listed, name)
		for _, scope := range []hass.Scope{hass.Read, hass.Operate, hass.Administer} {
			t.Run(name+"/"+scope.String(), func(t *testing.T) {
				t.Parallel()
				r := start(t)
				r.home.Waiting = 2
				r.home.Add()
				r.home.Add()
				c := r.dial(scope)
				f, _ := c.call(name, args)
				switch code, bad := fails[name]; {
				case scope < want:
					if f.Code == nil || *f.Code != hass.Unknown || !strings.Contains(f.Details, "takes the scope "+want.String()) {
						t.Errorf("not refused: %s", f.text)
					}
				case bad:
					if f.Code == nil || *f.Code != code {
						t.Errorf("not error %d: %s", code, f.text)
					}
				case f.Code != nil || len(f.Result) == 0:
					t.Errorf("refused: %s", f.text)
				}
			})
		}
	}
	for name := range listed {
		t.Errorf("there is no command %s", name)
	}
}

// TestPrivileges gives commands whose scope depends on what they are for.
func TestPrivileges(t *testing.T) {
	r := start(t)
	r.home.Add()
	operator, admin := r.dial(hass.Operate), r.dial(hass.Administer)
	for _, test := range []struct{ command, args string }{
		{"write_attribute", fmt.Sprintf(`{"node_id":1,"attribute_path":"0/31/0","value":[{"1":5,"2":2,"3":[%d],"4":null}]}`, uint64(hasstest.Administrator))},
		{"write_attribute", `{"node_id":1,"attribute_path":"0/4294900000/0","value":1}`}, // of a vendor: nobody knows
		{"write_attribute", `{"node_id":1,"attribute_path":"0/40/6","value":"XX"}`},
		{"device_command", `{"node_id":1,"endpoint_id":0,"cluster_id":62,"command_name":"RemoveFabric","payload":{"fabricIndex":2}}`},
		{"device_command", `{"node_id":1,"endpoint_id":0,"cluster_id":60,"command_name":"RevokeCommissioning","payload":{}}`},
		{"device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":257,"command_name":"SetUser","payload":{}}`},
	} {
		operator.refused(test.command, test.args, hass.Unknown, "takes the scope administer")
		if f, _ := admin.call(test.command, test.args); strings.Contains(f.Details, "scope") {
			t.Error(f.text)
		}
	}
	operator.must("device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":3,"command_name":"Identify","payload":{"identify_time":10}}`, nil)
	operator.must("set_default_fabric_label", `{"label":"Mine"}`, nil) // and is ignored
	var label map[string]string
	operator.must("get_fabric_label", "", &label)
	if label["fabric_label"] != "Home" {
		t.Errorf("who may not has named the fabric %v", label)
	}
}

// TestErrors gives commands that fail, and sees each code.
func TestErrors(t *testing.T) {
	r := start(t)
	r.home.Add()
	away := r.home.Add()
	r.home.SetAvailable(away, false)
	c := r.dial(hass.Administer)
	own := fmt.Sprint(uint64(hasstest.Administrator))
	for _, test := range []struct {
		command, args string
		code          hass.Code
		with          string
	}{
		{"commission_with_code", `{"code":"34970112332x"}`, hass.InvalidArguments, "code"},
		{"commission_with_code", `{}`, hass.InvalidArguments, "code"},
		{"commission_with_code", `{"code":"34970112332","wifi_credentials_id":"nowhere"}`, hass.InvalidArguments, "nowhere"},
		{"commission_with_code", `{"code":"34970112332","thread_dataset_id":"nowhere"}`, hass.InvalidArguments, "nowhere"},
		{"commission_on_network", `{"setup_pin_code":12345678,"filter_type":1}`, hass.InvalidArguments, "filter"},
		{"commission_on_network", `{"setup_pin_code":12345678}`, hass.InvalidArguments, "setup_pin_code"},
		{"commission_on_network", `{}`, hass.InvalidArguments, "setup_pin_code"},
		{"commission_on_network", `{"setup_pin_code":20202021,"filter_type":1,"filter":16}`, hass.InvalidArguments, "range"},
		{"commission_on_network", `{"setup_pin_code":20202021,"filter_type":2,"filter":4096}`, hass.InvalidArguments, "range"},
		{"commission_on_network", `{"setup_pin_code":20202021,"filter_type":3,"filter":65535}`, hass.InvalidArguments, "range"},
		{"commission_on_network", `{"setup_pin_code":20202021,"filter_type":5,"filter":1}`, hass.InvalidArguments, "filter_type"},
		{"commission_on_network", `{"setup_pin_code":20202021,"ip_addr":"den"}`, hass.InvalidArguments, "ip_addr"},
		{"commission_on_network", `{"setup_pin_code":20202021,"filter_type":2,"filter":1}`, hass.CommissionFailed, "no device in pairing mode"},
		{"commission_on_network", `{"setup_pin_code":20202022,"filter_type":1,"filter":15}`, hass.CommissionFailed, "passcode"},
		{"interview_node", fmt.Sprintf(`{"node_id":%d}`, away), hass.InterviewFailed, ""},
		{"open_commissioning_window", fmt.Sprintf(`{"node_id":%d}`, away), hass.NotReady, "not available"},
		{"open_commissioning_window", `{"node_id":1,"timeout":179}`, hass.InvalidArguments, "180"},
		{"open_commissioning_window", `{"node_id":1,"discriminator":4096}`, hass.InvalidArguments, "discriminator"},
		{"device_command", fmt.Sprintf(`{"node_id":%d,"endpoint_id":1,"cluster_id":6,"command_name":"On"}`, away), hass.NotResolving, "stopped answering"},
		{"read_attribute", fmt.Sprintf(`{"node_id":%d,"attribute_path":"1/6/0"}`, away), hass.NotResolving, ""},
		{"get_node", `{"node_id":999999}`, hass.NotExists, "999999"},
		{"remove_node", `{"node_id":999999}`, hass.NotExists, "999999"},
		{"remove_node", `{"node_id":18446744069414584320}`, hass.NotExists, "18446744069414584320"},
		{"register_icd", `{"node_id":999999}`, hass.NotExists, "999999"},
		{"get_icd_state", `{"node_id":999999}`, hass.NotExists, "999999"},
		{"device_command", `{"node_id":999999}`, hass.NotExists, "999999"},
		{"read_attribute", `{"node_id":1,"attribute_path":"9/9/9"}`, hass.SDKStack, "9/9/9"},
		{"read_attribute", `{"node_id":1,"attribute_path":[]}`, hass.InvalidArguments, "paths"},
		{"read_attribute", `{"node_id":1,"attribute_path":"1/6"}`, hass.InvalidArguments, "1/6"},
		{"write_attribute", `{"node_id":1,"attribute_path":"0/40/*","value":"x"}`, hass.InvalidArguments, "wildcard"},
		{"write_attribute", `{"node_id":1,"attribute_path":"0/40/5","value":5}`, hass.InvalidArguments, "string"},
		{"write_attribute", `{"node_id":1,"attribute_path":"0/31/0","value":[]}`, hass.InvalidArguments, own},
		{"write_attribute", `{"node_id":1,"attribute_path":"0/31/0","value":[{"1":5,"2":2,"3":[` + own + `],"4":[{"0":6,"1":null,"2":null}]}]}`, hass.InvalidArguments, own},
		{"set_acl_entry", `{"node_id":1,"entry":[{"privilege":4,"auth_mode":2,"subjects":[` + own + `],"targets":null}]}`, hass.InvalidArguments, own},
		{"set_acl_entry", `{"node_id":1,"entry":[{"privilege":5,"auth_mode":2,"subjects":[112233],"targets":null}]}`, hass.InvalidArguments, own},
		{"set_acl_entry", `{"node_id":1,"entry":[{"privilege":5,"auth_mode":2,"subjects":null,"targets":null}]}`, hass.InvalidArguments, own},
		{"set_acl_entry", `{"node_id":1}`, hass.InvalidArguments, "list"},
		{"set_node_binding", `{"node_id":1,"endpoint":1,"bindings":[{"nobody":1}]}`, hass.InvalidArguments, "nobody"},
		{"remove_matter_fabric", `{"node_id":1,"fabric_index":1}`, hass.InvalidArguments, "remove_node"},
		{"remove_matter_fabric", `{"node_id":1,"fabric_index":9}`, hass.SDKStack, "11"},
		{"device_command", `{"node_id":1,"endpoint_id":0,"cluster_id":62,"command_name":"RemoveFabric","payload":{"fabricIndex":1}}`, hass.InvalidArguments, "remove_node"},
		{"device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":6,"command_name":"Explode"}`, hass.InvalidArguments, "Explode"},
		{"device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":4294900000,"command_name":"On"}`, hass.InvalidArguments, "4294900000"},
		{"device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":6,"command_name":"On","payload":{"x":1}}`, hass.InvalidArguments, `"x"`},
		{"device_command", `{"node_id":1,"endpoint_id":7,"cluster_id":6,"command_name":"On"}`, hass.SDKStack, "unsupported endpoint"},
		{"send_webrtc_provider_command", `{"node_id":1,"endpoint_id":1,"command_name":"EndSession","payload":{}}`, hass.InvalidArguments, "EndSession"},
		{"set_wifi_credentials", `{"ssid":"new","credentials":""}`, hass.InvalidArguments, "password"},
		{"set_wifi_credentials", `{"ssid":"","credentials":"secret"}`, hass.InvalidArguments, "SSID"},
		{"set_wifi_credentials", `{"ssid":"x","credentials":"secret","id":""}`, hass.InvalidArguments, "id"},
		{"set_thread_dataset", `{"dataset":"0e0"}`, hass.InvalidArguments, "hex"},
		{"set_thread_dataset", `{"dataset":"zz"}`, hass.InvalidArguments, "hex"},
		{"set_thread_dataset", `{"dataset":""}`, hass.InvalidArguments, "hex"},
		{"update_node", fmt.Sprintf(`{"node_id":%d,"software_version":2}`, away), hass.UpdateFailed, "not available"},
		{"update_node", `{"node_id":1,"software_version":7}`, hass.UpdateFailed, "newer"},
		{"update_node", `{"node_id":1,"software_version":"x"}`, hass.InvalidArguments, "software_version"},
		{"get_thread_diagnostics", `{"ext_pan_id":"abc"}`, hass.InvalidArguments, "16 hex"},
		{"set_loglevel", `{"console_loglevel":"loud"}`, hass.InvalidArguments, "loud"},
		{"import_test_node", `{"dump":"{\"data\":{}}"}`, hass.InvalidArguments, "Invalid dump format"},
		{"import_test_node", `{"dump":"nothing"}`, hass.InvalidArguments, "Invalid dump format"},
		{"unknown_command_xyz", `{}`, hass.InvalidCommand, "unknown_command_xyz"},
	} {
		c.refused(test.command, test.args, test.code, test.with)
	}
	f, _ := c.call("device_command", `{"node_id":1,"endpoint_id":7,"cluster_id":6,"command_name":"On"}`)
	if f.Status == nil || *f.Status != 0x7f {
		t.Errorf("the device's status is not told: %s", f.text)
	}
}

// TestAbsent asks a server that has nothing but a home.
func TestAbsent(t *testing.T) {
	r := start(t, func(c *hass.Config) {
		*c = hass.Config{Home: c.Home, Now: c.Now, Random: c.Random, Log: c.Log, Version: c.Version}
	})
	r.home.Add()
	c := r.dial(hass.Administer)
	for name, code := range map[string]hass.Code{"discover": hass.Unknown, "commission_with_code": hass.Unknown, "commission_on_network": hass.Unknown, "open_commissioning_window": hass.Unknown,
		"set_wifi_credentials": hass.Unknown, "set_thread_dataset": hass.Unknown, "remove_wifi_credentials": hass.Unknown, "remove_thread_dataset": hass.Unknown,
		"check_node_update": hass.UpdateCheck, "update_node": hass.UpdateFailed, "initiate_ota_upload": hass.UploadFailed, "set_loglevel": hass.Unknown,
		"register_icd": hass.Unknown, "resync_icd": hass.Unknown} {
		c.refused(name, arguments[name], code, "this gateway")
	}
	for _, name := range []string{"get_vendor_names", "get_all_credentials", "get_fabric_label", "set_default_fabric_label", "get_loglevel", "get_thread_border_routers", "get_matter_fabrics"} {
		c.must(name, arguments[name], nil)
	}
	var d hass.Diagnostics
	c.must("get_thread_diagnostics", `{"ext_pan_id":"fedcba9876543210"}`, &d)
	if want := (hass.Diagnostics{ExtendedPANID: "FEDCBA9876543210", Collected: noon.UnixMilli(), Source: "none", Nodes: []otbr.Node{}, Partial: "no_source"}); !reflect.DeepEqual(d, want) {
		t.Errorf("%+v", d)
	}
}

// TestAnswers sees what commands answer, as JSON.
func TestAnswers(t *testing.T) {
	r := start(t)
	r.home.Add()
	c := r.dial(hass.Administer)
	for _, test := range []struct{ command, args, want string }{
		{"read_attribute", `{"node_id":1,"attribute_path":["0/40/1","0/40/99"]}`, `{"0/40/1":"Test Vendor"}`},
		{"read_attribute", `{"node_id":1,"attribute_path":"0/*/5"}`, `{"0/40/5":"","0/62/5":1}`},
		{"read_attribute", `{"node_id":1,"attribute_path":"*/6/*"}`, `{"1/6/0":false,"1/6/16384":true,"1/6/16385":0,"1/6/16387":null,"1/6/65532":0,"1/6/65533":1}`},
		{"write_attribute", `{"node_id":1,"attribute_path":"1/65/0","value":[{"0":"room","1":"den"}]}`, `[{"Path":{"EndpointId":1,"ClusterId":65,"AttributeId":0},"Status":0}]`},
		{"write_attribute", `{"node_id":1,"attribute_path":"1/6/0","value":true}`, `[{"Path":{"EndpointId":1,"ClusterId":6,"AttributeId":0},"Status":136}]`},
		{"write_attribute", `{"node_id":1,"attribute_path":"0/40/5","value":"` + strings.Repeat("x", 33) + `"}`, `[{"Path":{"EndpointId":0,"ClusterId":40,"AttributeId":5},"Status":135}]`},
		{"read_attribute", `{"node_id":1,"attribute_path":"1/65/0"}`, `{"1/65/0":[{"0":"room","1":"den"}]}`},
		{"device_command", `{"node_id":1,"endpoint_id":1,"cluster_id":4,"command_name":"AddGroup","payload":{"groupID":7,"groupName":"den"}}`, `{"status":0,"groupID":7,"groupId":7}`},
		{"ping_node", `{"node_id":1}`, `{"fd00::1":true}`},
		{"get_node_ip_addresses", `{"node_id":1,"scoped":true}`, `["fe80::1%eth0","fd00::1"]`},
		{"get_node_ip_addresses", `{"node_id":1,"scoped":false}`, `["fe80::1","fd00::1"]`},
		{"get_matter_fabrics", `{"node_id":1}`, `[{"fabric_id":1,"vendor_id":65521,"fabric_index":1,"fabric_label":"Home","vendor_name":"Test Vendor 1"},` +
			`{"fabric_id":18446744073709551600,"vendor_id":4937,"fabric_index":2,"fabric_label":"","vendor_name":"Apple Home"}]`},
		{"remove_matter_fabric", `{"node_id":1,"fabric_index":2}`, `{}`},
		{"get_vendor_names", `{"filter_vendors":[65521,4660,99999]}`, `{"65521":"Test Vendor 1"}`},
		{"get_vendor_names", `{"filter_vendors":[99999]}`, `{}`},
		{"set_acl_entry", arguments["set_acl_entry"], `[{"path":{"endpoint_id":0,"cluster_id":31,"attribute_id":0},"status":0}]`},
		{"set_node_binding", arguments["set_node_binding"], `[{"path":{"endpoint_id":1,"cluster_id":30,"attribute_id":0},"status":0}]`},
		{"read_attribute", `{"node_id":1,"attribute_path":"1/30/0"}`, `{"1/30/0":[{"1":2,"3":1,"4":6}]}`},
		{"set_node_binding", `{"node_id":1,"endpoint":7,"bindings":[]}`, `[{"path":{"endpoint_id":7,"cluster_id":30,"attribute_id":0},"status":134}]`},
		{"get_all_credentials", ``, `{"wifi":[{"id":"default","ssid":""}],"thread":[{"id":"default"}]}`},
		{"set_wifi_credentials", `{"ssid":"iot","credentials":"secret","id":"den"}`, `{}`},
		{"set_wifi_credentials", `{"ssid":"iot","credentials":"","id":"den"}`, `{}`},
		{"set_thread_dataset", `{"dataset":"0e080000000000010000"}`, `{}`},
		{"get_all_credentials", ``, `{"wifi":[{"id":"default","ssid":""},{"id":"den","ssid":"iot"}],"thread":[{"id":"default","networkName":"Mesh","extPanId":"FEDCBA9876543210"}]}`},
		{"remove_wifi_credentials", `{"id":"den"}`, `{}`},
		{"check_node_update", `{"node_id":1}`, `{"vid":65521,"pid":32768,"software_version":2,"software_version_string":"2.0","min_applicable_software_version":0,"max_applicable_software_version":1,"update_source":"main-net-dcl"}`},
		{"update_node", `{"node_id":1,"software_version":"2"}`, `{"vid":65521,"pid":32768,"software_version":2,"software_version_string":"2.0","min_applicable_software_version":0,"max_applicable_software_version":1,"update_source":"main-net-dcl"}`},
		{"check_node_update", `{"node_id":1}`, `null`},
		{"get_icd_state", `{"node_id":1}`, `{"supported":false,"lit_supported":false,"registered":false,"operating_mode":null,"awake":null,"available":null,"next_expected_checkin":null}`},
		{"get_loglevel", ``, `{"console_loglevel":"info","file_loglevel":null}`},
		{"set_loglevel", `{"console_loglevel":"WARN"}`, `{"console_loglevel":"warning","file_loglevel":null}`},
		{"subscribe_attribute", `{"anything":true}`, `{}`},
		{"get_network_topology", ``, fmt.Sprintf(`{"collected_at":%d,"nodes":[{"id":"1","kind":"matter","network_type":"ethernet","node_id":1,"available":true,"vendor_name":"Test Vendor","model_name":"Test Light"}],"connections":[]}`, noon.UnixMilli())},
	} {
		if f, _ := c.call(test.command, test.args); string(f.Result) != test.want {
			t.Errorf("%s %s: %s\nnot %s", test.command, test.args, f.text, test.want)
		}
	}
}

// TestWindow asks for a window again and again.
func TestWindow(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	c := r.dial(hass.Administer)
	type codes struct {
		Passcode int    `json:"setup_pin_code"`
		Manual   string `json:"setup_manual_code"`
		QR       string `json:"setup_qr_code"`
	}
	ask := func() (w codes) {
		c.must("open_commissioning_window", `{"node_id":1,"timeout":300,"iteration":1000,"option":1,"discriminator":null}`, &w)
		return w
	}
	first := ask()
	if first.Passcode != 20000001 || len(first.Manual) != 11 || !strings.HasPrefix(first.QR, "MT:") {
		t.Errorf("%+v", first)
	}
	if again := ask(); again != first {
		t.Errorf("an open window has other codes: %+v", again)
	}
	r.home.Set(n, hass.Path{Cluster: 60}, uint8(0)) // somebody was paired
	second := ask()
	if second == first {
		t.Error("a closed window is said to be open")
	}
	r.clock.pass(301 * time.Second)
	if third := ask(); third == second {
		t.Error("an expired window is said to be open")
	}
}

// TestLabel has two clients name the fabric.
func TestLabel(t *testing.T) {
	r := start(t)
	first, second := r.dial(hass.Administer), r.dial(hass.Administer)
	label := func(c *client) string {
		var answer map[string]string
		c.must("get_fabric_label", "", &answer)
		return answer["fabric_label"]
	}
	first.must("set_default_fabric_label", `{"label":"`+strings.Repeat("ü", 20)+`"}`, nil)
	second.must("set_default_fabric_label", `{"label":"Second"}`, nil)
	if got := label(second); got != strings.Repeat("ü", 16) {
		t.Errorf("the label is %q", got)
	}
	first.must("set_default_fabric_label", `{"label":null}`, nil)
	if got := label(second); got != "Home" {
		t.Errorf("the label is %q", got)
	}
	first.ws.CloseNow()
	for range 100 {
		second.must("set_default_fabric_label", `{"label":"Second"}`, nil)
		if label(second) == "Second" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the label stays with a client that is gone")
}

// TestTestNodes has nodes made of dumps.
func TestTestNodes(t *testing.T) {
	r := start(t)
	c := r.dial(hass.Administer)
	c.must("start_listening", "", nil)
	dump := func(v string) string {
		text, _ := json.Marshal(map[string]string{"dump": v})
		return string(text)
	}
	one := `{"data":{"node":{"node_id":999,"date_commissioned":"2024-01-01T00:00:00","last_interview":"never","interview_version":6,"available":true,"is_bridge":false,
		"attributes":{"0/40/1":"From Dump","0/40/2":65521,"0/29/0":[{"0":22,"1":3}],"0/29/1":[40,29],"1/6/0":true},"attribute_subscriptions":[]}}}`
	id := uint64(0xfffffffe00000000)
	before := c.must("import_test_node", dump(one), nil)
	if len(before) == 0 {
		before = append(before, c.next())
	}
	var n node
	if before[0].Event != "node_added" || json.Unmarshal(before[0].Data, &n) != nil || n.ID != id || string(n.Attributes["0/40/1"]) != `"From Dump"` || n.Date != "2024-01-01T00:00:00.000000" {
		t.Errorf("%s", before[0].text)
	}
	c.must("import_test_node", dump(`{"data":{"server":{"nodes":{"1":{"available":true,"attributes":{}},"2":{"available":false,"is_bridge":true,"attributes":{"0/40/3":"Bridge"}}}}}}`), nil)
	c.must("import_test_node", dump(`{"data":{"nodes":[{"available":false,"attributes":{}}]}}`), nil)
	var all, available []node
	c.must("get_nodes", "", &all)
	c.must("get_nodes", `{"only_available":true}`, &available)
	if len(all) != 4 || len(available) != 2 || all[3].ID != id+3 || !all[2].Bridge {
		t.Errorf("%+v, of which %+v", all, available)
	}
	if h := r.server.Health(); h.Nodes != 4 {
		t.Errorf("%+v", h)
	}
	at := fmt.Sprintf(`{"node_id":%d,`, id)
	for _, test := range []struct{ command, args, want string }{
		{"read_attribute", `"attribute_path":"0/40/1"}`, `{"0/40/1":"From Dump"}`},
		{"read_attribute", `"attribute_path":"0/*/1"}`, `{"0/29/1":[40,29],"0/40/1":"From Dump"}`},
		{"read_attribute", `"attribute_path":["99/99/99","1/6/0"]}`, `{"1/6/0":true,"99/99/99":null}`},
		{"write_attribute", `"attribute_path":"0/40/5","value":"x"}`, `[{"Path":{"EndpointId":0,"ClusterId":40,"AttributeId":5},"Status":0}]`},
		{"device_command", `"endpoint_id":1,"cluster_id":6,"command_name":"Toggle","payload":{}}`, `null`},
		{"get_node_ip_addresses", `"prefer_cache":false}`, `["0.0.0.0","0000:1111:2222:3333:4444"]`},
		{"ping_node", `"attempts":1}`, `{"0.0.0.0":true,"0000:1111:2222:3333:4444":true}`},
		{"check_node_update", `"x":1}`, `null`},
		{"interview_node", `"x":1}`, `null`},
		{"remove_node", `"x":1}`, `null`},
	} {
		if f, _ := c.call(test.command, at+test.args); string(f.Result) != test.want {
			t.Errorf("%s: %s", test.command, f.text)
		}
	}
	c.refused("get_node", at+`"x":1}`, hass.NotExists, fmt.Sprint(id))
	c.must("import_test_node", dump(one), nil)
	c.must("get_nodes", "", &all)
	if last := all[len(all)-1].ID; last != id+4 {
		t.Errorf("the id of a removed test node is given again: %d", last)
	}
	c.refused("import_test_node", dump(`{"data":{"nodes":[`+strings.Repeat(`{},`, 1000)+`{}]}}`), hass.InvalidArguments, "room")
}

// TestUpload brings images.
func TestUpload(t *testing.T) {
	r := start(t)
	c := r.dial(hass.Administer)
	initiate := func() string {
		var ticket struct {
			ID      string `json:"upload_id"`
			Expires int    `json:"expires_in"`
			Max     int    `json:"max_size"`
		}
		c.must("initiate_ota_upload", "", &ticket)
		if len(ticket.ID) != 32 || ticket.Expires != 60 || ticket.Max != 64<<20 {
			t.Errorf("%+v", ticket)
		}
		return ticket.ID
	}
	post := func(method, id, user string, body io.Reader) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(method, r.http.URL+"/ota-upload/"+id, body)
		req.SetBasicAuth(user, "x")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		var answer struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
			Source  string `json:"update_source"`
		}
		json.NewDecoder(resp.Body).Decode(&answer)
		return resp.StatusCode, fmt.Sprint(answer.Code, answer.Message, answer.Source)
	}
	// The connection is closed, at times before all of the answer is read.
	tooLarge := func(status int, answer string) bool {
		return status == 413 && strings.Contains(answer, "64 MiB") || status == 0
	}
	for _, test := range []struct {
		what, method, user, body string
		status                   int
		with                     string
	}{
		{"an image", "POST", "administer", hasstest.Image, 200, "0local"},
		{"a corrupt image", "POST", "administer", "nothing", 400, "101the image is corrupt"},
		{"a put", "PUT", "administer", hasstest.Image, 405, ""},
		{"another's", "POST", "administer1", hasstest.Image, 400, "101OTA upload id was issued to a different client"},
	} {
		if status, answer := post(test.method, initiate(), test.user, strings.NewReader(test.body)); status != test.status || !strings.HasPrefix(answer, test.with) {
			t.Errorf("%s: %d %s", test.what, status, answer)
		}
	}
	id := initiate()
	post("POST", id, "administer", strings.NewReader("nothing"))
	if status, answer := post("POST", id, "administer", strings.NewReader(hasstest.Image)); status != 400 || answer != "101Unknown OTA upload id" {
		t.Errorf("the second time: %d %s", status, answer)
	}
	for _, bad := range []string{"", "00", strings.Repeat("A", 32), strings.Repeat("0", 34), "../" + id} {
		if status, answer := post("POST", bad, "administer", strings.NewReader(hasstest.Image)); status != 404 && status != 405 {
			t.Errorf("%q: %d %s", bad, status, answer)
		}
	}
	initiate()
	initiate()
	initiate() // and those of the put and of the other before
	c.refused("initiate_ota_upload", "", hass.UploadFailed, "retry")
	r.clock.pass(time.Minute)
	id = initiate()
	if status, answer := post("POST", id, "administer", strings.NewReader(strings.Repeat("x", 64<<20+1))); !tooLarge(status, answer) {
		t.Errorf("too large: %d %s", status, answer)
	}
	long := io.MultiReader(strings.NewReader(strings.Repeat("x", 64<<20)), strings.NewReader("x")) // it does not say how long
	if status, answer := post("POST", initiate(), "administer", long); !tooLarge(status, answer) {
		t.Errorf("too large, as it turns out: %d %s", status, answer)
	}
	// While one goes on, its id is no other's.
	id = initiate()
	slow, end := io.Pipe()
	first, storing := make(chan int), make(chan bool, 1)
	r.home.Slow(func(cert.NodeID) { storing <- true })
	go func() {
		status, _ := post("POST", id, "administer", slow)
		first <- status
	}()
	<-storing
	if status, answer := post("POST", id, "administer", strings.NewReader("x")); status != 400 || answer != "101OTA upload id has already been used" {
		t.Errorf("beside one that goes on: %d %s", status, answer)
	}
	io.WriteString(end, hasstest.Image)
	end.Close()
	r.home.Slow(nil)
	if status := <-first; status != 200 {
		t.Errorf("beside another with its id: %d", status)
	}
	id = initiate()
	r.clock.pass(time.Minute)
	if status, answer := post("POST", id, "administer", strings.NewReader(hasstest.Image)); status != 400 || !strings.Contains(answer, "expired") {
		t.Errorf("late: %d %s", status, answer)
	}
}

// TestFailures sees by which codes the home's own failures are told.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		err       error
		otherwise hass.Code
		want      hass.Code
	}{
		{commissioner.Fail(commissioner.CodeUnreachable, nil), hass.SDKStack, hass.NotResolving},
		{commissioner.Fail(commissioner.CodeUnreachable, nil), hass.CommissionFailed, hass.CommissionFailed},
		{commissioner.Fail(commissioner.CodeUnknownDevice, nil), hass.UpdateFailed, hass.NotExists},
		{commissioner.Fail(commissioner.CodeAttestation, nil), hass.CommissionFailed, hass.CommissionFailed},
		{commissioner.Fail(commissioner.CodeInvalidArgument, nil), hass.CommissionFailed, hass.InvalidArguments},
		{fmt.Errorf("while: %w", &hass.Error{Code: hass.NotReady, Details: "later"}), hass.SDKStack, hass.NotReady},
		{http.ErrServerClosed, hass.UpdateCheck, hass.UpdateCheck},
	} {
		if e := hass.Explain(test.err, test.otherwise); e.Code != test.want {
			t.Errorf("%v is told as %d, not %d", test.err, e.Code, test.want)
		}
	}
	f := commissioner.Fail(commissioner.CodeAttestation, nil)
	f.Reasons = []commissioner.Reason{{Message: "its certificate is a test's"}}
	if e := hass.Explain(f, hass.CommissionFailed); !strings.Contains(e.Details, "a test's") || !strings.Contains(e.Details, "do not use it") {
		t.Errorf("a person is told %q", e.Details)
	}
}
