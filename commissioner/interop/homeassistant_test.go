//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// homeAssistant is the Python that make interop installs the client for.
func homeAssistant(t *testing.T) string {
	t.Helper()
	dir, err := lab.Dir()
	check(t, err)
	python := filepath.Join(dir, "homeassistant", "venv", "bin", "python")
	if p := os.Getenv("HOMEASSISTANT_PYTHON"); p != "" {
		python = p
	}
	if out, err := exec.Command(python, "-c", "import matter_server.client").CombinedOutput(); err != nil {
		t.Skipf("Home Assistant's client is not installed for Python: run make interop where there is Python 3.12 or later with venv: %v %s", err, bytes.TrimSpace(out))
	}
	return python
}

// drive runs a session of Home Assistant's client against the server at url,
// and answers what it wants of the home: whether that was done.
func drive(ctx context.Context, t *testing.T, url, code string, home func(want string, n cert.NodeID) bool) (steps []string, ids json.RawMessage) {
	t.Helper()
	dir, err := lab.Dir()
	check(t, err)
	c := exec.CommandContext(ctx, homeAssistant(t), filepath.Join(dir, "homeassistant", "client.py"), url, code)
	var complaint bytes.Buffer
	c.Stderr = &complaint
	in, err := c.StdinPipe()
	check(t, err)
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Step, Want string
			MS         int
			Node       cert.NodeID
			IDs        json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("%v: %s", err, lines.Bytes())
			break
		}
		switch {
		case line.Step != "":
			t.Logf("%s: %d ms", line.Step, line.MS)
			steps = append(steps, line.Step)
		case line.Want != "" && home(line.Want, line.Node):
			io.WriteString(in, "done\n")
		case line.Want != "":
			io.WriteString(in, "skip\n")
		default:
			ids = line.IDs
		}
	}
	if err := errors.Join(lines.Err(), c.Wait()); err != nil {
		t.Errorf("after %v: %v\n%s", steps, err, complaint.String())
	} else if complaint.Len() > 0 {
		t.Logf("the client says:\n%s", complaint.String())
	}
	return steps, ids
}

// TestHomeAssistant has the client that Home Assistant uses give all commands
// to a home in memory.
func TestHomeAssistant(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	home := hasstest.New(time.Now)
	home.Cameras.Refuse(&interaction.StatusError{Status: interaction.UnsupportedCluster}) // as lights do
	cfg := home.Config()
	cfg.Random, cfg.Log = rand.Reader, slog.New(slog.DiscardHandler)
	server := hass.New(cfg)
	web := httptest.NewServer(server.Handler(func(r *http.Request) (hass.Peer, bool) {
		name, token, _ := r.BasicAuth()
		return hass.Peer{Name: name, Scope: hass.Administer}, token == "token"
	}))
	defer web.Close()
	url := strings.Replace(web.URL, "http://", "ws://homeassistant:token@", 1) + "/ws"
	press, err := tlv.Marshal(struct {
		Position uint8 `tlv:"0"`
	}{1})
	check(t, err)
	steps, ids := drive(ctx, t, url, hasstest.Manual, func(want string, n cert.NodeID) bool {
		switch want {
		case "press":
			home.Happen(n, 1, 59, 1, 1, press)
		case "add-endpoint":
			home.AddEndpoint(n, 3)
		case "remove-endpoint":
			home.RemoveEndpoint(n, 3)
		case "leave", "return":
			home.SetAvailable(n, want == "return")
		case "topology":
			server.Publish(hass.NetworkTopology, map[string]any{"collected_at": 1, "nodes": []any{}, "connections": []any{}})
		case "upload":
		case "shutdown":
			go server.Close(ctx)
		default:
			t.Errorf("the client wants %q", want)
			return false
		}
		return true
	})
	const all = 19
	if len(steps) != all || string(ids) != fmt.Sprintf(`{"fabric": 1, "compressed": %d, "controller": 112233, "nodes": [1]}`, uint64(home.Identity().Compressed)) {
		t.Errorf("of %d steps %d were taken; the ids are %s", all, len(steps), ids)
	}
}
