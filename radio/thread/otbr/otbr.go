// Package otbr asks a border router, over the REST interface of otbr-agent, what
// the nodes of its Thread network say of themselves (Thread specification 1.4,
// chapter 10.11): network diagnostics.
//
// It promises that whatever answers, an answer, its time and what is kept of it
// are bounded. It never asks for the operational dataset, which the interface
// gives to anybody, and changes nothing in the network: what it has the agent
// collect, it clears away again.
//
// Two generations of the interface are known. Until September 2025 GET
// /diagnostics collects for two seconds and answers. Since then an agent is given
// tasks, under /api: one that looks for devices, then one for each of them.
package otbr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"gatehouse/radio/thread"
)

// Limits of ours.
const (
	maxAnswer      = 4 << 20 // octets, of an answer
	maxHeaders     = 64 << 10
	requestTimeout = 15 * time.Second // an old agent collects for two seconds, and radios are slow
	pollPause      = time.Second      // between looks at how tasks fare
	clearTimeout   = 5 * time.Second  // of clearing away what an agent collected
	maxNodes       = 200              // of one network: agents keep no more
)

var (
	// ErrUnreachable says that no answer came.
	ErrUnreachable = errors.New("the border router does not answer")
	// ErrProtocol says that what came is no answer of an otbr-agent.
	ErrProtocol = errors.New("the border router answers otherwise than otbr-agent does")
)

// Report is what is known of one Thread network.
type Report struct {
	ExtendedPANID uint64
	Name          string
	Nodes         []Node
}

// Client asks one border router.
type Client struct {
	base  string
	http  http.Client
	agent *thread.Client
}

// NewClient asks the agent at base, such as http://127.0.0.1:8081. No proxy is
// asked and no redirect followed.
func NewClient(base string) (*Client, error) {
	agent, err := thread.NewClient(base)
	if err != nil {
		return nil, err
	}
	return &Client{base: agent.Base(), agent: agent, http: http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders,
			DialContext: (&net.Dialer{Timeout: requestTimeout}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Collect has the nodes of the border router's network tell of themselves. It
// takes seconds, with many nodes minutes: ctx should end. A Report beside an
// error is what came before it; nil: not even which network it is.
func (c *Client) Collect(ctx context.Context) (*Report, error) {
	node, err := c.agent.Node(ctx)
	if r := (*thread.Refusal)(nil); errors.As(err, &r) && r.Status != 0 {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	} else if err != nil {
		return nil, failed(err)
	}
	id, err := strconv.ParseUint(node.ExtendedPANID, 16, 64)
	if err != nil || len(node.ExtendedPANID) != 16 {
		return nil, fmt.Errorf("%w: it names no network", ErrProtocol)
	}
	report := &Report{ExtendedPANID: id, Name: text(node.NetworkName)}
	status, _, err := c.do(ctx, http.MethodGet, pathActions, nil)
	switch {
	case err != nil:
	case status == http.StatusNotFound:
		report.Nodes, err = c.collectAtOnce(ctx)
	case status == http.StatusOK:
		report.Nodes, err = c.collectByTasks(ctx)
	default:
		err = unexpected(http.MethodGet, pathActions, status)
	}
	return report, err
}

// pathDiagnostics is what an old agent has.
const pathDiagnostics = "/diagnostics"

func (c *Client) collectAtOnce(ctx context.Context) ([]Node, error) {
	status, body, err := c.do(ctx, http.MethodGet, pathDiagnostics, nil)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, unexpected(http.MethodGet, pathDiagnostics, status)
	}
	nodes, ok := decodeNodes(body)
	if !ok {
		return nil, fmt.Errorf("GET %s: %w", pathDiagnostics, ErrProtocol)
	}
	return nodes, nil
}

func unexpected(method, path string, status int) error {
	return fmt.Errorf("%s %s: %w: status %d", method, path, ErrProtocol, status)
}

// failed is the error of a request that no answer came to.
func failed(err error) error { return fmt.Errorf("%w: %w", ErrUnreachable, err) }

// jsonAPI is the media type of the newer interface. Agents compare it as a whole.
const jsonAPI = "application/vnd.api+json"

// do makes one request; body may be nil.
func (c *Client) do(ctx context.Context, method, path string, body any) (status int, answer []byte, err error) {
	limit, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(limit, method, c.base+path, in)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", jsonAPI)
	}
	if path == pathDiagnostics {
		req.Header.Set("Accept", "application/json")
	} else {
		req.Header.Set("Accept", jsonAPI)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, failed(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, failed(err)
	case len(answer) > maxAnswer:
		return 0, nil, fmt.Errorf("%s %s: %w: its answer is longer than %d octets", method, path, ErrProtocol, maxAnswer)
	}
	return resp.StatusCode, answer, nil
}
