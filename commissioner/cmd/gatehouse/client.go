package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"gatehouse/commissioner"
)

var errNoDaemon = errors.New("no gateway is running")

// maxLine bounds a line of a stream from the gateway: a report may be long.
const maxLine = 16 << 20

// request asks the gateway.
func (g *globals) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway/api/v1/"+path, reader)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.socket())
	}}}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return nil, errNoDaemon
	case err != nil:
		return nil, err
	}
	return resp, nil
}

// call asks the gateway. A stream's lines, or the one answer, go to each.
func (g *globals) call(ctx context.Context, method, path string, body any, each func(json.RawMessage) error) error {
	resp, err := g.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var failed struct{ Error *commissioner.Failure }
		if err := json.Unmarshal(lines.Bytes(), &failed); err != nil {
			return fmt.Errorf("the gateway's answer is not JSON: %w", err)
		}
		if failed.Error != nil {
			return failed.Error
		}
		if err := each(bytes.Clone(lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

// ask is call for one answer, which show prints for people; with --json it is
// printed as it is.
func ask[T any](ctx context.Context, g *globals, method, path string, body any, show func(T)) error {
	return g.call(ctx, method, path, body, func(line json.RawMessage) error {
		if g.JSON {
			fmt.Println(string(line))
			return nil
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return err
		}
		show(v)
		return nil
	})
}

// report tells a failure: as JSON on standard output, where a program reads
// it, or for a person on standard error.
func report(g *globals, f commissioner.Failure) {
	if g.JSON {
		json.NewEncoder(os.Stdout).Encode(struct {
			Error commissioner.Failure `json:"error"`
		}{f})
		return
	}
	fmt.Fprintf(os.Stderr, "%s\n", f.Error())
	for _, r := range f.Reasons {
		fmt.Fprintf(os.Stderr, "  because %s [%s]\n", r.Message, r.Code)
	}
	if f.Remedy != "" {
		fmt.Fprintf(os.Stderr, "  what to do: %s\n", f.Remedy)
	}
	fmt.Fprintf(os.Stderr, "  code: %s\n", f.Code)
}
