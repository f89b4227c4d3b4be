package portal

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/cluster"
	"gatehouse/cluster/wire"
	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/fabric"
)

// route is something that the API does, and what that takes.
type route struct {
	pattern string
	act     door.Act
	what    string // in a few words
	in, out any    // samples of the request's body and of the answer; in is nil for none
	h       handler
}

// Acts. Critical ones take a second factor.
var (
	free       = door.Act{Need: door.Nothing}
	known      = door.Act{Need: door.Known}
	look       = door.Act{Need: door.Look}
	operate    = door.Act{Need: door.Operate}
	arrange    = door.Act{Need: door.Arrange}
	approve    = door.Act{Need: door.Approve}
	admit      = door.Act{Need: door.Approve, Critical: true, Delegable: true}
	review     = door.Act{Need: door.Review}
	administer = door.Act{Need: door.Administer}
	part       = door.Act{Need: door.Administer, Critical: true, Delegable: true}
	critical   = door.Act{Need: door.Administer, Critical: true}
	self       = door.Act{Need: door.Self}
	personal   = door.Act{Need: door.Self, Critical: true}
	own        = door.Act{Need: door.Own}
)

// routes are all that the API does.
func (p *Portal) routes() []route {
	return []route{
		{"POST /api/v1/login", free, "Log in by name and password; sets the session's cookie", LoginRequest{}, Session{}, p.login},
		{"POST /api/v1/login/passkey/question", free, "What a browser asks a passkey with, to log in", nil, object, p.askPasskeyLogin},
		{"POST /api/v1/login/passkey", free, "Log in by a passkey's answer, PublicKeyCredential as JSON; sets the session's cookie", object, Session{}, p.loginPasskey},
		{"POST /api/v1/welcome/question", free, "Whom an invitation is for", InvitationRequest{}, Invited{}, p.invited},
		{"POST /api/v1/welcome", free, "Accept an invitation with a password; sets the session's cookie", InvitationRequest{}, Session{}, p.accept},
		{"GET /api/v1/session", known, "Who is asking, and what they may do", nil, Session{}, p.session},
		{"DELETE /api/v1/session", self, "Log out", nil, Done{}, p.logout},
		{"POST /api/v1/session/confirm", self, "Show a second factor, which then counts for five minutes", ConfirmRequest{}, Session{}, p.confirm},
		{"POST /api/v1/session/confirm/question", self, "What a browser asks a passkey with, to confirm", nil, object, p.askPasskey},
		{"GET /api/v1/account", self, "How you prove who you are, and where you are logged in", nil, Account{}, p.account},
		{"PUT /api/v1/account/password", self, "Change your password; ends your other sessions", SetPassword{}, Done{}, p.setPassword},
		{"POST /api/v1/account/authenticators", self, "Begin to add an authenticator app", Prove{}, NewAuthenticator{}, p.beginAuthenticator},
		{"PUT /api/v1/account/authenticators/{name}", self, "Add it, once it shows a right code", Code{}, Done{}, p.addAuthenticator},
		{"DELETE /api/v1/account/authenticators/{name}", personal, "Remove an authenticator app", nil, Done{}, p.removeAuthenticator},
		{"POST /api/v1/account/passkeys", self, "Begin to add a passkey: what a browser makes it with", Prove{}, object, p.beginPasskey},
		{"PUT /api/v1/account/passkeys/{name}", self, "Add the passkey that a browser made, PublicKeyCredential as JSON", object, Done{}, p.addPasskey},
		{"DELETE /api/v1/account/passkeys/{name}", personal, "Remove a passkey", nil, Done{}, p.removePasskey},
		{"POST /api/v1/account/recovery-codes", personal, "Get new recovery codes; the former ones are void", nil, RecoveryCodes{}, p.newRecoveryCodes},
		{"DELETE /api/v1/account/passes/{id}", self, "End one of your sessions, or take a token back", nil, Done{}, p.endOwnPass},
		{"DELETE /api/v1/account/passes", self, "End all your sessions but this one", nil, Done{}, p.endOtherPasses},
		{"POST /api/v1/account/tokens", personal, "Get a token for a program", TokenRequest{}, NewToken{}, p.giveToken},
		{"GET /api/v1/people", review, "Who may use the home", nil, People{}, p.people},
		{"POST /api/v1/people", critical, "Invite somebody", PersonRequest{}, Invitation{}, p.invite},
		{"PATCH /api/v1/people/{id}", critical, "Say what somebody is called and may do", PersonRequest{}, Person{}, p.changePerson},
		{"DELETE /api/v1/people/{id}", critical, "Take somebody out", nil, Done{}, p.removePerson},
		{"POST /api/v1/people/{id}/invitation", critical, "Invite somebody anew, who cannot log in any more; ends their sessions", nil, Invitation{}, p.inviteAgain},
		{"POST /api/v1/people/{id}/tokens", own, "Give a program a token for somebody, over the gateway's own socket", TokenRequest{}, NewToken{}, p.giveTokenFor},
		{"DELETE /api/v1/people/{id}/passes/{pass}", administer, "End somebody's session, or take a token back", nil, Done{}, p.endPass},
		{"GET /api/v1/approval", look, "Who may let devices in beside administrators", nil, Approval{}, p.approval},
		{"PUT /api/v1/approval", critical, "Say who may", Approval{}, Approval{}, p.setApproval},
		{"GET /api/v1/hooks", review, "The programs that are told what happens", nil, Hooks{}, p.hooks},
		{"PUT /api/v1/hooks/{name}", critical, "Have a program told: by webhook", SetHook{}, Hooks{}, p.setHook},
		{"DELETE /api/v1/hooks/{name}", administer, "No longer tell a program", nil, Removed{}, p.removeHook},
		{"GET /api/v1/openapi.json", known, "This description", nil, object, p.openAPI},
		{"GET /api/v1/events", look, "What happens, as server-sent events: device, home, lost", nil, events, p.events},

		{"GET /api/v1/status", look, "The gateway", nil, Status{}, p.status},
		{"GET /api/v1/backup", critical, "A backup that only the recovery kit opens", nil, octets, p.backup},
		{"GET /api/v1/gateways", look, "The home's gateways", nil, Gateways{}, p.gateways},
		{"POST /api/v1/gateways", critical, "Let a gateway in by its setup code", AddGateway{}, lines(commissioner.Progress{}, Enrolled{}), p.addGateway},
		{"POST /api/v1/gateways/transfer", administer, "Have another gateway lead", nil, Transferred{}, p.transfer},
		{"DELETE /api/v1/gateways/{node}", critical, "Evict a gateway, for ever", nil, Evicted{}, p.evictGateway},
		{"GET /api/v1/fabric", review, "The home's root", nil, Fabric{}, p.fabric},
		{"POST /api/v1/fabric/reroot", critical, "Give the home another root", object, Rerooted{}, p.reroot},
		{"POST /api/v1/fabric/reroot/finish", critical, "Forget the former fabric", FinishReroot{}, FinishedReroot{}, p.finishReroot},
		{"GET /api/v1/mode", look, "The gateway's pairing mode", nil, Mode{}, p.mode},
		{"POST /api/v1/mode", own, "Open it, as a press of the button does", OpenMode{}, Mode{}, p.openMode}, // it stands for a press of the button
		{"DELETE /api/v1/mode", approve, "Close it, and end the pairings that are going on", nil, Mode{}, p.cancelMode},
		{"GET /api/v1/scan", approve, "Devices in pairing mode nearby", nil, lines(Nearby{}, Scanned{}), p.scan},
		{"POST /api/v1/codes", approve, "The setup codes in a JPEG or PNG picture", octets, Codes{}, p.readCodes},
		{"POST /api/v1/pair", admit, "Let a device in by its setup code; told step by step", PairRequest{}, lines(commissioner.Progress{}, Asked{}, Admitted{}), p.pair},
		{"POST /api/v1/questions/{id}", approve, "Answer what a pairing asks", AnswerRequest{}, Answered{}, p.answer},
		{"GET /api/v1/networks", approve, "The networks that devices are put on", nil, Networks{}, p.networks},
		{"PUT /api/v1/networks/{name}", administer, "Set a network's credentials", Credentials{}, Network{}, p.setNetwork},
		{"POST /api/v1/networks/{name}/prefer", administer, "Put devices on this network unless somebody says otherwise", nil, Network{}, p.preferNetwork},
		{"GET /api/v1/networks/{name}/health", arrange, "Whether a network's devices could be reached", nil, Health{}, p.networkHealth},
		{"DELETE /api/v1/networks/{name}", administer, "Forget a network", nil, Removed{}, p.removeNetwork},
		{"GET /api/v1/seal", review, "What the home's secrets are sealed with", nil, Sealing{}, p.sealing},
		{"POST /api/v1/seal/rotate", critical, "Seal them with the newest algorithms", nil, Sealing{}, p.rotateSealing},
		{"GET /api/v1/zones", look, "The home's zones", nil, Zones{}, p.zones},
		{"PUT /api/v1/zones/{name}", administer, "Add a zone", nil, Zones{}, p.addZone},
		{"GET /api/v1/devices", look, "The home's devices, by name", nil, Devices{}, p.devices},
		{"GET /api/v1/devices/{node}", look, "A device, by node id or name", nil, Device{}, p.device},
		{"PATCH /api/v1/devices/{node}", arrange, "Give a device another name or room", Rename{}, Device{}, p.rename},
		{"DELETE /api/v1/devices/{node}", part, "Send a device away", nil, Removed{}, p.atOwner(p.forMember(p.remove))},
		{"GET /api/v1/devices/{node}/state", look, "What a device last said", nil, DeviceState{}, p.deviceState},
		{"GET /api/v1/devices/{node}/fabrics", look, "Who administers a device", nil, DeviceFabrics{}, p.atOwner(p.deviceFabrics)},
		{"POST /api/v1/devices/{node}/read", arrange, "Read attributes and events from a device", ReadRequest{}, Report{}, p.atOwner(p.read)},
		{"POST /api/v1/devices/{node}/write", arrange, "Write an attribute", WriteRequest{}, Written{}, p.guarded(p.atOwner(p.write))},
		{"POST /api/v1/devices/{node}/invoke", operate, "Invoke a command", InvokeRequest{}, Invoked{}, p.guarded(p.atOwner(p.invoke))},
		{"POST /api/v1/devices/{node}/subscribe", arrange, "Hear every change of attributes and events", SubscribeRequest{}, lines(Report{}), p.atOwner(p.subscribe)},
		{"POST /api/v1/devices/{node}/window", admit, "Share a device: let another controller pair it for a while", WindowRequest{}, Shared{}, p.atOwner(p.forMember(p.openWindow))},
		{"DELETE /api/v1/devices/{node}/window", approve, "No longer share it", nil, Closed{}, p.atOwner(p.closeWindow)},
		{"POST /api/v1/devices/{node}/update", administer, "Update a device's software; told as it goes", nil, lines(Update{}), p.atOwner(p.forMember(p.update))},
		{"GET /api/v1/devices/{node}/networks", review, "The networks a device was told of", nil, DeviceNetworks{}, p.atOwner(p.deviceNetworks)},
		{"POST /api/v1/devices/{node}/networks", administer, "Change them", ChangeNetworks{}, DeviceNetworks{}, p.atOwner(p.forMember(p.changeDeviceNetworks))},
		{"GET /api/v1/states", look, "What all devices last said, as far as a list shows it", nil, DeviceStates{}, p.deviceStates},
		{"GET /api/v1/nodes", own, "What this gateway's devices say, for other gateways", nil, octets, p.feedNodes},
		{"GET /api/v1/firmware", review, "What software devices may run, and what is known of it", nil, Firmware{}, p.firmware},
		{"PUT /api/v1/firmware/policy", critical, "Say what devices may run", SetFirmwarePolicy{}, Firmware{}, p.setFirmwarePolicy},
		{"GET /api/v1/firmware/rollouts", review, "Images on their way to devices", nil, Rollouts{}, p.rollouts},
		{"POST /api/v1/firmware/rollouts/{image}", administer, "Begin one", nil, Rollouts{}, p.beginRollout},
		{"DELETE /api/v1/firmware/rollouts/{image}", administer, "Stop one", StopRollout{}, Rollouts{}, p.stopRollout},
		{"PUT /api/v1/firmware/sources/{name}", critical, "Add a source of statements about software", FirmwareSource{}, Firmware{}, p.addFirmwareSource},
		{"DELETE /api/v1/firmware/sources/{name}", administer, "Remove one", nil, Removed{}, p.removeFirmwareSource},
		{"GET /api/v1/firmware/sources/{name}/files/{file...}", own, "A source's file, for other gateways", nil, octets, p.sourceFile},
		{"GET /api/v1/firmware/ledger/records", own, "The ledger's records, for other gateways", nil, octets, p.ledgerRecords},
		{"POST /api/v1/firmware/refresh", administer, "Look at all sources now", nil, Firmware{}, p.refreshFirmware},
		{"PUT /api/v1/firmware/ledger", administer, "Let the compliance ledger be asked, or not", SetFirmwareLedger{}, Firmware{}, p.setFirmwareLedger},
		{"POST /api/v1/firmware/ledger/import", critical, "Take in a snapshot of the ledger", octets, Added{}, p.importLedger},
		{"GET /api/v1/trust", review, "Whose devices are trusted", nil, Trust{}, p.trust},
		{"POST /api/v1/trust/anchors", critical, "Trust more makers' certificates", AddAnchors{}, Added{}, p.addAnchors},
		{"DELETE /api/v1/trust/anchors/{id}", administer, "No longer trust one", nil, Removed{}, p.removeAnchor},
		{"PUT /api/v1/trust/revocations", critical, "Replace the list of revoked certificates", SetRevocations{}, Added{}, p.setRevocations},
		{"POST /api/v1/trust/exceptions", critical, "Let devices with test certificates in for a while", Exception{}, Exception{}, p.addException},
		{"DELETE /api/v1/trust/exceptions/{name}", administer, "End an exception", nil, Removed{}, p.removeException},
		{"GET /api/v1/audit", review, "What was decided, a page of it", nil, lines(object, Audit{}), p.audit},
		{"GET /api/v1/audit/checkpoint", review, "A signed statement of all that was decided", nil, Checkpoint{}, p.checkpoint},
		{"GET /api/v1/audit/proof", review, "That a record is in it, or that it begins with another", nil, AuditProof{}, p.auditProof},
	}
}

// Handler is the API. Who asks is in the request's context (door.With): whoever
// listens puts it there.
func (p *Portal) Handler() http.Handler {
	p.counts = newCounts()
	mux := http.NewServeMux()
	for _, route := range p.routes() {
		mux.HandleFunc(route.pattern, p.allowed(route.act, route.h))
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(p.M, p)
	mux.HandleFunc("GET /metrics", p.allowed(review, func(w http.ResponseWriter, r *http.Request) error {
		promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
		return nil
	}))
	if p.Proxies != nil {
		mux.HandleFunc("GET /ble", p.allowed(proxying, func(w http.ResponseWriter, r *http.Request) error {
			p.Proxies.ServeHTTP(w, r)
			return nil
		}))
	}
	return mux
}

// proxying is lending the gateway a radio: what goes over it is sealed from end
// to end.
var proxying = arrange

// allowed does what h does for those who may. It says for whom in the audit
// trail.
func (p *Portal) allowed(act door.Act, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := door.From(r.Context())
		if err := who.May(act, p.approves()); err != nil {
			p.fail(w, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limitOf(r))
		if err := h(w, r.WithContext(cluster.For(r.Context(), p.asker(r, who)))); err != nil {
			p.fail(w, err)
		}
	}
}

// limitOf bounds a request's body.
func limitOf(r *http.Request) int64 {
	if r.Pattern == "POST /api/v1/codes" {
		return qr.MaxOctets
	}
	return maxBody
}

// asker is the name of the person whom something is done for.
func (p *Portal) asker(r *http.Request, who door.Who) string {
	if who.Kind == door.Gateway {
		return r.Header.Get(forwardedFor)
	}
	return who.Name
}

// approves is the role that may let devices in beside administrators.
func (p *Portal) approves() fabric.Role {
	if people := p.C.Ledger.State().People; people != nil {
		return people.Approve
	}
	return 0
}

// ForLocal serves the gateway's unix socket, whose file mode is its authentication.
func ForLocal(h http.Handler) http.Handler { return as(door.Who{Kind: door.Local}, h) }

// ForGateways serves the home's other gateways, which have proved that they are.
func ForGateways(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := door.Who{Kind: door.Gateway, Name: wire.Peer(r.Context()).String()}
		h.ServeHTTP(w, r.WithContext(door.With(r.Context(), who)))
	})
}

func as(who door.Who, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(door.With(r.Context(), who)))
	})
}

// guarded refuses control of a device that reaches further than switching it:
// of the node as a whole, of who may use it, and of locks. It does so before
// anything is passed on to another gateway.
func (p *Portal) guarded(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return invalid(err)
		}
		var req struct {
			Path string `json:"path"`
		}
		if err := json.Unmarshal(body, &req); err != nil {
			return invalid(err)
		}
		endpoint, cluster, _, err := concretePath(req.Path)
		if err != nil {
			return err
		}
		act := operate
		switch {
		case endpoint == 0 || cluster == clusterBinding:
			act = administer
		case cluster == clusterDoorLock:
			act = arrange
		}
		if err := door.From(r.Context()).May(act, p.approves()); err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return h(w, r)
	}
}

// Clusters that are more than a switch.
const (
	clusterBinding  = 0x001E
	clusterDoorLock = 0x0101
)

// isAssistant tells the paths of Home Assistant's API.
func isAssistant(path string) bool {
	return path == "/ws" || path == "/health" || path == "/info" || strings.HasPrefix(path, "/ota-upload/")
}

// isAPI tells the API's paths from pages.
func isAPI(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == "/metrics" || path == "/ble"
}
