package portal

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/attest"
)

// Anchor is a certificate of the trust store as the API shows it.
type Anchor struct {
	ID      string    `json:"id"`   // SHA-256 of the certificate, hex
	Kind    string    `json:"kind"` // paa, cd-signer
	Subject string    `json:"subject"`
	KeyID   string    `json:"key_id"` // what a device's certificates name
	Test    bool      `json:"test"`
	Source  string    `json:"source"`
	AddedAt time.Time `json:"added_at"`
	DER     []byte    `json:"der,omitempty"`
}

// Exception is an exception as the API shows it.
type Exception struct {
	Name      string    `json:"name"`
	VendorID  uint16    `json:"vendor_id,omitempty"`
	ProductID uint16    `json:"product_id,omitempty"`
	Expires   time.Time `json:"expires"`
	Expired   bool      `json:"expired,omitempty"`
}

// Trust is the trust store.
type Trust struct {
	Anchors     []Anchor    `json:"anchors"`
	Exceptions  []Exception `json:"exceptions"`
	Revocations int         `json:"revocations"` // entries of the revocation set; -1: none was imported
}

var kinds = map[fabric.AnchorKind]string{fabric.PAA: "paa", fabric.CDSigner: "cd-signer"}

func (p *Portal) trust(w http.ResponseWriter, r *http.Request) error {
	s := p.C.Ledger.State()
	t := Trust{Anchors: []Anchor{}, Exceptions: []Exception{}, Revocations: -1}
	for id, a := range s.Anchors {
		v := Anchor{ID: id, Kind: kinds[a.Kind], Test: a.Test, Source: a.Source, AddedAt: time.UnixMilli(a.AddedAt).UTC()}
		if c, err := x509.ParseCertificate(a.DER); err == nil {
			v.Subject, v.KeyID = c.Subject.String(), hex.EncodeToString(c.SubjectKeyId)
		}
		t.Anchors = append(t.Anchors, v)
	}
	slices.SortFunc(t.Anchors, func(a, b Anchor) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
	})
	for _, x := range s.Exceptions {
		expires := time.UnixMilli(x.Expires).UTC()
		t.Exceptions = append(t.Exceptions, Exception{x.Name, x.VendorID, x.ProductID, expires, !p.now().Before(expires)})
	}
	slices.SortFunc(t.Exceptions, func(a, b Exception) int { return cmp.Compare(a.Name, b.Name) })
	if len(s.Revocations) > 0 {
		if set, err := attest.ParseRevocationSet(s.Revocations); err == nil {
			t.Revocations = set.Len()
		}
	}
	return reply(w, t)
}

// AddAnchors adds certificates to the trust store; of each, DER, Kind, Test
// and Source count.
type AddAnchors struct {
	Anchors []Anchor `json:"anchors"`
}

// Added says how many certificates are new.
type Added struct {
	Added int `json:"added"`
	Known int `json:"known"` // those that were there already
}

func (p *Portal) addAnchors(w http.ResponseWriter, r *http.Request) error {
	var req AddAnchors
	if err := decode(r, &req); err != nil {
		return err
	}
	var cmd fabric.AddAnchors
	for _, a := range req.Anchors {
		kind := fabric.AnchorKind(0)
		for k, name := range kinds {
			if name == a.Kind {
				kind = k
			}
		}
		if kind == 0 {
			return invalid(errors.New("a certificate is neither paa nor cd-signer"))
		}
		c, err := attest.ParseCertificate(a.DER)
		if err == nil && kind == fabric.PAA {
			err = c.CheckPAA()
		}
		if err != nil {
			return invalid(err)
		}
		cmd.Anchors = append(cmd.Anchors, fabric.Anchor{Kind: kind, DER: a.DER, Test: a.Test, Source: a.Source})
	}
	before := len(p.C.Ledger.State().Anchors)
	s, err := p.propose(r, fabric.Command{AddAnchors: &cmd})
	if err != nil {
		return err
	}
	added := len(s.Anchors) - before
	return reply(w, Added{added, len(cmd.Anchors) - added})
}

func (p *Portal) removeAnchor(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if _, err := p.propose(r, fabric.Command{RemoveAnchor: &fabric.RemoveAnchor{ID: id}}); err != nil {
		return err
	}
	return reply(w, Removed{id})
}

// SetRevocations replaces the revocation set with JSON as it is published.
type SetRevocations struct {
	Set []byte `json:"set"`
}

func (p *Portal) setRevocations(w http.ResponseWriter, r *http.Request) error {
	var req SetRevocations
	if err := decode(r, &req); err != nil {
		return err
	}
	set, err := attest.ParseRevocationSet(req.Set)
	if err != nil {
		return invalid(err)
	}
	if _, err := p.propose(r, fabric.Command{SetRevocations: &fabric.SetRevocations{JSON: req.Set}}); err != nil {
		return err
	}
	return reply(w, Added{Added: set.Len()})
}

func (p *Portal) addException(w http.ResponseWriter, r *http.Request) error {
	var req Exception
	if err := decode(r, &req); err != nil {
		return err
	}
	_, err := p.propose(r, fabric.Command{AddException: &fabric.Exception{Name: req.Name, VendorID: req.VendorID, ProductID: req.ProductID, Expires: req.Expires.UnixMilli()}})
	if err != nil {
		return err
	}
	return reply(w, req)
}

func (p *Portal) removeException(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := p.propose(r, fabric.Command{RemoveException: &fabric.RemoveException{Name: name}}); err != nil {
		return err
	}
	return reply(w, Removed{name})
}
