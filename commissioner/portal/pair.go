package portal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/setup"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// PairRequest asks for a pairing. Code is a QR code's text or the digits of a
// manual code; a QR code of several devices pairs one after the other.
type PairRequest struct {
	Code        string `json:"code"`
	Name        string `json:"name,omitempty"`
	Zone        string `json:"zone,omitempty"`
	Network     string `json:"network,omitempty"`     // of the home's, for a device that is on none
	Interactive bool   `json:"interactive,omitempty"` // there is somebody to answer questions
}

// Admitted is the last line of a pairing that succeeded.
type Admitted struct {
	Admitted Device `json:"admitted"`
}

// Asked is a line of an interactive pairing that wants an answer, to be posted
// to questions/ID.
type Asked struct {
	Question struct {
		ID string `json:"id"`
		commissioner.Question
	} `json:"question"`
}

func (p *Portal) pair(w http.ResponseWriter, r *http.Request) error {
	var req PairRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	payloads, err := setup.Parse(req.Code)
	if err != nil {
		return err
	}
	s := newStream(w)
	for i, code := range payloads {
		name := req.Name
		if name != "" && i > 0 {
			name = fmt.Sprintf("%s %d", req.Name, i+1)
		}
		pairing := commissioner.PairRequest{Code: code, Name: name, Zone: req.Zone, Network: req.Network}
		if req.Interactive {
			pairing.Ask = func(ctx context.Context, q commissioner.Question) (commissioner.Answer, error) {
				return p.ask(ctx, s, q)
			}
		}
		ended := p.pairing(r.Context(), name, p.asker(r, door.From(r.Context())))
		device, session, err := p.C.Pair(r.Context(), pairing, func(step commissioner.Progress) { s.line(step) })
		if ended(err); err != nil {
			s.end(err)
			return nil
		}
		p.K.Adopt(session)
		s.line(Admitted{p.view(device)})
	}
	return nil
}

// questions are those that wait for an answer.
type questions struct {
	mu      sync.Mutex
	waiting map[string]waiting
}

type waiting struct {
	software bool // else it is about networks
	answer   chan AnswerRequest
}

func (q *questions) open(about commissioner.Question) (id string, answer <-chan AnswerRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		q.waiting = make(map[string]waiting)
	}
	id = rand.Text()
	w := waiting{about.Software != nil, make(chan AnswerRequest, 1)}
	q.waiting[id] = w
	return id, w.answer
}

// take ends a question with an answer, unless it is answered already, or the
// answer is to another kind of question.
func (q *questions) take(id string, a AnswerRequest) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w, ok := q.waiting[id]
	if !ok || !a.Cancel && a.Accept != w.software {
		return false
	}
	delete(q.waiting, id)
	w.answer <- a
	return true
}

func (q *questions) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, id)
}

// ask puts a question into the stream and waits for its answer. What is not
// well formed is refused when it is posted, not here.
func (p *Portal) ask(ctx context.Context, s *stream, q commissioner.Question) (commissioner.Answer, error) {
	id, answer := p.questions.open(q)
	defer p.questions.forget(id)
	var line Asked
	line.Question.ID, line.Question.Question = id, q
	s.line(line)
	select {
	case a := <-answer:
		if a.Cancel {
			return commissioner.Answer{}, commissioner.ErrNoAnswer
		}
		return a.parsed, nil
	case <-ctx.Done():
		return commissioner.Answer{}, context.Cause(ctx)
	}
}

// AnswerRequest answers a question: about software by accepting it, about
// networks with one of the home's by name or with another, which is kept if it
// is given a name; either by giving up.
type AnswerRequest struct {
	Accept  bool   `json:"accept,omitempty"`
	Network string `json:"network,omitempty"`
	Credentials
	SaveAs string `json:"save_as,omitempty"`
	Cancel bool   `json:"cancel,omitempty"`

	parsed commissioner.Answer
}

// Answered is the answer to an answer.
type Answered struct {
	Answered string `json:"answered"` // the question's id
}

func (p *Portal) answer(w http.ResponseWriter, r *http.Request) error {
	var req AnswerRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	req.parsed.Network, req.parsed.SaveAs = req.Network, req.SaveAs
	if !req.Cancel && !req.Accept && req.Network == "" {
		n, secret, err := req.network(r.Context(), p)
		if err != nil {
			return err
		}
		req.parsed.Kind, req.parsed.ID, req.parsed.Secret = n.Kind, n.ID, secret
	}
	id := r.PathValue("id")
	if !p.questions.take(id, req) {
		return invalid(errors.New("nobody waits for such an answer any more"))
	}
	return reply(w, Answered{id})
}

// Nearby is a device in pairing mode.
type Nearby struct {
	Via           string `json:"via"` // bluetooth, network
	Discriminator uint16 `json:"discriminator"`
	VendorID      uint16 `json:"vendor_id,omitempty"`
	ProductID     uint16 `json:"product_id,omitempty"`
	Name          string `json:"name,omitempty"`
	Signal        int8   `json:"signal_dbm,omitempty"`
	Address       string `json:"address"`
}

// Scanned is the last line of a scan.
type Scanned struct {
	Scanned struct {
		Found     int    `json:"found"`
		Bluetooth string `json:"bluetooth,omitempty"` // why nothing was looked for over it
	} `json:"scanned"`
}

// Limits of a scan.
const (
	defaultScan = 5 * time.Second
	maxScan     = 5 * time.Minute
	maxNearby   = 1000 // strangers may invent devices
)

// scan tells of each device in pairing mode once.
func (p *Portal) scan(w http.ResponseWriter, r *http.Request) error {
	length := defaultScan
	if text := r.URL.Query().Get("for"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length <= 0 || length > maxScan {
			return invalid(fmt.Errorf("a scan lasts up to %v", maxScan))
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), length)
	defer cancel()
	s := newStream(w)
	seen := make(map[Nearby]bool)
	err := p.C.Nearby(ctx, dnssd.Commissionables(), func(ad radio.Advertisement) bool {
		if len(ad.Addrs) == 0 || ad.Addrs[0].Transport != radio.BLE && ad.Mode == radio.NotCommissioning {
			return true
		}
		n := Nearby{Via: "network", Discriminator: ad.Discriminator, VendorID: ad.Vendor, ProductID: ad.Product, Name: ad.DeviceName, Address: ad.Addrs[0].IP.String()}
		if ad.Addrs[0].Transport == radio.BLE {
			n.Via, n.Address = "bluetooth", ad.Addrs[0].Peer
		}
		if !seen[n] {
			seen[n] = true
			n.Signal = ad.RSSI
			s.line(n)
		}
		return len(seen) < maxNearby
	})
	var end Scanned
	if end.Scanned.Found = len(seen); err != nil {
		end.Scanned.Bluetooth = err.Error()
	}
	s.line(end)
	return nil
}
