package hass_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric/tlv"
)

// TestWebRTCAsks gives what clients send, and looks at what a camera gets.
func TestWebRTCAsks(t *testing.T) {
	one := func(v uint16) *tlv.Null[uint16] { n := tlv.Some(v); return &n }
	for name, c := range map[string]struct {
		revision int
		payload  string
		videos   []uint16
		video    *tlv.Null[uint16]
		audio    *tlv.Null[uint16]
	}{
		"lists":                       {2, `"videoStreams":[3,4]`, []uint16{3, 4}, nil, nil},
		"both ways":                   {2, `"VideoStreams":[3],"videoStreamID":3,"audioStreamId":5`, []uint16{3}, nil, nil},
		"to an older camera":          {1, `"videoStreams":[3,4],"audioStreams":[]`, nil, one(3), nil},
		"both ways to an older one":   {1, `"videoStreams":[3],"videoStreamId":8`, nil, one(3), nil},
		"to one that is not known":    {0, `"videoStreams":[3]`, nil, one(3), nil},
		"ids":                         {2, `"videoStreamID":3,"audioStreamId":5`, nil, one(3), one(5)},
		"whatever the camera chooses": {2, `"videoStreamID":null,"videoStreams":[]`, nil, new(tlv.Null[uint16]), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			n := r.home.Add()
			if c.revision > 0 {
				r.home.Set(n, hass.Path{Endpoint: 1, Cluster: datamodel.WebRTCProvider, Attribute: 0xfffd}, uint16(c.revision))
			}
			var answer map[string]int
			r.dial(hass.Operate).must("send_webrtc_provider_command", fmt.Sprintf(`{"node_id":%d,"endpoint_id":1,"command_name":"ProvideOffer",
				"payload":{"webRTCSessionID":null,"sdp":"v=0","streamUsage":3,"originating_endpoint_id":77,"OriginatingEndpointID":78,"3":79,%s}}`, n, c.payload), &answer)
			if answer["webRtcSessionID"] != hasstest.Session || answer["webRtcSessionId"] != hasstest.Session {
				t.Errorf("answered %v", answer)
			}
			asked, _ := r.home.Cameras.Asked()
			var q datamodel.WebRTCProvideOffer
			if len(asked) != 1 || tlv.Unmarshal(asked[0].Fields, &q) != nil {
				t.Fatalf("asked %v", asked)
			}
			usage, endpoint := uint8(3), interaction.EndpointID(9)
			want := datamodel.WebRTCProvideOffer{SDP: "v=0", Usage: &usage, Endpoint: &endpoint, Videos: c.videos, Video: c.video, Audio: c.audio}
			if !reflect.DeepEqual(q, want) || asked[0].Command != datamodel.WebRTCProvideOfferID {
				t.Errorf("asked %+v, want %+v", q, want)
			}
		})
	}
}

// TestWebRTCRefused says plainly why a stream cannot be had.
func TestWebRTCRefused(t *testing.T) {
	r := start(t)
	c := r.dial(hass.Operate)
	args := fmt.Sprintf(`{"node_id":%d,"endpoint_id":1,"command_name":"ProvideOffer","payload":{"webRTCSessionID":null,"sdp":"v=0","streamUsage":3}}`, r.home.Add())
	for _, w := range []struct {
		err  error
		said string
	}{
		{&interaction.StatusError{Status: interaction.InvalidTransportType}, "over TCP only"},
		{fmt.Errorf("command: %w: 3000 octets, not at most 1188", interaction.ErrTooLong), "SDP is too long"},
		{&interaction.StatusError{Status: interaction.InvalidInState}, "invalid in state"},
	} {
		r.home.Cameras.Refuse(w.err)
		if f, _ := c.call("send_webrtc_provider_command", args); f.Code == nil || *f.Code != hass.SDKStack || !strings.Contains(f.Details, w.said) {
			t.Errorf("%v is told as %s", w.err, f.text)
		}
	}
	other := start(t, func(cfg *hass.Config) { cfg.Cameras = nil })
	other.home.Add()
	if f, _ := other.dial(hass.Operate).call("send_webrtc_provider_command", args); f.Code == nil || *f.Code != hass.Unknown {
		t.Error(f.text)
	}
}

// TestWebRTCCallbacks tells what a camera says in the words that clients know.
func TestWebRTCCallbacks(t *testing.T) {
	r := start(t)
	n := r.home.Add()
	c, other := r.dial(hass.Operate), r.dial(hass.Administer)
	c.must("start_listening", "", nil)
	other.must("start_listening", "", nil)
	c.must("send_webrtc_provider_command", fmt.Sprintf(`{"node_id":%d,"endpoint_id":1,"command_name":"SolicitOffer","payload":{"streamUsage":3,"videoStreams":[1]}}`, n), nil)
	name := "me"
	s := webrtc.Session{Node: 0xFFFF_FFFF_0000_0001, Endpoint: 1, ID: 7}
	for _, w := range []struct {
		said webrtc.Callback
		kind string
		data string
	}{
		{webrtc.Callback{Session: s, Kind: webrtc.Offer, SDP: "v=0\r\n"}, "offer", `{"sdp":"v=0\r\n"}`},
		{webrtc.Callback{Session: s, Kind: webrtc.Offer, SDP: "v", Transport: "relay", Servers: []datamodel.ICEServer{{URLs: []string{"stun:a"}, Username: &name}}}, "offer",
			`{"sdp":"v","ice_servers":[{"URLs":["stun:a"],"urLs":["stun:a"],"urls":["stun:a"],"username":"me"}],"ice_transport_policy":"relay"}`},
		{webrtc.Callback{Session: s, Kind: webrtc.Answer, SDP: "v=1"}, "answer", `{"sdp":"v=1"}`},
		{webrtc.Callback{Session: s, Kind: webrtc.Candidates, Candidates: []datamodel.ICECandidate{{Candidate: "a", Media: tlv.Some("0"), Line: tlv.Some(uint16(0))}, {Candidate: ""}}}, "ice_candidates",
			`{"ice_candidates":[{"candidate":"a","sdpMid":"0","sdpMLineIndex":0},{"candidate":"","sdpMid":null,"sdpMLineIndex":null}]}`},
		{webrtc.Callback{Session: s, Kind: webrtc.End}, "end", `{"reason":0}`},
	} {
		r.home.Cameras.Say(w.said)
		f := c.next()
		want := fmt.Sprintf(`{"event_type":"%s","webrtc_session_id":7,"node_id":18446744069414584321,"endpoint_id":1,"fabric_index":1,"data":%s}`, w.kind, w.data)
		if f.Event != hass.WebRTCCallback || string(f.Data) != want || !json.Valid(f.Data) {
			t.Errorf("told %s, want %s", f.text, want)
		}
	}
	other.silent()
	for _, known := range []bool{false, true} { // the camera refuses to end a session, and ends it
		if known {
			r.home.Set(n, hass.Path{Endpoint: 1, Cluster: datamodel.WebRTCProvider, Attribute: 0xfffc}, uint32(0))
		}
		c.call("device_command", fmt.Sprintf(`{"node_id":%d,"endpoint_id":1,"cluster_id":1363,"command_name":"EndSession","payload":{"webRtcSessionID":7,"reason":2}}`, n))
		if _, ended := r.home.Cameras.Asked(); slices.Equal(ended, []uint16{7}) != known {
			t.Errorf("the camera ended it: %v, forgotten: %v", known, ended)
		}
	}
}
