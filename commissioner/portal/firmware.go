package portal

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric"
	"gatehouse/firmware/dcl"
	"gatehouse/firmware/library"
)

// Firmware is what the home has settled about software, and what this gateway
// knows.
type Firmware struct {
	Policy  fabric.FirmwarePolicy             `json:"policy"` // the home's
	Zones   map[string]*fabric.FirmwarePolicy `json:"zones"`  // of zones that have their own
	Sources []FirmwareSource                  `json:"sources"`
	Ledger  string                            `json:"ledger,omitempty"` // node that may be asked; empty: none
	Records int                               `json:"records"`          // of products, from the ledger
	Oldest  *time.Time                        `json:"oldest_record,omitempty"`
	// LedgerError is why the ledger could not be asked last.
	LedgerError string `json:"ledger_error,omitempty"`
}

// FirmwareSource is a repository of signed statements, and how fresh this
// gateway's copy is.
type FirmwareSource struct {
	Name      string     `json:"name"`
	Where     string     `json:"where"`
	Root      []byte     `json:"root,omitempty"`      // when it is added
	Title     string     `json:"title,omitempty"`     // as its publisher calls it
	Signed    *time.Time `json:"signed,omitempty"`    // what is known of it
	Expires   *time.Time `json:"expires,omitempty"`   // and until when that holds
	Expired   bool       `json:"expired,omitempty"`   // it does not any more
	Refreshed *time.Time `json:"refreshed,omitempty"` // when it was last found to be the newest
	Products  int        `json:"products"`
	Error     string     `json:"error,omitempty"` // of the last attempt
	Code      string     `json:"code,omitempty"`  // of that
}

// Standing is what was decided of a device for its software.
type Standing struct {
	Verdict  string                  `json:"verdict"` // admit, quarantine
	Since    time.Time               `json:"since"`
	Version  uint32                  `json:"version"`  // that it rests on
	Attested bool                    `json:"attested"` // else the device says so
	Reasons  []fabric.FirmwareReason `json:"reasons,omitempty"`
	Update   string                  `json:"update,omitempty"`   // version that it is to have
	Deadline *time.Time              `json:"deadline,omitempty"` // by which
	Enforced bool                    `json:"enforced"`           // the device was seen to be as the verdict has it
	Evidence []fabric.Evidence       `json:"evidence,omitempty"`
}

func standing(s *fabric.Standing) *Standing {
	if s == nil {
		return nil
	}
	v := &Standing{Verdict: s.Verdict.String(), Since: time.UnixMilli(s.Since).UTC(), Version: s.Version, Attested: s.Attested, Reasons: s.Reasons, Enforced: s.Enforced, Evidence: s.Evidence}
	if s.Update != nil {
		v.Update = s.Update.Name
	}
	if s.Deadline != 0 {
		at := time.UnixMilli(s.Deadline).UTC()
		v.Deadline = &at
	}
	return v
}

func (p *Portal) firmware(w http.ResponseWriter, _ *http.Request) error {
	s := p.C.Ledger.State()
	f := Firmware{Zones: map[string]*fabric.FirmwarePolicy{}, Sources: []FirmwareSource{}, Records: p.L.Records().Products}
	if r := p.L.Records(); r.Products > 0 || r.Err != nil {
		if f.Oldest = when(r.Oldest); r.Err != nil {
			f.LedgerError = r.Err.Error()
		}
	}
	if s.Firmware != nil {
		f.Policy, f.Ledger = s.Firmware.Policy, s.Firmware.Ledger
	}
	for name, z := range s.Zones {
		if z.Firmware != nil {
			f.Zones[name] = z.Firmware
		}
	}
	for _, st := range p.L.Status() {
		f.Sources = append(f.Sources, source(st))
	}
	return reply(w, f)
}

func source(s library.Status) FirmwareSource {
	v := FirmwareSource{Name: s.Name, Where: s.Where, Title: s.Status.Name, Signed: when(s.Signed), Expires: when(s.Expires), Expired: s.Expired,
		Refreshed: when(s.Refreshed), Products: s.Products}
	if s.Err != nil {
		v.Error, v.Code = s.Err.Error(), string(s.Code())
	}
	return v
}

// when is a time, or nil if it is none.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// SetFirmwarePolicy sets the home's policy, or a zone's. Verdicts are default,
// admit, quarantine and refuse.
type SetFirmwarePolicy struct {
	Zone   string                 `json:"zone,omitempty"`   // empty: the home's
	Policy *fabric.FirmwarePolicy `json:"policy,omitempty"` // nil: the default, or for a zone, the home's
}

func (p *Portal) setFirmwarePolicy(w http.ResponseWriter, r *http.Request) error {
	var req SetFirmwarePolicy
	if err := decode(r, &req); err != nil {
		return err
	}
	if _, err := p.propose(r, fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Zone: req.Zone, Policy: req.Policy}}); err != nil {
		return err
	}
	return p.firmware(w, r)
}

// addFirmwareSource trusts a repository, and looks at it at once. One that
// cannot be read now is trusted all the same: the stick may be in another box.
func (p *Portal) addFirmwareSource(w http.ResponseWriter, r *http.Request) error {
	var req FirmwareSource
	if err := decode(r, &req); err != nil {
		return err
	}
	if strings.HasPrefix(req.Where, "http://") {
		return invalid(errors.New("a source has an https address, or is a directory"))
	}
	s, err := p.propose(r, fabric.Command{AddFirmwareSource: &fabric.AddFirmwareSource{Name: r.PathValue("name"), Where: req.Where, Root: req.Root}})
	if err != nil {
		return err
	}
	p.L.Follow(s.Firmware)
	return p.refreshFirmware(w, r)
}

func (p *Portal) removeFirmwareSource(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := p.propose(r, fabric.Command{RemoveFirmwareSource: &fabric.RemoveFirmwareSource{Name: name}}); err != nil {
		return err
	}
	return reply(w, Removed{name})
}

// refreshFirmware fetches what is new. What failed is in the answer.
func (p *Portal) refreshFirmware(w http.ResponseWriter, r *http.Request) error {
	if err := p.RefreshFirmware(r.Context()); err != nil {
		p.Log.Info("not all that is known of firmware is new", "err", err)
	}
	return p.firmware(w, r)
}

// SetFirmwareLedger says which node of the compliance ledger may be asked.
type SetFirmwareLedger struct {
	URL string `json:"url"` // empty: none
}

func (p *Portal) setFirmwareLedger(w http.ResponseWriter, r *http.Request) error {
	var req SetFirmwareLedger
	if err := decode(r, &req); err != nil {
		return err
	}
	if req.URL != "" {
		if err := dcl.CheckURL(req.URL); err != nil {
			return invalid(err)
		}
	}
	if _, err := p.propose(r, fabric.Command{SetFirmwareLedger: &fabric.SetFirmwareLedger{URL: req.URL}}); err != nil {
		return err
	}
	return p.firmware(w, r)
}

// importLedger takes a snapshot of the ledger.
func (p *Portal) importLedger(w http.ResponseWriter, r *http.Request) error {
	n, err := p.L.Import(r.Body)
	if err != nil {
		return invalid(err)
	}
	return reply(w, Added{Added: n})
}

// updateEvery is how often the progress of an update is looked at.
const updateEvery = 500 * time.Millisecond

// Update is a line of an update: the last one has the state "applied", or is a
// failure.
type Update struct {
	State   ota.State `json:"state"`
	Version uint32    `json:"version"`
	Done    int64     `json:"done,omitempty"` // octets
	Size    int64     `json:"size,omitempty"`
	Error   string    `json:"error,omitempty"` // why a transfer broke; the device may go on with it
}

// update has a device fetch its newer software, and tells how that goes until
// it runs it or the caller goes away, which does not end it.
func (p *Portal) update(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	if err := p.U.Ask(r.Context(), d.Node); err != nil {
		return err
	}
	s := newStream(w)
	ticker := time.NewTicker(updateEvery)
	defer ticker.Stop()
	// It may have gone on before it is looked at for the first time.
	before := ota.Progress{State: ota.Announced}
	if now := p.C.Ledger.State().Devices[d.Node]; now != nil && now.Update() != nil {
		before.Version = now.Update().Version
	}
	s.line(Update{State: before.State, Version: before.Version})
	for {
		if now, ok := p.U.Progress(d.Node); ok && (now.State != before.State || now.Done != before.Done || now.Version != before.Version) {
			before = now
			v := Update{State: now.State, Version: now.Version, Done: now.Done, Size: now.Size}
			if now.Err != nil {
				v.Error = now.Err.Error()
			}
			if s.line(v); now.State == ota.Applied {
				return nil
			}
		}
		if now := p.C.Ledger.State().Devices[d.Node]; now != nil && now.Attempt != nil && now.Attempt.Failure != "" {
			s.end(commissioner.Fail(commissioner.CodeUpdateFailed, errors.New(now.Attempt.Failure)))
			return nil
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return nil
		}
	}
}
