//go:build interop

package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gatehouse/fabric/cert"
)

// Limits of the lights.
const (
	lightCount  = 32
	lightsStart = 30 * time.Second
	lightsTell  = 10 * time.Second
)

// light is a virtual light.
type light struct {
	Name   string `json:"ready"`
	Number int    `json:"number"`
	QR     string `json:"qr"`
}

// lights are those of a home, in one process on a host of their own.
type lights struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte

	mu   sync.Mutex
	all  []*light
	free []*light // that nobody is pairing, the one that waits longest first
	ours map[cert.NodeID]*light
}

// certificates are those that a light ever received, and those that it keeps.
type certificates struct {
	Name     string `json:"certificates"`
	Number   int
	Received [][]byte
	Kept     [][]byte
}

// lit starts the lights.
func (h *home) lit(trust string) (*lights, error) {
	host, err := h.host("lights", maxHosts)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(h.dir, "lights.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	l := &lights{lines: make(chan []byte, 1024), ours: make(map[cert.NodeID]*light)}
	l.cmd = exec.Command(h.bins.virtual, "--stdin", "--count", fmt.Sprint(lightCount), "--name", "lamp", "--trust-out", trust)
	l.cmd.Stderr = log
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		l.in, err = l.cmd.StdinPipe()
	}
	if err == nil {
		err = host.Start(l.cmd)
	}
	if err != nil {
		return nil, err
	}
	h.wg.Go(func() { l.listen(out) })
	limit := time.After(lightsStart)
	for len(l.all) < lightCount {
		select {
		case line, ok := <-l.lines:
			if !ok {
				return nil, errors.New("the lights have ended")
			}
			one := new(light)
			if err := json.Unmarshal(line, one); err != nil {
				return nil, err
			}
			l.all = append(l.all, one)
		case <-limit:
			return nil, errors.New("the lights are not ready")
		}
	}
	l.free = slices.Clone(l.all)
	return l, nil
}

// listen takes what the lights say, but for their being switched.
func (l *lights) listen(out io.Reader) {
	defer close(l.lines)
	in := bufio.NewScanner(out)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		var switched struct{ Switched string }
		if json.Unmarshal(in.Bytes(), &switched) == nil && switched.Switched == "" {
			l.lines <- slices.Clone(in.Bytes())
		}
	}
	l.cmd.Wait()
}

// certificates asks every light for its certificates.
func (l *lights) certificates() (all []certificates, err error) {
	for _, one := range l.all {
		if _, err := fmt.Fprintf(l.in, "certificates %d\n", one.Number); err != nil {
			return nil, err
		}
		select {
		case line, ok := <-l.lines:
			var c certificates
			if !ok {
				return nil, errors.New("the lights have ended")
			} else if err := json.Unmarshal(line, &c); err != nil {
				return nil, err
			}
			all = append(all, c)
		case <-time.After(lightsTell):
			return nil, errors.New("the lights do not tell their certificates")
		}
	}
	return all, nil
}

// take is a light to pair: one that waits for it since long.
func (l *lights) take(r *rand.Rand) *light {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return nil
	}
	i := r.IntN(min(3, len(l.free)))
	one := l.free[i]
	l.free = slices.Delete(l.free, i, i+1)
	return one
}

// back puts a light back that was not paired, as far as is known.
func (l *lights) back(one *light) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, one)
}

func (l *lights) paired(one *light, n cert.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ours[n] = one
}

func (l *lights) removed(n cert.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.ours[n]; one != nil {
		delete(l.ours, n)
		l.free = append(l.free, one)
	}
}

// some is a light that was admitted; 0: there is none.
func (l *lights) some(r *rand.Rand) cert.NodeID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ours) == 0 {
		return 0
	}
	return slices.Sorted(maps.Keys(l.ours))[r.IntN(len(l.ours))]
}
