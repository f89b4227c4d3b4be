package thread

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// exchange is one captured request and its answer.
type exchange struct {
	method, path, accept, contentType, body string
	status                                  int
	answerType, answer                      string
}

// readExchanges parses a file of captured exchanges.
func readExchanges(t testing.TB, file string) (out []exchange) {
	for _, part := range strings.Split(vectorFile(t, file), strings.Repeat("=", 66)+"\n")[1:] {
		_, part, _ = strings.Cut(part, "--- request\n")
		request, response, ok := strings.Cut(part, "--- response\n")
		if !ok {
			t.Fatalf("%s: no response in %q", file, part)
		}
		head := func(s string) (first, body string, headers http.Header) {
			head, body, _ := strings.Cut(s, "\n\n")
			lines := strings.Split(strings.TrimSpace(head), "\n")
			headers = http.Header{}
			for _, l := range lines[1:] {
				k, v, _ := strings.Cut(l, ": ")
				headers.Set(k, v)
			}
			return lines[0], body, headers
		}
		var e exchange
		first, body, h := head(request)
		fmt.Sscanf(first, "%s %s", &e.method, &e.path)
		e.accept, e.contentType, e.body = h.Get("Accept"), h.Get("Content-Type"), strings.TrimSpace(body)
		first, body, h = head(response)
		fmt.Sscanf(first, "HTTP/1.1 %d", &e.status)
		var length int
		fmt.Sscanf(h.Get("Content-Length"), "%d", &length)
		e.answerType, e.answer = h.Get("Content-Type"), body[:min(length, len(body))]
		out = append(out, e)
	}
	return out
}

// replay answers each request as the next captured one of the same method,
// path and header, in the order of the capture. A body is not compared.
func replay(t *testing.T, exchanges []exchange) *Client {
	var mu sync.Mutex
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for i, e := range exchanges {
			sameType := r.Method == http.MethodGet && e.accept == r.Header.Get("Accept") || r.Method == http.MethodPut && e.contentType == r.Header.Get("Content-Type")
			if e.method != r.Method || e.path != r.URL.Path || !sameType && !(e.accept == "*/*" && r.Header.Get("Accept") == jsonType) {
				continue
			}
			exchanges = append(exchanges[:i:i], exchanges[i+1:]...)
			if e.answerType != "" {
				w.Header().Set("Content-Type", e.answerType)
			}
			w.WriteHeader(e.status)
			io.WriteString(w, e.answer)
			return
		}
		t.Errorf("%s %s %v was not captured", r.Method, r.URL, r.Header)
	})
}

func serve(t testing.TB, h http.HandlerFunc) *Client {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := NewClient(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCapturedUnprovisioned(t *testing.T) {
	c := replay(t, readExchanges(t, "rest-01-unprovisioned.txt"))
	if _, err := c.Active(t.Context()); !errors.Is(err, ErrUnprovisioned) {
		t.Errorf("its dataset: %v", err)
	}
	n, err := c.Node(t.Context())
	if want := (Node{Disabled, "OpenThread", "dead00beef00cafe", "524346077901b890", 0, 0}); n != want || err != nil {
		t.Errorf("it is %+v, %v", n, err)
	}
}

func TestCapturedNetwork(t *testing.T) {
	exchanges := readExchanges(t, "rest-02-form-network.txt")
	c := replay(t, exchanges)
	for _, want := range []string{"LabNet", "PartialTLV", "Lab-Thread"} {
		d, err := c.Active(t.Context())
		if name, _ := d.Name(); name != want || err != nil {
			t.Errorf("its dataset: %v, %v", d, err)
		}
		if err := d.Complete(); err != nil {
			t.Error(err)
		}
	}
	n, err := c.Node(t.Context())
	if want := (Node{Leader, "Lab-Thread", "a1b2c3d4e5f60708", "524346077901b890", 1, 828699576}); n != want || err != nil {
		t.Errorf("it is %+v, %v", n, err)
	}
}

// TestCapturedRefusals asks for what the agent refused, and wants to be told
// what to do.
func TestCapturedRefusals(t *testing.T) {
	seen := map[int]bool{}
	for _, e := range readExchanges(t, "rest-02-form-network.txt") {
		if e.method != http.MethodPut || e.path != pathDataset || e.status == http.StatusCreated || seen[e.status] {
			continue
		}
		seen[e.status] = true
		a := &agent{putStatus: e.status}
		var r *Refusal
		if err := a.client(t).Provision(t.Context(), mustParse(t, demo)); !errors.As(err, &r) || r.Status != e.status || r.Remedy == "" {
			t.Errorf("%d: %v", e.status, err)
		} else if strings.Contains(r.Meaning, "unexpected") {
			t.Errorf("%d is not known: %v", e.status, err)
		}
	}
	if len(seen) < 4 {
		t.Errorf("only %v were refused", seen)
	}
}

// agent is what otbr-agent does with datasets and its state, in small.
type agent struct {
	mu        sync.Mutex
	dataset   string // hex
	state     State
	putStatus int // in place of doing it
	drops     byte
	requests  []string
}

func (a *agent) client(t testing.TB) *Client { return serve(t, a.handle) }

func (a *agent) handle(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	a.requests = append(a.requests, r.Method+" "+r.URL.Path)
	switch r.Method + " " + r.URL.Path {
	case "GET " + pathDataset:
		if a.dataset == "" {
			w.WriteHeader(http.StatusNoContent)
		} else if r.Header.Get("Accept") != "text/plain" {
			io.WriteString(w, `{"networkName": "x"}`)
		} else {
			io.WriteString(w, strings.ToUpper(a.dataset))
		}
	case "PUT " + pathDataset:
		d, err := ParseHex(string(body))
		switch {
		case a.putStatus != 0:
			w.WriteHeader(a.putStatus)
		case r.Header.Get("Content-Type") != "text/plain":
			w.WriteHeader(http.StatusBadRequest)
		case a.state != "" && a.state != Disabled:
			w.WriteHeader(http.StatusConflict)
		case err != nil:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			a.dataset = "4a0300000f" // what it adds itself
			for b := d.Reveal(); len(b) > 0; b = b[2+b[1]:] {
				if b[0] != a.drops {
					a.dataset += fmt.Sprintf("%x", b[:2+b[1]])
				}
			}
			w.WriteHeader(http.StatusCreated)
		}
	case "PUT " + pathState:
		if string(body) != `"enable"` || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.state = Leader
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestProvision(t *testing.T) {
	d := mustParse(t, demo)
	a := &agent{drops: 255}
	c := a.client(t)
	if err := c.Provision(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if a.state != Leader {
		t.Errorf("its state is %s", a.state)
	}
	if has, err := c.Active(t.Context()); err != nil || !has.Covers(d) {
		t.Errorf("it has %v, %v", has, err)
	}

	// Again: it has the dataset, and nothing is set.
	a.state, a.requests = Disabled, nil
	if err := c.Provision(t.Context(), d); err != nil || a.state != Leader || strings.Contains(strings.Join(a.requests, ","), "PUT "+pathDataset) {
		t.Errorf("again: %v, %s, %v", err, a.state, a.requests)
	}

	// Another: it keeps the one it has.
	before := a.dataset
	other := mustParse(t, strings.Replace(demo, "1111111122222222", "1111111122222223", 1))
	a.requests = nil
	if err := c.Provision(t.Context(), other); !errors.Is(err, ErrProvisioned) || a.dataset != before || len(a.requests) != 1 {
		t.Errorf("another network: %v after %v", err, a.requests)
	}

	// A part: nothing is asked at all.
	a.requests = nil
	if err := c.Provision(t.Context(), mustParse(t, "030141")); err == nil || len(a.requests) > 0 {
		t.Errorf("a part of a dataset: %v after %v", err, a.requests)
	}
}

func TestProvisionFails(t *testing.T) {
	tests := []struct {
		name string
		a    *agent
		says string
	}{
		{"running", &agent{state: Detached}, "Thread interface is running"},
		{"somebody was faster", &agent{putStatus: http.StatusOK}, "somebody else"},
		{"does not keep all", &agent{drops: typePSKc}, "not kept the dataset"},
		{"too old", &agent{putStatus: http.StatusMethodNotAllowed}, "lets nobody set"},
		{"behind a proxy", &agent{putStatus: http.StatusForbidden}, "wants a password"},
		{"broken", &agent{putStatus: http.StatusBadGateway}, "it failed"},
		{"redirects", &agent{putStatus: http.StatusTemporaryRedirect}, "something unexpected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.a.client(t).Provision(t.Context(), mustParse(t, demo))
			var r *Refusal
			if !errors.As(err, &r) || !strings.Contains(err.Error(), tt.says) || r.Remedy == "" {
				t.Errorf("%v, want it to say %q", err, tt.says)
			}
			noSecret(t, fmt.Sprintf("%v %+v", err, r))
		})
	}
}

// TestDialects reads a node as agents of three ages describe it.
func TestDialects(t *testing.T) {
	want := Node{Router, "Home", "a1b2c3d4e5f60708", "524346077901b890", 3, 77}
	for name, answer := range map[string]string{
		"before May 2023":       `{"State":3,"NumOfRouter":3,"ExtAddress":"524346077901b890","NetworkName":"Home","LeaderData":{"PartitionId":77},"ExtPanId":"a1b2c3d4e5f60708"}`,
		"before September 2025": `{"BaId":"00","State":"router","NumOfRouter":3,"ExtAddress":"524346077901b890","NetworkName":"Home","LeaderData":{"PartitionId":77},"ExtPanId":"a1b2c3d4e5f60708"}`,
		"since":                 `{"baId":"00","state":"router","routerCount":3,"extAddress":"524346077901b890","networkName":"Home","leaderData":{"partitionId":77},"extPanId":"a1b2c3d4e5f60708"}`,
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) })
		if n, err := c.Node(t.Context()); n != want || err != nil || !n.State.Attached() {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	endless := strings.Repeat("0", maxAnswer+1)
	tests := []struct {
		name   string
		status int
		answer string
		says   string
	}{
		{"JSON for a dataset", 200, `{"networkName":"x"}`, "cannot be read"},
		{"endless", 200, endless, "does not end"},
		{"not found", 404, "", "updat"},
		{"a number that is no state", 200, `{"state":5}`, "cannot be read"},
		{"a word that is no state", 200, `{"state":"asleep"}`, "cannot be read"},
		{"cut off", 200, `{"state":`, "cannot be read"},
		{"created", 201, "", "unexpected"},
	}
	for _, tt := range tests {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.answer)
		})
		_, err1 := c.Active(t.Context())
		_, err2 := c.Node(t.Context())
		if !strings.Contains(fmt.Sprint(err1), tt.says) && !strings.Contains(fmt.Sprint(err2), tt.says) && !strings.Contains(remedy(err1), tt.says) {
			t.Errorf("%s: %v; %v", tt.name, err1, err2)
		}
		if remedy(err1) == "" && err1 != nil {
			t.Errorf("%s: no remedy for %v", tt.name, err1)
		}
	}
}

func remedy(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Remedy
	}
	return ""
}

func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	c, err := NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := c.Active(t.Context()); remedy(err) == "" {
		t.Errorf("nobody listens: %v", err)
	}

	block := make(chan struct{})
	c = serve(t, func(w http.ResponseWriter, r *http.Request) { <-block })
	t.Cleanup(func() { close(block) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Active(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestNoDetour sees that neither a redirect nor a proxy is followed.
func TestNoDetour(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was followed", r.Method, r.URL) }))
	t.Cleanup(elsewhere.Close)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	if _, err := c.Active(t.Context()); err == nil {
		t.Error("a redirect was taken for an answer")
	}
	if c.http.Transport.(*http.Transport).Proxy != nil {
		t.Error("the environment may name a proxy")
	}
}

func TestClientAddress(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:8081", "http://[::1]:8081/", "https://br.local"} {
		if _, err := NewClient(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:8081", "ftp://br", "http://", "http://br/api", "http://br?x", "http://u:hunter2@br", "http://br:port"} {
		if _, err := NewClient(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzAnswers lets a border router answer anything.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"state":"leader","leaderData":{"partitionId":1}}`)
	f.Add(200, strings.ToUpper(demo))
	f.Add(200, `{"State":4,"state":"disabled"}`)
	f.Add(204, "")
	f.Add(500, `{"title":"Internal Server Error"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 || status/100 == 3 {
			return
		}
		c := newClient("http://br", answering(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		}))
		if d, err := c.Active(t.Context()); err == nil && len(d.Reveal()) > MaxDataset {
			t.Errorf("a dataset of %d bytes", len(d.Reveal()))
		}
		if n, err := c.Node(t.Context()); err == nil && n.State != "" && !n.State.Attached() && n.State != Disabled && n.State != Detached {
			t.Errorf("the state %q", n.State)
		}
		if err := c.Provision(t.Context(), mustParse(t, demo)); err == nil && status != http.StatusOK {
			t.Errorf("provisioned by %d", status)
		}
	})
}
