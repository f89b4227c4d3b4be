// Package portal is how people and programs reach a gateway: the API under
// /api/v1, as JSON, with streams of one object a line and events for browsers.
//
// It promises that every failure is a commissioner.Failure with a stable
// code, that a stream's last line says how it ended, and that nothing is done
// for anybody but as the table of routes says. It listens nowhere by itself.
package portal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/cluster/member"
	"gatehouse/commissioner"
	"gatehouse/commissioner/enroll"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/hooks"
	"gatehouse/commissioner/portal/login"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/commissioner/webrtc"
	"gatehouse/firmware/library"
	"gatehouse/radio/ble/proxy"
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
	D       *door.Door // who may come in
	records seenRecords
	Log     *slog.Logger
	// Radio tells how Bluetooth fares; nil: there is none.
	Radio func() *Radio
	// Proxies takes other people's Bluetooth in at /ble; nil: there is none.
	Proxies *proxy.Server
	// Cameras takes what cameras say; nil: nobody does.
	Cameras *webrtc.Requestor
	// Mesh asks border routers; nil: none may be asked.
	Mesh *Mesh

	// Web is this gateway's web page; nil: it serves none.
	Web Web
	// Codes reads setup codes from pictures.
	Codes *qr.Reader
	// Sender tells programs what happens.
	Sender *hooks.Sender

	questions questions
	listening atomic.Int32
	label     label
	counts    counts
}

// Web is what is known of the gateway's web page.
type Web interface {
	Addresses() []string // https://, the home's name first
	Fingerprint() string // of its authority's certificate, SHA-256, for people
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
	commissioner.CodeAsleep:          http.StatusGatewayTimeout,
	commissioner.CodeInternal:        http.StatusInternalServerError,
	commissioner.CodeCommit:          http.StatusServiceUnavailable,
	codeNotCurrent:                   http.StatusServiceUnavailable,
	door.CodeLogin:                   http.StatusUnauthorized,
	door.CodeRole:                    http.StatusForbidden,
	door.CodeSecondFactor:            http.StatusForbidden,
	door.CodeInvitation:              http.StatusForbidden,
	login.CodeWrong:                  http.StatusForbidden,
	login.CodeWait:                   http.StatusTooManyRequests,
	login.CodeBusy:                   http.StatusTooManyRequests,
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
	unhurried(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &stream{w, json.NewEncoder(w)}
}

// unhurried lets an answer take its time once the request is read: the server's
// limit for reading one would end it.
func unhurried(w http.ResponseWriter) {
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // in memory there is none
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
	// Proxies are the names of the Bluetooth proxies that are connected.
	Proxies []string `json:"bluetooth_proxies,omitempty"`
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
	if p.Proxies != nil {
		for _, r := range p.Proxies.Radios() {
			status.Proxies = append(status.Proxies, r.Name())
		}
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
