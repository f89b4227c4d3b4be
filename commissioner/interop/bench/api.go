package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"

	"gatehouse/commissioner/interop/lab"
)

const maxAnswer = 16 << 20

// api is a gateway's, over its socket.
type api struct{ client http.Client }

func newAPI(socket string) *api {
	return &api{http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, MaxIdleConnsPerHost: 64}}}
}

// call asks the gateway and hands each line of its answer to f.
func (a *api) call(ctx context.Context, method, path string, body any, f func(json.RawMessage) error) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway/api/v1/"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var failed struct{ Error *lab.Failure }
		if err := json.Unmarshal(lines.Bytes(), &failed); err != nil {
			return err
		}
		if failed.Error != nil {
			return failed.Error
		}
		if f == nil {
			continue
		}
		if err := f(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// get puts an answer of one line into v.
func (a *api) get(ctx context.Context, path string, v any) error {
	return a.call(ctx, "GET", path, nil, func(line json.RawMessage) error { return json.Unmarshal(line, v) })
}
