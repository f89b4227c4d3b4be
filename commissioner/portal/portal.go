// Package portal is how people and programs reach a gateway: for now the API
// under /api/v1 over the gateway's unix socket, as JSON, with streams of one
// object a line.
//
// It promises that every failure is a commissioner.Failure with a stable
// code, and that a stream's last line says how it ended. It listens nowhere
// but where it is told; the unix socket's file mode is its authentication.
package portal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/cluster/member"
	"gatehouse/commissioner"
	"gatehouse/commissioner/enroll"
	"gatehouse/commissioner/keeper"
	"gatehouse/firmware/library"
)

// maxBody bounds a request. The largest is the import of a trust store.
const maxBody = 4 << 20

// Portal serves one gateway's API.
type Portal struct {
	C       *commissioner.Commissioner
	K       *keeper.Keeper
	M       *member.Member   // this gateway among the others
	E       *enroll.Member   // and as who lets new ones in
	L       *library.Library // what it knows of firmware
	U       *keeper.Updates
	records seenRecords
	Log     *slog.Logger
	// Radio tells how Bluetooth fares; nil: there is none.
	Radio func() *Radio

	questions questions
}

// Handler is the API.
func (p *Portal) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /api/v1/status":                                  p.status,
		"GET /api/v1/backup":                                  p.backup,
		"GET /api/v1/gateways":                                p.gateways,
		"POST /api/v1/gateways":                               p.addGateway,
		"POST /api/v1/gateways/transfer":                      p.transfer,
		"DELETE /api/v1/gateways/{node}":                      p.evictGateway,
		"GET /api/v1/fabric":                                  p.fabric,
		"POST /api/v1/fabric/reroot":                          p.reroot,
		"POST /api/v1/fabric/reroot/finish":                   p.finishReroot,
		"GET /api/v1/mode":                                    p.mode,
		"POST /api/v1/mode":                                   p.openMode,
		"DELETE /api/v1/mode":                                 p.cancelMode,
		"GET /api/v1/scan":                                    p.scan,
		"POST /api/v1/pair":                                   p.pair,
		"POST /api/v1/questions/{id}":                         p.answer,
		"GET /api/v1/networks":                                p.networks,
		"PUT /api/v1/networks/{name}":                         p.setNetwork,
		"POST /api/v1/networks/{name}/prefer":                 p.preferNetwork,
		"GET /api/v1/networks/{name}/health":                  p.networkHealth,
		"DELETE /api/v1/networks/{name}":                      p.removeNetwork,
		"GET /api/v1/seal":                                    p.sealing,
		"POST /api/v1/seal/rotate":                            p.rotateSealing,
		"GET /api/v1/firmware/rollouts":                       p.rollouts,
		"POST /api/v1/firmware/rollouts/{image}":              p.beginRollout,
		"DELETE /api/v1/firmware/rollouts/{image}":            p.stopRollout,
		"GET /api/v1/devices":                                 p.devices,
		"GET /api/v1/devices/{node}":                          p.device,
		"PATCH /api/v1/devices/{node}":                        p.rename,
		"DELETE /api/v1/devices/{node}":                       p.atOwner(p.forMember(p.remove)),
		"POST /api/v1/devices/{node}/read":                    p.atOwner(p.read),
		"POST /api/v1/devices/{node}/write":                   p.atOwner(p.write),
		"POST /api/v1/devices/{node}/invoke":                  p.atOwner(p.invoke),
		"POST /api/v1/devices/{node}/subscribe":               p.atOwner(p.subscribe),
		"POST /api/v1/devices/{node}/window":                  p.atOwner(p.forMember(p.openWindow)),
		"DELETE /api/v1/devices/{node}/window":                p.atOwner(p.closeWindow),
		"POST /api/v1/devices/{node}/update":                  p.atOwner(p.forMember(p.update)),
		"GET /api/v1/devices/{node}/networks":                 p.atOwner(p.deviceNetworks),
		"POST /api/v1/devices/{node}/networks":                p.atOwner(p.forMember(p.changeDeviceNetworks)),
		"GET /api/v1/firmware":                                p.firmware,
		"PUT /api/v1/firmware/policy":                         p.setFirmwarePolicy,
		"PUT /api/v1/firmware/sources/{name}":                 p.addFirmwareSource,
		"DELETE /api/v1/firmware/sources/{name}":              p.removeFirmwareSource,
		"GET /api/v1/firmware/sources/{name}/files/{file...}": p.sourceFile,
		"GET /api/v1/firmware/ledger/records":                 p.ledgerRecords,
		"POST /api/v1/firmware/refresh":                       p.refreshFirmware,
		"PUT /api/v1/firmware/ledger":                         p.setFirmwareLedger,
		"POST /api/v1/firmware/ledger/import":                 p.importLedger,
		"GET /api/v1/trust":                                   p.trust,
		"POST /api/v1/trust/anchors":                          p.addAnchors,
		"DELETE /api/v1/trust/anchors/{id}":                   p.removeAnchor,
		"PUT /api/v1/trust/revocations":                       p.setRevocations,
		"POST /api/v1/trust/exceptions":                       p.addException,
		"DELETE /api/v1/trust/exceptions/{name}":              p.removeException,
		"GET /api/v1/audit":                                   p.audit,
		"GET /api/v1/audit/checkpoint":                        p.checkpoint,
		"GET /api/v1/audit/proof":                             p.auditProof,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if err := h(w, r); err != nil {
				p.fail(w, err)
			}
		})
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(p.M)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// errorBody is how a failure is told, also as the last line of a stream.
type errorBody struct {
	Error *commissioner.Failure `json:"error"`
}

var statusOf = map[commissioner.Code]int{
	commissioner.CodeUnknownDevice:   http.StatusNotFound,
	commissioner.CodeNotFound:        http.StatusNotFound,
	commissioner.CodeInvalidArgument: http.StatusBadRequest,
	commissioner.CodeUnreachable:     http.StatusGatewayTimeout,
	commissioner.CodeTime:            http.StatusGatewayTimeout,
	commissioner.CodeInternal:        http.StatusInternalServerError,
	commissioner.CodeCommit:          http.StatusServiceUnavailable,
	codeNotCurrent:                   http.StatusServiceUnavailable,
}

func (p *Portal) fail(w http.ResponseWriter, err error) {
	f := commissioner.Explain(err, commissioner.CodeInternal)
	status := statusOf[f.Code]
	if status == 0 {
		status = http.StatusConflict
	}
	if f.Code == commissioner.CodeInternal {
		p.Log.Error("request failed", "err", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(errorBody{f})
}

// invalid is the failure of a request that is not well formed.
func invalid(err error) error { return commissioner.Fail(commissioner.CodeInvalidArgument, err) }

// decode reads a request's body, strictly.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return invalid(err)
	}
	if d.More() {
		return invalid(errors.New("more than one JSON value"))
	}
	return nil
}

func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// stream writes one JSON object a line, each at once.
type stream struct {
	w   http.ResponseWriter
	enc *json.Encoder
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &stream{w, json.NewEncoder(w)}
}

func (s *stream) line(v any) {
	if s.enc.Encode(v) == nil {
		http.NewResponseController(s.w).Flush()
	}
}

// end says how the stream ended.
func (s *stream) end(err error) {
	if err != nil {
		s.line(errorBody{commissioner.Explain(err, commissioner.CodeInternal)})
	}
}

// Status is what the gateway says of itself.
type Status struct {
	Home    string `json:"home"`
	Fabric  string `json:"fabric_id"`
	Gateway string `json:"gateway"`
	Leader  string `json:"leader,omitempty"` // empty: no gateway leads now
	Devices int    `json:"devices"`
	Index   uint64 `json:"index"`
	Radio   *Radio `json:"bluetooth,omitempty"`
}

// Radio is how the Bluetooth radio's process fares.
type Radio struct {
	Up       bool   `json:"up"`
	Address  string `json:"address,omitempty"` // of the adapter
	Restarts int    `json:"restarts"`          // how often the process failed and was begun anew
	Reason   string `json:"reason,omitempty"`  // of the last failure
}

func (p *Portal) status(w http.ResponseWriter, r *http.Request) error {
	s := p.C.Ledger.State()
	status := Status{Home: s.Home.Name, Fabric: s.Home.FabricID.String(), Gateway: p.C.Identity().Node.String(), Devices: len(s.Devices), Index: s.Index}
	if leader := p.M.Leader(); leader != 0 {
		status.Leader = leader.String()
	}
	if p.Radio != nil {
		status.Radio = p.Radio()
	}
	return reply(w, status)
}

// now is the gateway's clock.
func (p *Portal) now() time.Time { return p.C.Now() }

// requestLimit bounds one interaction with a device.
const requestLimit = 2 * time.Minute

func limited(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), requestLimit)
}
