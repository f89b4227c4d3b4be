package hass

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"gatehouse/fabric/cert"
)

// Scope is what a client may do. Each includes those before.
type Scope uint8

const (
	Read       Scope = iota + 1 // see everything, change nothing
	Operate                     // and use devices
	Administer                  // and say who belongs
)

func (s Scope) String() string {
	switch s {
	case Read:
		return "read"
	case Operate:
		return "operate"
	case Administer:
		return "administer"
	}
	return fmt.Sprintf("scope %d", uint8(s))
}

// beyond is the error of what takes another scope.
func beyond(have Scope, what string, want Scope) *Error {
	return fail(Unknown, "%s takes the scope %v, and this access has %v", what, want, have)
}

// Events that go only to clients that asked for what they are about.
const (
	ThreadDiagnostics = "thread_diagnostics_updated"
	NetworkTopology   = "network_topology_updated"
	WebRTCCallback    = "webrtc_callback"
)

// result renders an answer.
type result func([]byte) []byte

// command is one that clients may give.
type command struct {
	scope     Scope
	run       func(*Server, context.Context, *call) (result, error) // nil: start_listening, which the outbox answers
	otherwise Code                                                  // of an error that says nothing better
	inTurn    bool                                                  // after those before to the same endpoint
	optIn     string                                                // event that whoever gives it is told from then on
}

// commands are all there are. A literal without its scope does not compile.
var commands map[string]command

func init() { // the handlers refer to the table
	commands = map[string]command{
		"start_listening": {Read, nil, Unknown, false, ""},
		"server_info":     {Read, (*Server).serverInfo, Unknown, false, ""},
		"diagnostics":     {Read, (*Server).diagnostics, Unknown, false, ""},
		"get_nodes":       {Read, (*Server).getNodes, Unknown, false, ""},
		"get_node":        {Read, (*Server).getNode, Unknown, false, ""},
		"get_loglevel":    {Read, (*Server).getLevel, Unknown, false, ""},
		"set_loglevel":    {Administer, (*Server).setLevel, Unknown, false, ""},

		"read_attribute":               {Read, (*Server).readAttribute, SDKStack, false, ""},
		"write_attribute":              {Operate, (*Server).writeAttribute, SDKStack, true, ""},
		"device_command":               {Operate, (*Server).deviceCommand, SDKStack, true, ""},
		"send_webrtc_provider_command": {Operate, (*Server).webRTC, SDKStack, true, WebRTCCallback},
		"subscribe_attribute":          {Read, (*Server).subscribe, Unknown, false, ""},
		"interview_node":               {Operate, (*Server).interview, InterviewFailed, false, ""},
		"ping_node":                    {Read, (*Server).ping, SDKStack, false, ""},
		"get_node_ip_addresses":        {Read, (*Server).addresses, SDKStack, false, ""},

		"discover":                      {Administer, (*Server).discover, Unknown, false, ""},
		"discover_commissionable_nodes": {Administer, (*Server).discover, Unknown, false, ""},
		"commission_with_code":          {Administer, (*Server).commissionWithCode, CommissionFailed, false, ""},
		"commission_on_network":         {Administer, (*Server).commissionOnNetwork, CommissionFailed, false, ""},
		"open_commissioning_window":     {Administer, (*Server).openWindow, SDKStack, true, ""},
		"remove_node":                   {Administer, (*Server).removeNode, SDKStack, false, ""},

		"get_vendor_names":         {Read, (*Server).vendorNames, Unknown, false, ""},
		"get_matter_fabrics":       {Read, (*Server).fabrics, SDKStack, false, ""},
		"remove_matter_fabric":     {Administer, (*Server).removeFabric, SDKStack, true, ""},
		"set_acl_entry":            {Administer, (*Server).setACL, SDKStack, true, ""},
		"set_node_binding":         {Administer, (*Server).setBinding, SDKStack, true, ""},
		"set_default_fabric_label": {Read, (*Server).setLabel, Unknown, false, ""}, // who may not set it is ignored
		"get_fabric_label":         {Read, (*Server).getLabel, Unknown, false, ""},

		"set_wifi_credentials":    {Administer, (*Server).setWiFi, Unknown, false, ""},
		"set_thread_dataset":      {Administer, (*Server).setThread, Unknown, false, ""},
		"remove_wifi_credentials": {Administer, (*Server).removeWiFi, Unknown, false, ""},
		"remove_thread_dataset":   {Administer, (*Server).removeThread, Unknown, false, ""},
		"get_all_credentials":     {Administer, (*Server).credentials, Unknown, false, ""},

		"check_node_update":   {Read, (*Server).checkUpdate, UpdateCheck, false, ""},
		"update_node":         {Administer, (*Server).update, UpdateFailed, false, ""},
		"initiate_ota_upload": {Administer, (*Server).initiateUpload, UploadFailed, false, ""},

		"get_icd_state":  {Read, (*Server).icdState, Unknown, false, ""},
		"register_icd":   {Administer, (*Server).registerICD, Unknown, false, ""},
		"unregister_icd": {Administer, (*Server).unregisterICD, Unknown, false, ""},
		"resync_icd":     {Administer, (*Server).resyncICD, Unknown, false, ""},

		"get_thread_border_routers": {Read, (*Server).borderRouters, Unknown, false, ThreadDiagnostics},
		"get_thread_diagnostics":    {Read, (*Server).threadDiagnostics, Unknown, false, ThreadDiagnostics},
		"get_network_topology":      {Read, (*Server).topology, Unknown, false, NetworkTopology},

		"import_test_node": {Administer, (*Server).importTestNode, InvalidArguments, false, ""},
	}
}

// call is one command that a client gives.
type call struct {
	*conn
	command string
	args    json.RawMessage
	after   cert.NodeID // what there is to say of this node goes before the answer
}

// decode reads the command's arguments. Those that are unknown are ignored, as
// they are by the servers that clients know.
func (c *call) decode(v any) error {
	if len(c.args) == 0 || string(c.args) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(c.args))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fail(InvalidArguments, "the arguments of %s make no sense: %v", c.command, err)
	}
	return nil
}

// need refuses what takes another scope than the client has.
func (c *call) need(s Scope, what string) error {
	if c.peer.Scope < s {
		return beyond(c.peer.Scope, what, s)
	}
	return nil
}

// object renders any value.
func object(v any) result {
	return func(b []byte) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte("null")
		}
		return append(b, text...)
	}
}

// Answers that say nothing.
var (
	null  = object(nil)
	empty = object(struct{}{})
)
