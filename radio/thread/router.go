package thread

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Limits of ours.
const (
	maxAnswer      = 64 << 10 // bytes, of a border router's answer
	requestTimeout = 10 * time.Second
)

// What otbr-agent's REST interface calls things. Only what has the same
// meaning in all its versions since May 2023 is used: datasets as hex, whose
// media type has to be written just so, since the agent compares the header
// as a whole.
const (
	pathNode    = "/node"
	pathState   = "/node/state"
	pathDataset = "/node/dataset/active"

	hexType  = "text/plain"
	jsonType = "application/json"
)

// State is what a border router does in its Thread network.
type State string

const (
	Disabled State = "disabled" // Thread is switched off
	Detached State = "detached" // looking for the network
	Child    State = "child"
	Router   State = "router"
	Leader   State = "leader"
)

// Attached says that the border router is part of a network.
func (s State) Attached() bool { return s == Child || s == Router || s == Leader }

// states are also what agents before May 2023 called them, as numbers.
var states = [...]State{Disabled, Detached, Child, Router, Leader}

// UnmarshalJSON takes a name or a number.
func (s *State) UnmarshalJSON(b []byte) error {
	var n int
	if json.Unmarshal(b, &n) == nil && 0 <= n && n < len(states) {
		*s = states[n]
		return nil
	}
	var name string
	if err := json.Unmarshal(b, &name); err != nil {
		return err
	}
	for _, known := range states {
		if State(name) == known {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%.20q is no state of a border router", name)
}

// Node is a border router as it describes itself. One without a dataset has
// OpenThread's default name and extended PAN id.
type Node struct {
	State           State
	NetworkName     string
	ExtendedPANID   string // 16 hex digits
	ExtendedAddress string // 16 hex digits
	Routers         int    // in its partition
	Partition       uint32 // 0: none
}

// ErrUnprovisioned says that a border router has no dataset.
var ErrUnprovisioned = errors.New("the border router has no Thread network yet")

// ErrProvisioned says that a border router has a dataset, and another one.
var ErrProvisioned = errors.New("the border router has another Thread network already")

// Refusal is an answer that is not what was asked for.
type Refusal struct {
	Request string // method and path
	Status  int    // 0: no answer
	Meaning string // a sentence
	Remedy  string // what to do about it
	Err     error  // may be nil
}

func (r *Refusal) Error() string {
	s := "border router: " + r.Request
	if r.Status != 0 {
		s += fmt.Sprintf(": %d", r.Status)
	}
	s += ": " + r.Meaning
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

func (r *Refusal) Unwrap() error { return r.Err }

// Client speaks to one border router. The interface has no authentication: it
// gives the network's keys to whoever reaches it.
type Client struct {
	base string
	http http.Client
}

// NewClient speaks to the agent at base, such as http://127.0.0.1:8081. No
// proxy is asked and no redirect followed: either would be told the keys.
func NewClient(base string) (*Client, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("border router's address: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return nil, fmt.Errorf("border router's address %q is not like http://127.0.0.1:8081", u.Redacted())
	}
	return newClient(u.Scheme+"://"+u.Host, &http.Transport{DisableKeepAlives: true, DisableCompression: true}), nil
}

func newClient(base string, transport http.RoundTripper) *Client {
	return &Client{base, http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Base is the agent's address: scheme and host.
func (c *Client) Base() string { return c.base }

// Active is the border router's dataset; ErrUnprovisioned if it has none.
func (c *Client) Active(ctx context.Context) (Dataset, error) {
	const request = "GET " + pathDataset
	status, body, err := c.do(ctx, http.MethodGet, pathDataset, hexType, "")
	switch {
	case err != nil:
		return Dataset{}, err
	case status == http.StatusNoContent:
		return Dataset{}, ErrUnprovisioned
	case status != http.StatusOK:
		return Dataset{}, refuse(request, status)
	}
	d, err := ParseHex(string(body))
	if err != nil {
		return Dataset{}, &Refusal{request, status, "its dataset cannot be read", updateAgent, err}
	}
	return d, nil
}

// Node is how the border router describes itself.
func (c *Client) Node(ctx context.Context) (Node, error) {
	const request = "GET " + pathNode
	status, body, err := c.do(ctx, http.MethodGet, pathNode, jsonType, "")
	switch {
	case err != nil:
		return Node{}, err
	case status != http.StatusOK:
		return Node{}, refuse(request, status)
	}
	// Until September 2025 the names began with capitals, which this ignores.
	var n struct {
		State       State  `json:"state"`
		NetworkName string `json:"networkName"`
		ExtPANID    string `json:"extPanId"`
		ExtAddress  string `json:"extAddress"`
		RouterCount int    `json:"routerCount"`
		NumOfRouter int    `json:"numOfRouter"` // what it was called then
		LeaderData  struct {
			PartitionID uint32 `json:"partitionId"`
		} `json:"leaderData"`
	}
	if err := json.Unmarshal(body, &n); err != nil {
		return Node{}, &Refusal{request, status, "its answer cannot be read", updateAgent, err}
	}
	return Node{n.State, n.NetworkName, n.ExtPANID, n.ExtAddress, max(n.RouterCount, n.NumOfRouter), n.LeaderData.PartitionID}, nil
}

// Provision gives a border router that has no dataset a complete one, starts
// Thread on it and reads the dataset back. One that has the same already is
// started. For one that has another the error is ErrProvisioned, and nothing
// is changed.
func (c *Client) Provision(ctx context.Context, d Dataset) error {
	if err := d.Complete(); err != nil {
		return err
	}
	switch has, err := c.Active(ctx); {
	case err == nil && !has.Covers(d):
		return ErrProvisioned
	case err == nil:
		return c.enable(ctx)
	case !errors.Is(err, ErrUnprovisioned):
		return err
	}
	status, _, err := c.do(ctx, http.MethodPut, pathDataset, hexType, fmt.Sprintf("%x", d.Reveal()))
	if err != nil {
		return err
	}
	// 200 says that it changed a dataset that it got since we asked.
	if status != http.StatusCreated {
		return refuse("PUT "+pathDataset, status)
	}
	if err := c.enable(ctx); err != nil {
		return err
	}
	switch has, err := c.Active(ctx); {
	case err != nil:
		return err
	case !has.Covers(d):
		return &Refusal{"PUT " + pathDataset, status, "it has not kept the dataset as it was given", updateAgent, nil}
	}
	return nil
}

func (c *Client) enable(ctx context.Context) error {
	status, _, err := c.do(ctx, http.MethodPut, pathState, jsonType, `"enable"`)
	if err == nil && status != http.StatusOK {
		err = refuse("PUT "+pathState, status)
	}
	return err
}

// do makes one request. mediaType is that of the request's body, or of the
// answer wanted when there is none.
func (c *Client) do(ctx context.Context, method, path, mediaType, body string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	unreachable := func(err error) error {
		return &Refusal{Request: method + " " + path, Meaning: "no answer came", Remedy: "check that otbr-agent runs, with its REST interface, and where it listens", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, unreachable(err)
	}
	if body == "" {
		req.Header.Set("Accept", mediaType)
	} else {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, unreachable(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, unreachable(err)
	case len(answer) > maxAnswer:
		return 0, nil, &Refusal{method + " " + path, resp.StatusCode, "its answer does not end", updateAgent, nil}
	}
	return resp.StatusCode, answer, nil
}

const updateAgent = "update the border router's software: it has to be otbr-agent of May 2023 or later"

const checkRadio = "check with `ot-ctl state` and in otbr-agent's log that its radio answers"

// refusals are the answers that are known, by request.
var refusals = map[string]map[int]struct{ meaning, remedy string }{
	"GET " + pathNode: {
		http.StatusNotFound: {"it is no otbr-agent", "check the address: another program answers there"},
	},
	"GET " + pathDataset: {
		http.StatusNotFound: {"it does not know datasets", updateAgent},
	},
	"PUT " + pathDataset: {
		http.StatusOK:                  {"somebody else gave it a network at the same moment", "see which network it has now, and decide which of the two to keep"},
		http.StatusBadRequest:          {"it does not take the dataset as hex", updateAgent},
		http.StatusConflict:            {"its Thread interface is running", "stop it with `ot-ctl thread stop`, then try again"},
		http.StatusNotFound:            {"it does not know datasets", updateAgent},
		http.StatusMethodNotAllowed:    {"it lets nobody set a dataset", updateAgent},
		http.StatusInternalServerError: {"it found fault with the dataset", updateAgent},
	},
	"PUT " + pathState: {
		http.StatusMethodNotAllowed: {"it cannot be started from here", "start it with `ot-ctl ifconfig up` and `ot-ctl thread start`, or update it"},
		// Newer agents mean to answer 409 and then answer 500.
		http.StatusConflict:            {"it cannot start Thread", checkRadio},
		http.StatusInternalServerError: {"it cannot start Thread", checkRadio},
	},
}

func refuse(request string, status int) error {
	known, ok := refusals[request][status]
	switch {
	case ok:
		return &Refusal{request, status, known.meaning, known.remedy, nil}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &Refusal{request, status, "it wants a password", "otbr-agent itself has none: ask whoever put a proxy before it", nil}
	case status >= http.StatusInternalServerError:
		return &Refusal{request, status, "it failed", "see its log, then restart otbr-agent", nil}
	}
	return &Refusal{request, status, "it answered something unexpected", "check the address, and update the border router's software", nil}
}
