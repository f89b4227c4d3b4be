package commissioner_test

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/cluster/steward"
	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/tlv"
)

// viewer is a gateway that asks a camera, and keeps what that says.
type viewer struct {
	t        *testing.T
	cameras  *webrtc.Requestor
	k        *keeper.Keeper
	camera   cert.NodeID
	endpoint interaction.EndpointID

	mu   sync.Mutex
	said []webrtc.Callback
}

func view(t *testing.T, r *webrtc.Requestor, k *keeper.Keeper, camera cert.NodeID) *viewer {
	v := &viewer{t: t, cameras: r, k: k, camera: camera, endpoint: 2}
	r.Watch(func(c webrtc.Callback) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.said = append(v.said, c)
	})
	return v
}

// heard are the kinds of what was said since the last time.
func (v *viewer) heard() (kinds []webrtc.Kind) {
	time.Sleep(10 * time.Second)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.said {
		kinds = append(kinds, c.Kind)
	}
	v.said = nil
	return kinds
}

func (v *viewer) ask(c interaction.CommandID, fields, response any) error {
	v.t.Helper()
	raw, err := tlv.Marshal(fields)
	if err != nil {
		v.t.Fatal(err)
	}
	r, err := v.cameras.Ask(v.camera, v.endpoint, c, raw, func() (interaction.CommandResult, error) {
		return v.k.Invoke(v.t.Context(), v.camera, 0, interaction.Invocation{Path: interaction.Command(v.endpoint, datamodel.WebRTCProvider, c), Fields: tlv.Raw(raw)})
	})
	if err != nil {
		return err
	}
	return r.Decode(response)
}

// offer makes an offer of so many octets, and gives the session.
func (v *viewer) offer(size int) (uint16, error) {
	usage, endpoint, video := uint8(3), webrtc.Endpoint, tlv.Some(uint16(1))
	var r datamodel.WebRTCProvideOfferResponse
	err := v.ask(datamodel.WebRTCProvideOfferID, &datamodel.WebRTCProvideOffer{SDP: strings.Repeat("v", size), Usage: &usage, Endpoint: &endpoint, Video: &video}, &r)
	return r.Session, err
}

func filmed(t *testing.T) (*home, *viewer) {
	t.Helper()
	h := &home{discriminator: 0xABC, provider: &ota.Provider{Now: time.Now, Log: quiet}, cameras: new(webrtc.Requestor)}
	h.start(t, "", 0)
	d, err := h.pair(t.Context())
	h.check(err)
	return h, view(t, h.cameras, h.k, d.Node)
}

func (h *home) signal(of uint16, id interaction.CommandID, fields any) interaction.Status {
	h.t.Helper()
	err := h.device.Signal(h.t.Context(), of, id, fields)
	status, ok := interaction.StatusOf(err)
	if err != nil && !ok {
		h.t.Fatal(err)
	}
	return status
}

// TestStream asks a camera for streams, and hears what it says of them until
// they end.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := filmed(t)
		id, err := v.offer(500)
		h.check(err)
		time.Sleep(10 * time.Second)
		v.mu.Lock()
		said := slices.Clone(v.said)
		v.mu.Unlock()
		if len(said) != 2 || said[0].Kind != webrtc.Answer || !strings.HasPrefix(said[0].SDP, "v=0\r\n") || said[0].Node != v.camera || said[0].Endpoint != 2 || said[0].ID != id ||
			said[1].Kind != webrtc.Candidates || len(said[1].Candidates) != 2 || said[1].Candidates[0].Media.Value != "0" || said[1].Candidates[1].Line.Valid {
			t.Errorf("the camera said %+v", said)
		}
		v.heard()
		var solicited datamodel.WebRTCSolicitOfferResponse
		h.check(v.ask(datamodel.WebRTCSolicitOfferID, &datamodel.WebRTCSolicitOffer{Usage: 3, Endpoint: webrtc.Endpoint, Videos: []uint16{1}}, &solicited))
		if got := v.heard(); !slices.Equal(got, []webrtc.Kind{webrtc.Offer}) || solicited.Session == id {
			t.Errorf("solicited, it said %v of session %d", got, solicited.Session)
		}
		for _, c := range []struct {
			what   string
			id     interaction.CommandID
			fields any
			want   interaction.Status
		}{
			{"no candidates", datamodel.WebRTCICECandidatesID, &datamodel.WebRTCICECandidates{Session: id}, interaction.ConstraintError},
			{"a candidate without its medium's name", datamodel.WebRTCICECandidatesID, &datamodel.WebRTCICECandidates{Session: id, Candidates: []datamodel.ICECandidate{{Media: tlv.Some("")}}}, interaction.ConstraintError},
			{"an end for no reason", datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: id, Reason: 13}, interaction.ConstraintError},
			{"too many servers", datamodel.WebRTCOfferID, &datamodel.WebRTCOffer{Session: id, Servers: make([]datamodel.ICEServer, 11)}, interaction.ConstraintError},
			{"nothing", datamodel.WebRTCAnswerID, &struct{}{}, interaction.InvalidCommand},
			{"another session", datamodel.WebRTCAnswerID, &datamodel.WebRTCAnswer{Session: 77, SDP: "v"}, interaction.NotFound},
			{"another end", datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: 77}, interaction.NotFound},
			{"the end", datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: id, Reason: 12}, interaction.Success},
			{"after the end", datamodel.WebRTCAnswerID, &datamodel.WebRTCAnswer{Session: id, SDP: "v"}, interaction.NotFound},
			{"the end again", datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: id}, interaction.NotFound},
			{"of the other", datamodel.WebRTCAnswerID, &datamodel.WebRTCAnswer{Session: solicited.Session, SDP: "v"}, interaction.Success},
		} {
			if got := h.signal(id, c.id, c.fields); got != c.want {
				t.Errorf("%s: %v, want %v", c.what, got, c.want)
			}
		}
		if got := v.heard(); !slices.Equal(got, []webrtc.Kind{webrtc.End, webrtc.Answer}) {
			t.Errorf("it was told %v", got)
		}
		v.cameras.Ended(v.camera, solicited.Session)
		if got := h.signal(solicited.Session, datamodel.WebRTCAnswerID, &datamodel.WebRTCAnswer{Session: solicited.Session}); got != interaction.NotFound {
			t.Errorf("after a client ended it: %v", got)
		}
	})
}

// TestForeignStream has a device of the home speak of another's session, and one
// look at what there is.
func TestForeignStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := filmed(t)
		id, err := v.offer(10)
		h.check(err)
		v.heard()
		r := h.requestor(7, requestorAddr)
		for _, c := range []struct {
			id     interaction.CommandID
			fields any
		}{
			{datamodel.WebRTCOfferID, &datamodel.WebRTCOffer{Session: id}},
			{datamodel.WebRTCAnswerID, &datamodel.WebRTCAnswer{Session: id}},
			{datamodel.WebRTCICECandidatesID, &datamodel.WebRTCICECandidates{Session: id, Candidates: make([]datamodel.ICECandidate, 1)}},
			{datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: id}},
		} {
			err := r.e.InvokeCommand(t.Context(), r.s, 0, interaction.Command(webrtc.Endpoint, datamodel.WebRTCRequestor, c.id), c.fields, nil)
			if status, _ := interaction.StatusOf(err); status != interaction.NotFound {
				t.Errorf("command %d: %v", c.id, err)
			}
		}
		var sessions []datamodel.WebRTCSession
		err = r.e.ReadAttribute(t.Context(), r.s, interaction.Attribute(webrtc.Endpoint, datamodel.WebRTCRequestor, datamodel.WebRTCRequestorSessions), &sessions)
		if status, _ := interaction.StatusOf(err); status != interaction.UnsupportedAccess {
			t.Errorf("anybody may read who watches what: %v", err)
		}
		if got := v.heard(); len(got) > 0 {
			t.Errorf("told %v", got)
		}
		if got := h.signal(id, datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: id}); got != interaction.Success {
			t.Errorf("its own camera's end: %v", got)
		}
	})
}

// TestLongOffer finds where an offer is too long for a message, and that nothing
// comes of one that is.
func TestLongOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := filmed(t)
		_, err := v.offer(longestOffer)
		h.check(err)
		v.heard()
		before := h.device.Streams()
		if _, err := v.offer(longestOffer + 1); !errors.Is(err, interaction.ErrTooLong) {
			t.Errorf("one octet more: %v", err)
		}
		if got := h.device.Streams(); !slices.Equal(got, before) || len(v.heard()) > 0 {
			t.Errorf("streams %v, before %v", got, before)
		}
	})
}

// longestOffer is the longest SDP, in octets, that goes out with one stream id
// and nothing else that is optional.
const longestOffer = 1143

// TestStreamOfOneGateway has the other gateway ask: it is called back, and the
// owner hears nothing.
func TestStreamOfOneGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := filmed(t)
		other := h.beside(t, v.camera)
		id, err := other.offer(10)
		h.check(err)
		mine, theirs := v.heard(), other.heard()
		if len(mine) > 0 || !slices.Equal(theirs, []webrtc.Kind{webrtc.Answer, webrtc.Candidates}) {
			t.Errorf("the owner was told %v, who asked %v", mine, theirs)
		}
		time.Sleep(5 * time.Minute) // it has no session with the camera any more
		if got := h.signal(id, datamodel.WebRTCEndID, &datamodel.WebRTCEnd{Session: id}); got != interaction.Success {
			t.Errorf("the end: %v", got)
		}
		if mine, theirs := v.heard(), other.heard(); len(mine) > 0 || !slices.Equal(theirs, []webrtc.Kind{webrtc.End}) {
			t.Errorf("at the end the owner was told %v, who asked %v", mine, theirs)
		}
	})
}

// beside starts the home's other gateway, which watches a camera.
func (h *home) beside(t *testing.T, camera cert.NodeID) *viewer {
	t.Helper()
	s := h.ledger.State()
	key, err := issuer.GenerateKey(rand.Reader)
	h.check(err)
	noc, err := issuer.Issue(s.Generation().ICAC, issuerKey(h), issuer.Reservation{Node: otherGateway, Fabric: s.Home.FabricID, Serial: []byte("G0000002"),
		CATs: []cert.CAT{s.Home.GatewayCAT}, PublicKey: key.PublicKey(), NotBefore: time.UnixMilli(s.Home.Birth)})
	h.check(err)
	h.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
	h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: noc, CAT: 1}})
	id := *h.id
	id.Node, id.NOC, id.Key = otherGateway, noc, key
	m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
	h.check(err)
	t.Cleanup(m.Close)
	link := h.net.Link(gatewayAddr2)
	c := commissioner.New(commissioner.Config{Ledger: h.ledger, Discovery: h.discovery, Authority: &steward.Authority{Ledger: h.ledger, Vault: h.vault},
		Identity: func() *securechannel.Identity { return &id }, Manager: m, Engine: interaction.New(m), Link: link,
		Addresses: commissioner.OpenAddressBook(filepath.Join(t.TempDir(), "addresses"), quiet), Now: time.Now, Random: rand.Reader, Log: quiet})
	c.Addresses.Set(camera, deviceAddr)
	responder := &securechannel.Responder{Manager: m, Log: quiet, Resumptions: c.Resumptions(), Identities: func() []*securechannel.Identity { return []*securechannel.Identity{&id} }}
	responder.Register()
	cameras := &webrtc.Requestor{Belongs: c.Belongs, Now: time.Now, Log: quiet}
	node, err := (&ota.Provider{Now: time.Now, Log: quiet}).Node(1, "1", rand.Reader, cameras.Part())
	h.check(err)
	c.Engine.Serve(node)
	m.Serve(link)
	return view(t, cameras, keeper.New(c), camera)
}

func issuerKey(h *home) issuer.PrivateKey {
	key, err := h.vault.IssuerKey(h.t.Context(), nil)
	h.check(err)
	return key
}
