package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"gatehouse/commissioner"
)

// answer is the API's, in memory.
type answer struct {
	header http.Header
	status int
	bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.Buffer.Write(b)
}

// call asks the API as the visitor of r. No page asks for what streams.
func (a *App) call(r *http.Request, method, path string, body any) *answer {
	out := &answer{header: make(http.Header)}
	text, err := json.Marshal(body)
	if err == nil {
		var ask *http.Request
		if ask, err = http.NewRequestWithContext(r.Context(), method, path, bytes.NewReader(text)); err == nil {
			ask.RemoteAddr, ask.Host = r.RemoteAddr, r.Host
			ask.Header.Set("User-Agent", r.UserAgent())
			a.API.ServeHTTP(out, ask)
			return out
		}
	}
	out.WriteHeader(http.StatusInternalServerError)
	return out
}

// failure is why the API refused; nil: it did not.
func (a *answer) failure() error {
	if a.status < http.StatusBadRequest {
		return nil
	}
	var told struct {
		Error *commissioner.Failure `json:"error"`
	}
	if json.Unmarshal(a.Bytes(), &told) != nil || told.Error == nil {
		return fmt.Errorf("the API answers with %d", a.status)
	}
	return told.Error
}

// get has the API's answer in v.
func (v *visit) get(path string, into any) error {
	got := v.app.call(v.r, http.MethodGet, path, nil)
	if err := got.failure(); err != nil {
		return err
	}
	if err := json.Unmarshal(got.Bytes(), into); err != nil {
		return fmt.Errorf("the API's answer to %s: %w", path, err)
	}
	return nil
}
