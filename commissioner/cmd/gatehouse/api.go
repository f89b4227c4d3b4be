package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
)

// api is what is answered on the unix socket: while the gateway waits for
// others, why; then the portal.
type api struct {
	portal atomic.Pointer[http.Handler]
	why    atomic.Pointer[string]
}

func (a *api) ready(h http.Handler) { a.portal.Store(&h) }

func (a *api) waits(err error) {
	why := err.Error()
	a.why.Store(&why)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := a.portal.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	f := commissioner.Failure{Code: "gateway-waits", Message: "this gateway is not ready yet", Remedy: "switch the home's other gateways on and connect them to the network; if they are lost for good, " + portal.LostRemedy}
	if why := a.why.Load(); why != nil {
		f.Message += ": " + *why
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	json.NewEncoder(w).Encode(struct {
		Error commissioner.Failure `json:"error"`
	}{f})
}

// serve serves on the unix socket until ctx ends.
func (a *api) serve(ctx context.Context, socket string, log *slog.Logger) error {
	listener, err := listenUnix(socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: a, BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	return server.Shutdown(limit)
}

// listenUnix makes a socket for its owner alone. One that is there already is
// a leftover of a process that died: a gateway holds its state's lock by now.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	defer syscall.Umask(syscall.Umask(0o177))
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}
