package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// startLimit is how long matter.js may take to start, with many lights.
const startLimit = 3 * time.Minute

// matterjs starts one of the peers in commissioner/interop/peers.
func (h *Host) matterjs(storage, script string, args ...string) (*Proc, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	env := []string{"MATTER_STORAGE_PATH=" + filepath.Join(h.Dir, storage), "MATTER_LOG_LEVEL=error"}
	return h.Start(env, "node", append([]string{filepath.Join(dir, "peers", script)}, args...)...)
}

// Light is one light, of matter.js or a virtual one.
type Light struct {
	*Proc   // of this light, and maybe of others
	Name    string
	Number  int // in its process, from 1
	QR      string
	Manual  string
	virtual bool
}

// LightConfig says what lights to start.
type LightConfig struct {
	Name          string // of the first; its storage too: the same name is the same light
	Count         int
	Discriminator int // of the first
	Rich          bool
	Updatable     bool // over the air
	Sleepy        bool // may sleep for long, as it says
}

// firstPort and firstPasscode are those of each process's first light.
const (
	firstPort     = 5540
	firstPasscode = 20202021
)

// Lights starts lights in one process and waits until they are ready.
func (h *Host) Lights(ctx context.Context, cfg LightConfig) ([]*Light, error) {
	args := []string{"--name", cfg.Name, "--count", strconv.Itoa(cfg.Count), "--discriminator", strconv.Itoa(cfg.Discriminator),
		"--passcode", strconv.Itoa(firstPasscode), "--port", strconv.Itoa(firstPort)}
	if cfg.Rich {
		args = append(args, "--rich")
	}
	if cfg.Updatable {
		args = append(args, "--updatable")
	}
	if cfg.Sleepy {
		args = append(args, "--sleepy")
	}
	p, err := h.matterjs(cfg.Name, "light.mjs", args...)
	if err != nil {
		return nil, err
	}
	return p.lights(ctx, cfg.Count, false)
}

// Virtual starts virtual lights of our own in one process and waits until they
// are ready.
func (h *Host) Virtual(ctx context.Context, bin string, count int) ([]*Light, error) {
	p, err := h.Start(nil, bin, "--stdin", "--count", strconv.Itoa(count), "--trust-out", filepath.Join(h.Dir, "trust"))
	if err != nil {
		return nil, err
	}
	return p.lights(ctx, count, true)
}

// lights waits until a process has told of its lights.
func (p *Proc) lights(ctx context.Context, count int, virtual bool) (lights []*Light, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = p.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			Ready, QR, Manual string
			Number            int
		}
		if json.Unmarshal(line, &e) == nil && e.Ready != "" {
			lights = append(lights, &Light{p, e.Ready, e.Number, e.QR, e.Manual, virtual})
		}
		return len(lights) == count
	})
	return lights, err
}

// Press presses the light's own button.
func (l *Light) Press(ctx context.Context) error {
	if l.virtual {
		return l.Say(fmt.Sprintf("press %d", l.Number))
	}
	return l.Ask(ctx, "press", map[string]any{"number": l.Number}, nil)
}

// Fabrics is how many fabrics a matter.js light is on.
func (l *Light) Fabrics(ctx context.Context) (int, error) {
	var answer struct{ Fabrics int }
	err := l.Ask(ctx, "fabrics", map[string]any{"number": l.Number}, &answer)
	return answer.Fabrics, err
}

// Switched waits until the light is switched.
func (l *Light) Switched(ctx context.Context, on bool) error {
	return l.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			Switched string
			On       bool
		}
		return json.Unmarshal(line, &e) == nil && e.Switched == l.Name && e.On == on
	})
}

// Controller starts a matter.js controller and waits until it is ready.
func (h *Host) Controller(ctx context.Context) (*Proc, error) {
	p, err := h.matterjs("controller", "controller.mjs")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return p, p.Event(ctx, func(line json.RawMessage) bool {
		var e struct{ Started bool }
		return json.Unmarshal(line, &e) == nil && e.Started
	})
}

// MatterjsTrust writes what vouches for matter.js's devices into a new
// directory.
func MatterjsTrust(dir string) error {
	own, err := Dir()
	if err != nil {
		return err
	}
	if out, err := exec.Command("node", filepath.Join(own, "peers", "trust.mjs"), dir).CombinedOutput(); err != nil {
		return fmt.Errorf("write matter.js's trust: %w: %s", err, out)
	}
	return nil
}

// Build builds the binary of one of our commands into dir.
func Build(dir, command string) (string, error) {
	own, err := Dir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, command)
	cmd := exec.Command("go", "build", "-o", bin, "gatehouse/commissioner/cmd/"+command)
	cmd.Dir, cmd.Stderr = own, os.Stderr
	return bin, cmd.Run()
}
