//go:build interop

package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// evidence keeps what there is to learn from.
func (h *home) evidence(to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(h.dir)); err != nil {
		return err
	}
	var said bytes.Buffer
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.violations {
		fmt.Fprintln(&said, v)
	}
	fmt.Fprintf(&said, "\n%s\n%+v\n", strings.Join(h.script, "\n"), h.net.Stats())
	return errors.Join(os.WriteFile(filepath.Join(to, "script"), said.Bytes(), 0o600), os.WriteFile(filepath.Join(to, "history"), h.told.history(), 0o600))
}

// history is what callers were told, one call a line.
func (r *record) history() []byte {
	var b bytes.Buffer
	for _, v := range r.pairings {
		fmt.Fprintf(&b, "pairing %+v\n", *v)
	}
	for _, v := range r.changes {
		fmt.Fprintf(&b, "change %+v\n", *v)
	}
	for _, v := range append(slices.Clone(r.evictions), r.enrolments...) {
		fmt.Fprintf(&b, "membership %+v\n", *v)
	}
	for _, v := range r.lists {
		fmt.Fprintf(&b, "list %+v", v.call)
		if v.devices != nil {
			fmt.Fprintf(&b, " linearizable %v, index %d:", v.linearizable, v.devices.Index)
			for _, d := range v.devices.Devices {
				fmt.Fprintf(&b, " %s %s %q;", d.Node, d.Phase, d.Name)
			}
		}
		fmt.Fprintln(&b)
	}
	return b.Bytes()
}
