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
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/fabric"
)

// route is something that the API does, and what that takes.
type route struct {
	pattern string
	act     door.Act
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
		{"POST /api/v1/login", free, p.login},
		{"POST /api/v1/login/passkey/question", free, p.askPasskeyLogin},
		{"POST /api/v1/login/passkey", free, p.loginPasskey},
		{"POST /api/v1/welcome/question", free, p.invited},
		{"POST /api/v1/welcome", free, p.accept},
		{"GET /api/v1/session", known, p.session},
		{"DELETE /api/v1/session", self, p.logout},
		{"POST /api/v1/session/confirm", self, p.confirm},
		{"POST /api/v1/session/confirm/question", self, p.askPasskey},
		{"GET /api/v1/account", self, p.account},
		{"PUT /api/v1/account/password", self, p.setPassword},
		{"POST /api/v1/account/authenticators", self, p.beginAuthenticator},
		{"PUT /api/v1/account/authenticators/{name}", self, p.addAuthenticator},
		{"DELETE /api/v1/account/authenticators/{name}", personal, p.removeAuthenticator},
		{"POST /api/v1/account/passkeys", self, p.beginPasskey},
		{"PUT /api/v1/account/passkeys/{name}", self, p.addPasskey},
		{"DELETE /api/v1/account/passkeys/{name}", personal, p.removePasskey},
		{"POST /api/v1/account/recovery-codes", personal, p.newRecoveryCodes},
		{"DELETE /api/v1/account/passes/{id}", self, p.endOwnPass},
		{"DELETE /api/v1/account/passes", self, p.endOtherPasses},
		{"POST /api/v1/account/tokens", personal, p.giveToken},
		{"GET /api/v1/people", review, p.people},
		{"POST /api/v1/people", critical, p.invite},
		{"PATCH /api/v1/people/{id}", critical, p.changePerson},
		{"DELETE /api/v1/people/{id}", critical, p.removePerson},
		{"POST /api/v1/people/{id}/invitation", critical, p.inviteAgain},
		{"DELETE /api/v1/people/{id}/passes/{pass}", administer, p.endPass},
		{"GET /api/v1/approval", look, p.approval},
		{"PUT /api/v1/approval", critical, p.setApproval},
		{"GET /api/v1/events", look, p.events},

		{"GET /api/v1/status", look, p.status},
		{"GET /api/v1/backup", critical, p.backup},
		{"GET /api/v1/gateways", look, p.gateways},
		{"POST /api/v1/gateways", critical, p.addGateway},
		{"POST /api/v1/gateways/transfer", administer, p.transfer},
		{"DELETE /api/v1/gateways/{node}", critical, p.evictGateway},
		{"GET /api/v1/fabric", review, p.fabric},
		{"POST /api/v1/fabric/reroot", critical, p.reroot},
		{"POST /api/v1/fabric/reroot/finish", critical, p.finishReroot},
		{"GET /api/v1/mode", look, p.mode},
		{"POST /api/v1/mode", own, p.openMode}, // it stands for a press of the button
		{"DELETE /api/v1/mode", approve, p.cancelMode},
		{"GET /api/v1/scan", approve, p.scan},
		{"POST /api/v1/codes", approve, p.readCodes},
		{"POST /api/v1/pair", admit, p.pair},
		{"POST /api/v1/questions/{id}", approve, p.answer},
		{"GET /api/v1/networks", approve, p.networks},
		{"PUT /api/v1/networks/{name}", administer, p.setNetwork},
		{"POST /api/v1/networks/{name}/prefer", administer, p.preferNetwork},
		{"GET /api/v1/networks/{name}/health", arrange, p.networkHealth},
		{"DELETE /api/v1/networks/{name}", administer, p.removeNetwork},
		{"GET /api/v1/seal", review, p.sealing},
		{"POST /api/v1/seal/rotate", critical, p.rotateSealing},
		{"GET /api/v1/zones", look, p.zones},
		{"PUT /api/v1/zones/{name}", administer, p.addZone},
		{"GET /api/v1/devices", look, p.devices},
		{"GET /api/v1/devices/{node}", look, p.device},
		{"PATCH /api/v1/devices/{node}", arrange, p.rename},
		{"DELETE /api/v1/devices/{node}", part, p.atOwner(p.forMember(p.remove))},
		{"GET /api/v1/devices/{node}/state", look, p.deviceState},
		{"GET /api/v1/devices/{node}/fabrics", look, p.atOwner(p.deviceFabrics)},
		{"POST /api/v1/devices/{node}/read", arrange, p.atOwner(p.read)},
		{"POST /api/v1/devices/{node}/write", arrange, p.guarded(p.atOwner(p.write))},
		{"POST /api/v1/devices/{node}/invoke", operate, p.guarded(p.atOwner(p.invoke))},
		{"POST /api/v1/devices/{node}/subscribe", arrange, p.atOwner(p.subscribe)},
		{"POST /api/v1/devices/{node}/window", admit, p.atOwner(p.forMember(p.openWindow))},
		{"DELETE /api/v1/devices/{node}/window", approve, p.atOwner(p.closeWindow)},
		{"POST /api/v1/devices/{node}/update", administer, p.atOwner(p.forMember(p.update))},
		{"GET /api/v1/devices/{node}/networks", review, p.atOwner(p.deviceNetworks)},
		{"POST /api/v1/devices/{node}/networks", administer, p.atOwner(p.forMember(p.changeDeviceNetworks))},
		{"GET /api/v1/nodes", own, p.feedNodes},
		{"GET /api/v1/firmware", review, p.firmware},
		{"PUT /api/v1/firmware/policy", critical, p.setFirmwarePolicy},
		{"GET /api/v1/firmware/rollouts", review, p.rollouts},
		{"POST /api/v1/firmware/rollouts/{image}", administer, p.beginRollout},
		{"DELETE /api/v1/firmware/rollouts/{image}", administer, p.stopRollout},
		{"PUT /api/v1/firmware/sources/{name}", critical, p.addFirmwareSource},
		{"DELETE /api/v1/firmware/sources/{name}", administer, p.removeFirmwareSource},
		{"GET /api/v1/firmware/sources/{name}/files/{file...}", own, p.sourceFile},
		{"GET /api/v1/firmware/ledger/records", own, p.ledgerRecords},
		{"POST /api/v1/firmware/refresh", administer, p.refreshFirmware},
		{"PUT /api/v1/firmware/ledger", administer, p.setFirmwareLedger},
		{"POST /api/v1/firmware/ledger/import", critical, p.importLedger},
		{"GET /api/v1/trust", review, p.trust},
		{"POST /api/v1/trust/anchors", critical, p.addAnchors},
		{"DELETE /api/v1/trust/anchors/{id}", administer, p.removeAnchor},
		{"PUT /api/v1/trust/revocations", critical, p.setRevocations},
		{"POST /api/v1/trust/exceptions", critical, p.addException},
		{"DELETE /api/v1/trust/exceptions/{name}", administer, p.removeException},
		{"GET /api/v1/audit", review, p.audit},
		{"GET /api/v1/audit/checkpoint", review, p.checkpoint},
		{"GET /api/v1/audit/proof", review, p.auditProof},
	}
}

// Handler is the API. Who asks is in the request's context (door.With): whoever
// listens puts it there.
func (p *Portal) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range p.routes() {
		mux.HandleFunc(route.pattern, p.allowed(route.act, route.h))
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(p.M)
	mux.HandleFunc("GET /metrics", p.allowed(review, func(w http.ResponseWriter, r *http.Request) error {
		promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
		return nil
	}))
	return mux
}

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

// isAPI tells the API's paths from pages.
func isAPI(path string) bool { return strings.HasPrefix(path, "/api/") || path == "/metrics" }
