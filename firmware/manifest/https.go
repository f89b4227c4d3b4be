package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// How slow a mirror may be, and how often it may send the gateway elsewhere.
const (
	MinRate      = 4 << 10          // octets per second, over each RateWindow
	RateWindow   = 10 * time.Second // the first one is for connecting and the answer's head
	Patience     = 30 * time.Second // for a whole file, and what MinRate gives its octets
	MaxRedirects = 5
)

// HTTPS reads a repository below address, which must be an https URL. A nil
// client is an ordinary one; of any other, redirects are held to https. Proxies
// and roots are the client's.
func HTTPS(address string, client *http.Client) (Fetcher, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the address of a repository is a plain https URL, not %q", address)
	}
	own := http.Client{}
	if client != nil {
		own = *client
	}
	own.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != "https" || len(via) > MaxRedirects {
			return fmt.Errorf("refused to follow to %s", r.URL.Redacted())
		}
		return nil
	}
	return &web{u, &own}, nil
}

type web struct {
	base   *url.URL
	client *http.Client
}

func (w *web) String() string { return w.base.String() }

func (w *web) Fetch(ctx context.Context, name string, size int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	whole := Patience + time.Duration(size/MinRate)*time.Second
	b := &body{ctx: ctx, cancel: cancel, name: name}
	b.whole = time.AfterFunc(whole, func() { b.slow("not done after %v", whole) })
	b.window = time.AfterFunc(whole, b.measure)
	b.window.Reset(RateWindow) // only now: measure reads b.window
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(strings.Split(name, "/")...).String(), nil)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	// Sizes and digests are of the files: no compression on the way.
	request.Header.Set("Accept-Encoding", "identity")
	response, err := w.client.Do(request)
	if err != nil {
		err = unreachable(ctx, name, err)
		_ = b.Close()
		return nil, err
	}
	b.inner = response.Body
	switch response.StatusCode {
	case http.StatusOK:
		return b, nil
	// Stores that may not be listed say "forbidden" of what is not there.
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone:
		err = fmt.Errorf("%s: %w", response.Status, fs.ErrNotExist)
	default:
		err = errors.New(response.Status)
	}
	_ = b.Close()
	return nil, err
}

// body ends its request when too little came in a window, or all of it takes
// too long. Both run from before the request is sent.
type body struct {
	ctx           context.Context
	cancel        context.CancelCauseFunc
	name          string
	inner         io.ReadCloser
	whole, window *time.Timer
	came          atomic.Int64 // since the window began
}

func (b *body) measure() {
	if n := b.came.Swap(0); n < MinRate*int64(RateWindow/time.Second) {
		b.slow("%d octets in %v", n, RateWindow)
		return
	}
	b.window.Reset(RateWindow)
}

func (b *body) slow(format string, args ...any) {
	b.cancel(refuse(Slow, b.name, format, args...))
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.inner.Read(p)
	b.came.Add(int64(n))
	if err != nil && err != io.EOF {
		err = unreachable(b.ctx, b.name, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.whole.Stop()
	b.window.Stop()
	b.cancel(context.Canceled)
	if b.inner == nil {
		return nil
	}
	return b.inner.Close()
}
