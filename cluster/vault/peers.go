package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	maxQuestion = 256     // octets of a question
	maxAnswer   = 8 << 10 // octets of an envelope's inner layer
	maxRecord   = 256 << 10
	helpPoll    = 20 * time.Millisecond
)

const helpPath = "/vault/help" // POST a question; the inner layer

type question struct {
	Use    Use    `json:"use"`
	Number uint32 `json:"number"`
}

// Peers asks other gateways for help.
type Peers struct{ HTTP wire.Asker }

// Help asks a gateway to open its layer.
func (p Peers) Help(ctx context.Context, helper cert.NodeID, use Use, number uint32) ([]byte, error) {
	body, err := json.Marshal(question{use, number})
	if err != nil {
		return nil, err
	}
	status, b, err := wire.Ask(ctx, p.HTTP, helper, http.MethodPost, helpPath, body, maxAnswer)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("gateway %v: %s", helper, bytes.TrimSpace(b))
	}
	return b, err
}

// Helper answers other gateways' questions and records each.
type Helper struct {
	Vault  *Vault
	State  func() *fabric.State
	Leader func() cert.NodeID
	// Asker tells which gateway asks, as its connection proved.
	Asker  func(context.Context) cert.NodeID
	Record *Record
}

// Handler serves the questions.
func (h *Helper) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+helpPath, func(w http.ResponseWriter, r *http.Request) {
		var q question
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&q); err != nil {
			http.Error(w, "this is no question", http.StatusBadRequest)
			return
		}
		asker := h.Asker(r.Context())
		inner, err := h.Vault.Help(h.caughtUp(r.Context(), q.Number), asker, h.Leader(), q.Use, q.Number)
		// Help that is not on record is not given.
		if kept := h.Record.add(asker, q, err); err == nil {
			err = kept
		}
		switch {
		case errors.Is(err, ErrRefused):
			http.Error(w, err.Error(), http.StatusForbidden)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			w.Write(inner)
		}
	})
	return mux
}

// caughtUp is the State once it has the data keys that are asked about, which
// were drawn a moment ago, or as it is after a while.
func (h *Helper) caughtUp(ctx context.Context, number uint32) *fabric.State {
	ctx, cancel := context.WithTimeout(ctx, helpTime/2)
	defer cancel()
	for {
		s := h.State()
		if s.Keyring != nil && s.Keyring.Number >= number {
			return s
		}
		select {
		case <-time.After(helpPoll):
		case <-ctx.Done():
			return s
		}
	}
}

// Record is a file of whom this gateway helped, one JSON object a line. When
// it is full it is put beside the one before, which is forgotten.
type Record struct {
	Path string
	Now  func() time.Time
	Log  *slog.Logger

	mu sync.Mutex
}

type entry struct {
	Time    time.Time `json:"time"`
	Gateway string    `json:"gateway"`
	Key     string    `json:"key"`
	Number  uint32    `json:"number"`
	Refused string    `json:"refused,omitempty"`
}

func (r *Record) add(asker cert.NodeID, q question, refused error) error {
	e := entry{Time: r.Now().UTC().Truncate(time.Second), Gateway: asker.String(), Key: q.Use.String(), Number: q.Number}
	if refused != nil {
		e.Refused = refused.Error()
		r.Log.Warn("refused to help open a key", "gateway", asker, "key", q.Use, "err", refused)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, err := os.Stat(r.Path); err == nil && info.Size() > maxRecord {
		if err := os.Rename(r.Path, r.Path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(r.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record the help: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
