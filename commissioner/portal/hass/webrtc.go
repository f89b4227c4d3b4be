package hass

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// webRTC has a camera asked for a stream. What it says later of it goes to all
// clients that asked for one.
func (s *Server) webRTC(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Endpoint interaction.EndpointID `json:"endpoint_id"`
		Command  string                 `json:"command_name"`
		Payload  map[string]any         `json:"payload"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	command := names.Of(datamodel.WebRTCProvider).Command(args.Command)
	if command == nil || command.Name != "ProvideOffer" && command.Name != "SolicitOffer" {
		return nil, fail(InvalidArguments, "Unsupported WebRTC provider command %q: it is ProvideOffer or SolicitOffer", args.Command)
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	if s.Cameras == nil {
		return nil, absent("takes nothing from cameras")
	}
	payload := map[string]any{}
	maps.Copy(payload, args.Payload)
	payload["originatingEndpointID"] = json.Number(strconv.Itoa(int(s.Cameras.Endpoint()))) // as the model spells it: this one counts, whatever the client wrote
	revision, _ := number(n.value(args.Endpoint, datamodel.WebRTCProvider, datamodel.ClusterRevision))
	nameStreams(payload, revision >= streamListRevision)
	fields, err := encodeFields(payload, &command.Struct)
	if err != nil {
		return nil, err
	}
	r, err := s.Cameras.Ask(ctx, n.ID, args.Endpoint, command.ID, fields)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return nil, overUDP(datamodel.WebRTCProvider, err)
	}
	return answered(&r, command), nil
}

// streamListRevision is the cluster's revision from which streams are named by
// lists. A camera refuses both ways at once; one that is older knows no lists.
const streamListRevision = 2

// nameStreams names the streams of a request in the one way that a camera takes.
func nameStreams(payload map[string]any, lists bool) {
	keys := map[string]string{} // as the client spells them
	for name := range payload {
		keys[names.Plain(name)] = name
	}
	listed := false
	for _, kind := range []string{"video", "audio"} {
		key, ok := keys[kind+"streams"]
		if !ok {
			continue
		}
		list, _ := payload[key].([]any)
		switch {
		case len(list) == 0:
			delete(payload, key)
		case lists:
			listed = true
		default:
			delete(payload, key)
			delete(payload, keys[kind+"streamid"])
			payload[kind+"StreamID"] = list[0]
		}
	}
	if listed {
		delete(payload, keys["videostreamid"])
		delete(payload, keys["audiostreamid"])
	}
}

// overUDP says of an error with a camera what comes of this gateway's transport.
func overUDP(c interaction.ClusterID, err error) error {
	if c != datamodel.WebRTCProvider {
		return err
	}
	e := explain(err, SDKStack)
	switch status, _ := interaction.StatusOf(err); {
	case status == interaction.InvalidTransportType:
		e.Details = "the camera takes WebRTC commands over TCP only, and this gateway speaks Matter over UDP: its streams cannot be shown through it"
	case errors.Is(err, interaction.ErrTooLong):
		e.Details = "the SDP is too long: this gateway speaks Matter over UDP, where a command must fit into one message (" + err.Error() + ")"
	}
	return e
}

// streamEnded forgets a session that a client ended.
func (s *Server) streamEnded(n cert.NodeID, fields tlv.Raw) {
	var end datamodel.WebRTCEnd
	if s.Cameras != nil && tlv.Unmarshal(fields, &end) == nil {
		s.Cameras.Ended(n, end.Session)
	}
}

// callback is the event that tells what a camera said.
type callback struct {
	Type     string                 `json:"event_type"`
	Session  uint16                 `json:"webrtc_session_id"`
	Node     cert.NodeID            `json:"node_id"`
	Endpoint interaction.EndpointID `json:"endpoint_id"`
	Fabric   uint8                  `json:"fabric_index"`
	Data     any                    `json:"data"`
}

type offerData struct {
	SDP       string      `json:"sdp"`
	Servers   []iceServer `json:"ice_servers,omitempty"`
	Transport string      `json:"ice_transport_policy,omitempty"`
}

// iceServer has its addresses in all the spellings that clients know.
type iceServer struct {
	URLs       []string `json:"URLs"`
	Camel      []string `json:"urLs"`
	Browsers   []string `json:"urls"`
	Username   *string  `json:"username,omitempty"`
	Credential *string  `json:"credential,omitempty"`
	CA         *uint16  `json:"caid,omitempty"`
}

type answerData struct {
	SDP string `json:"sdp"`
}

type candidatesData struct {
	Candidates []iceCandidate `json:"ice_candidates"`
}

type iceCandidate struct {
	Candidate string  `json:"candidate"`
	Media     *string `json:"sdpMid"`
	Line      *uint16 `json:"sdpMLineIndex"`
}

type endData struct {
	Reason datamodel.WebRTCEndReason `json:"reason"`
}

// signalled tells clients what a camera said.
func (s *Server) signalled(c webrtc.Callback) {
	event := callback{Session: c.ID, Node: c.Node, Endpoint: c.Endpoint, Fabric: s.Home.Identity().Index}
	switch c.Kind {
	case webrtc.Offer:
		data := offerData{SDP: c.SDP, Transport: c.Transport}
		for _, i := range c.Servers {
			data.Servers = append(data.Servers, iceServer{i.URLs, i.URLs, i.URLs, i.Username, i.Credential, i.CA})
		}
		event.Type, event.Data = "offer", data
	case webrtc.Answer:
		event.Type, event.Data = "answer", answerData{c.SDP}
	case webrtc.Candidates:
		data := candidatesData{}
		for _, i := range c.Candidates {
			data.Candidates = append(data.Candidates, iceCandidate{i.Candidate, optional(i.Media), optional(i.Line)})
		}
		event.Type, event.Data = "ice_candidates", data
	case webrtc.End:
		event.Type, event.Data = "end", endData{c.Reason}
	}
	s.Publish(WebRTCCallback, event)
}

func optional[T any](n tlv.Null[T]) *T {
	if !n.Valid {
		return nil
	}
	return &n.Value
}
