package datamodel

import (
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// WebRTCTransportProvider: who has a stream. All its commands, and those of the
// requestor, may be larger than a message over UDP.
const (
	WebRTCProvider                                                = interaction.ClusterID(0x0553)
	WebRTCProviderSessions                interaction.AttributeID = 0
	WebRTCSolicitOfferID                  interaction.CommandID   = 0
	WebRTCSolicitOfferResponseID          interaction.CommandID   = 1
	WebRTCProvideOfferID                  interaction.CommandID   = 2
	WebRTCProvideOfferResponseID          interaction.CommandID   = 3
	WebRTCProvideAnswerID                 interaction.CommandID   = 4
	WebRTCProvideICECandidatesID          interaction.CommandID   = 5
	WebRTCEndSessionID                    interaction.CommandID   = 6
	DeviceTypeCamera                      uint32                  = 0x0142
	DeviceTypeCameraController            uint32                  = 0x0147
	MaxICEServers, MaxICETransportPolicy                          = 10, 16 // entries, octets
	MaxStreams                                                    = 16     // of a kind, of one session
	WebRTCUserHangup, WebRTCUnknownReason WebRTCEndReason         = 2, 12
)

// WebRTCTransportRequestor: who wants a stream, and is told of it.
const (
	WebRTCRequestor                                 = interaction.ClusterID(0x0554)
	WebRTCRequestorSessions interaction.AttributeID = 0
	WebRTCOfferID           interaction.CommandID   = 0
	WebRTCAnswerID          interaction.CommandID   = 1
	WebRTCICECandidatesID   interaction.CommandID   = 2
	WebRTCEndID             interaction.CommandID   = 3
)

// WebRTCEndReason is why a session ended; WebRTCUnknownReason is the last.
type WebRTCEndReason uint8

// ICEServer is a server that helps two peers to reach each other.
type ICEServer struct {
	URLs       []string `tlv:"0"`
	Username   *string  `tlv:"1"`
	Credential *string  `tlv:"2"`
	CA         *uint16  `tlv:"3"` // that vouches for it
}

// ICECandidate is a way to reach a peer.
type ICECandidate struct {
	Candidate string           `tlv:"0"`
	Media     tlv.Null[string] `tlv:"1"` // SDPMid, not empty
	Line      tlv.Null[uint16] `tlv:"2"` // SDPMLineIndex
}

// WebRTCSession is a session as either side lists it.
type WebRTCSession struct {
	ID          uint16                 `tlv:"0"`
	PeerNode    uint64                 `tlv:"1"`
	Peer        interaction.EndpointID `tlv:"2"`
	Usage       uint8                  `tlv:"3"` // StreamUsageEnum
	Video       tlv.Null[uint16]       `tlv:"4"`
	Audio       tlv.Null[uint16]       `tlv:"5"`
	Metadata    bool                   `tlv:"6"`
	Videos      []uint16               `tlv:"7,omitempty"`
	Audios      []uint16               `tlv:"8,omitempty"`
	FabricIndex uint8                  `tlv:"254"`
}

// WebRTCSolicitOffer asks a provider to make an offer.
type WebRTCSolicitOffer struct {
	Usage    uint8                  `tlv:"0"`
	Endpoint interaction.EndpointID `tlv:"1"` // of the requestor
	Video    *tlv.Null[uint16]      `tlv:"2"`
	Audio    *tlv.Null[uint16]      `tlv:"3"`
	Metadata *bool                  `tlv:"6"`
	Videos   []uint16               `tlv:"8,omitempty"`
	Audios   []uint16               `tlv:"9,omitempty"`
}

// WebRTCSolicitOfferResponse says in which session the offer will come.
type WebRTCSolicitOfferResponse struct {
	Session  uint16            `tlv:"0"`
	Deferred bool              `tlv:"1"` // until the provider is awake
	Video    *tlv.Null[uint16] `tlv:"2"`
	Audio    *tlv.Null[uint16] `tlv:"3"`
}

// WebRTCProvideOffer makes an offer to a provider.
type WebRTCProvideOffer struct {
	Session  tlv.Null[uint16]        `tlv:"0"` // null: a new one
	SDP      string                  `tlv:"1"`
	Usage    *uint8                  `tlv:"2"`
	Endpoint *interaction.EndpointID `tlv:"3"` // of the requestor
	Video    *tlv.Null[uint16]       `tlv:"4"`
	Audio    *tlv.Null[uint16]       `tlv:"5"`
	Metadata *bool                   `tlv:"8"`
	Videos   []uint16                `tlv:"10,omitempty"`
	Audios   []uint16                `tlv:"11,omitempty"`
}

// WebRTCProvideOfferResponse says in which session the answer will come.
type WebRTCProvideOfferResponse struct {
	Session uint16            `tlv:"0"`
	Video   *tlv.Null[uint16] `tlv:"1"`
	Audio   *tlv.Null[uint16] `tlv:"2"`
}

// WebRTCOffer is a provider's offer.
type WebRTCOffer struct {
	Session   uint16      `tlv:"0"`
	SDP       string      `tlv:"1"`
	Servers   []ICEServer `tlv:"2,omitempty"`
	Transport *string     `tlv:"3"` // ICETransportPolicy
}

// WebRTCAnswer answers an offer, on either side.
type WebRTCAnswer struct {
	Session uint16 `tlv:"0"`
	SDP     string `tlv:"1"`
}

// WebRTCICECandidates tells of ways to reach a side.
type WebRTCICECandidates struct {
	Session    uint16         `tlv:"0"`
	Candidates []ICECandidate `tlv:"1"`
}

// WebRTCEnd ends a session, on either side.
type WebRTCEnd struct {
	Session uint16          `tlv:"0"`
	Reason  WebRTCEndReason `tlv:"1"`
}
