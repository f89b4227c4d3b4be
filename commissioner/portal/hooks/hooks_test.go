package hooks

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// program is one that is told, as a transport: no network is in between.
type program struct {
	answers []int // in order; the last one stays
	took    []*http.Request
	bodies  [][]byte
	at      []time.Time
	hang    bool
}

func (p *program) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status := p.answers[min(len(p.took), len(p.answers)-1)]
	p.took, p.bodies, p.at = append(p.took, r), append(p.bodies, body), append(p.at, time.Now())
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"http://elsewhere.example/"}}, Body: io.NopCloser(strings.NewReader("x"))}, nil
}

func (p *program) sender(log io.Writer) *Sender {
	return New(&http.Client{Transport: p}, slog.New(slog.NewTextHandler(log, nil)))
}

const canary = "canary-in-its-cage"

var target = Target{"https://me:" + canary + "@example.org/hook?token=" + canary, canary + "2"}

func TestDeliver(t *testing.T) {
	for what, c := range map[string]struct {
		answers []int
		want    int // attempts
		after   time.Duration
	}{
		"at once":          {[]int{204}, 1, 0},
		"the third time":   {[]int{500, 429, 200}, 3, 22 * time.Second},
		"never":            {[]int{503}, 4, 142 * time.Second},
		"not wanted":       {[]int{404}, 1, 0},
		"sent on":          {[]int{302}, 1, 0},
		"gone after a try": {[]int{500, 410}, 2, 2 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				p := &program{answers: c.answers}
				s, began := p.sender(&log), time.Now()
				s.Send("phone", target, Notice{Event: "pairing-failed", Code: "passcode-wrong"})
				time.Sleep(10 * time.Minute)
				s.Close()
				if len(p.took) != c.want || p.at[len(p.at)-1].Sub(began) != c.after {
					t.Errorf("%d attempts, the last after %v", len(p.took), p.at[len(p.at)-1].Sub(began))
				}
				var n Notice
				if err := json.Unmarshal(p.bodies[0], &n); err != nil || n.Code != "passcode-wrong" {
					t.Errorf("%s: %v", p.bodies[0], err)
				}
				if r := p.took[0]; r.Method != "POST" || r.Header.Get(SignatureHeader) != Sign(target.Secret, p.bodies[0]) || r.URL.String() != target.URL {
					t.Errorf("%v", r.Header)
				}
				if strings.Contains(log.String(), canary) {
					t.Errorf("a secret is logged: %s", log.String())
				}
			})
		})
	}
}

// TestSlow: a program that hangs holds up nobody, and takes no more than its
// queue.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		slow := &program{hang: true}
		s := slow.sender(&log)
		for range 10 * queue {
			s.Send("slow", target, Notice{Event: "device-admitted"})
		}
		if took := len(s.waiting["slow"]); took > queue {
			t.Errorf("%d wait", took)
		}
		time.Sleep(time.Hour)
		s.Close()
		s.Send("slow", target, Notice{})
		if !strings.Contains(log.String(), "too much waits") || strings.Contains(log.String(), canary) {
			t.Errorf("%.500s", log.String())
		}
	})
}

func TestCheck(t *testing.T) {
	for url, ok := range map[string]bool{"https://example.org/x": true, "http://homeassistant.local:8123/api/webhook/1": true, "": false, "ftp://example.org": false, "https://": false,
		"file:///etc/passwd": false, "https://x/" + strings.Repeat("y", maxURL): false, "://": false} {
		if err := (Target{URL: url}).Check(); (err == nil) != ok {
			t.Errorf("%.40q: %v", url, err)
		}
	}
}

// TestSign holds the signature to RFC 4231, case 2.
func TestSign(t *testing.T) {
	if got := Sign("Jefe", []byte("what do ya want for nothing?")); got != "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" {
		t.Error(got)
	}
}
