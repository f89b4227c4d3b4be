// Package hooks tells programs of the household's own what happens in the home:
// it posts each Notice as JSON to their addresses.
//
// It promises that a program which is slow, away or hostile holds up nobody and
// takes no more than its queue; that a notice is tried a few times and then
// left, since what happened is in the audit trail; and that whoever knows the
// hook's secret can tell that a notice is the gateway's: the header
// Gatehouse-Signature is "sha256=" and HMAC-SHA256 over the body in hex (RFC
// 2104), as other webhooks have it. It follows no redirection, and neither an
// address nor a secret is ever logged.
package hooks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Limits of ours.
const (
	queue     = 64               // notices that wait for one program
	patience  = 10 * time.Second // for one attempt
	maxURL    = 2048
	maxSecret = 256
)

// pauses are between attempts.
var pauses = []time.Duration{2 * time.Second, 20 * time.Second, 2 * time.Minute}

// SignatureHeader has the signature of a notice.
const SignatureHeader = "Gatehouse-Signature"

// Notice is something that happened.
type Notice struct {
	Time    time.Time `json:"time"`
	Home    string    `json:"home"`
	Event   string    `json:"event"` // pairing-begun, pairing-failed, or a record's of the audit trail: device-admitted, …
	Device  string    `json:"device,omitempty"`
	Gateway string    `json:"gateway,omitempty"`
	Name    string    `json:"name,omitempty"` // of whom it is about
	For     string    `json:"for,omitempty"`  // person who asked for it
	Code    string    `json:"code,omitempty"` // of a failure
	Message string    `json:"message,omitempty"`
	Remedy  string    `json:"remedy,omitempty"`
}

// Target is where a program is told.
type Target struct {
	URL    string `cbor:"1,keyasint" json:"url"`
	Secret string `cbor:"2,keyasint,omitempty" json:"secret,omitempty"` // empty: notices are not signed
}

// Check says what is wrong with a target.
func (t Target) Check() error {
	u, err := url.Parse(t.URL)
	switch {
	case len(t.URL) > maxURL || len(t.Secret) > maxSecret:
		return fmt.Errorf("an address has at most %d octets, a secret %d", maxURL, maxSecret)
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("the address is no https:// or http:// address") // err would quote it
	}
	return nil
}

// Sender tells the programs of one gateway. Close it.
type Sender struct {
	client *http.Client
	log    *slog.Logger
	ctx    context.Context
	end    context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]chan job
}

type job struct {
	target Target
	notice Notice
}

// New is a Sender. client may be nil.
func New(client *http.Client, log *slog.Logger) *Sender {
	if client == nil {
		client = &http.Client{}
	}
	plain := *client
	plain.Timeout = patience
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	ctx, end := context.WithCancel(context.Background())
	return &Sender{client: &plain, log: log, ctx: ctx, end: end, waiting: make(map[string]chan job)}
}

// Close ends it. What was not told yet is lost.
func (s *Sender) Close() {
	s.end()
	s.wg.Wait()
}

// Send tells a program, by name, without waiting for it. It drops the notice
// where too many wait already.
func (s *Sender) Send(name string, t Target, n Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	jobs := s.waiting[name]
	if jobs == nil {
		jobs = make(chan job, queue)
		s.waiting[name] = jobs
		s.wg.Go(func() { s.work(name, jobs) })
	}
	select {
	case jobs <- job{t, n}:
	default:
		s.log.Warn("a program is not told of what happened: too much waits for it", "hook", name, "event", n.Event)
	}
}

func (s *Sender) work(name string, jobs <-chan job) {
	for {
		select {
		case j := <-jobs:
			s.deliver(name, j)
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Sender) deliver(name string, j job) {
	var err error
	for try := 0; ; try++ {
		var again bool
		if again, err = s.post(j); err == nil {
			return
		}
		if !again || try == len(pauses) {
			break
		}
		select {
		case <-time.After(pauses[try]):
		case <-s.ctx.Done():
			return
		}
	}
	s.log.Warn("a program was not told of what happened", "hook", name, "event", j.notice.Event, "err", err)
}

// post is one attempt. again says that another may succeed.
func (s *Sender) post(j job) (again bool, err error) {
	body, err := json.Marshal(j.notice)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, j.target.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("its address is none")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gatehouse")
	if j.target.Secret != "" {
		req.Header.Set(SignatureHeader, Sign(j.target.Secret, body))
	}
	resp, err := s.client.Do(req)
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return true, e.Err // without the address, which may hold a secret
	} else if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 4096) // so that the connection can be used again
	switch {
	case resp.StatusCode < 300:
		return false, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return true, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return false, fmt.Errorf("it answers %d", resp.StatusCode)
}

// Sign is the signature of a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
