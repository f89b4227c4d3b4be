package member

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"gatehouse/fabric"
)

// oldPassword is that of the network in testdata/release-*, state directories
// that earlier releases wrote: a home with a light and a network. The number
// is the version of its trust state.
const oldPassword = "the old password"

// TestUpgrade starts this release on what those before left. It works at once,
// says that it knows more now, seals the secrets its own way, and lets a
// second gateway in.
func TestUpgrade(t *testing.T) {
	for release := uint8(1); release < fabric.Version; release++ {
		t.Run(fmt.Sprint(release), func(t *testing.T) { upgrade(t, release) })
	}
}

func upgrade(t *testing.T, release uint8) {
	synctest.Test(t, func(t *testing.T) {
		h := empty(t)
		defer h.end()
		b := h.box()
		h.check(os.CopyFS(b.dir, os.DirFS(filepath.Join("testdata", fmt.Sprintf("release-%d", release)))))
		h.check(os.MkdirAll(filepath.Join(b.dir, "log", "snapshots"), 0o700))
		for _, name := range []string{"gateway.key", "gateway.keys", "log/state.db"} {
			h.check(os.Chmod(filepath.Join(b.dir, name), 0o600))
		}
		h.on(b)
		s := b.State()
		if len(s.Devices) != 1 || s.Networks["attic"] == nil || (s.Keyring != nil) != (release > 1) || s.Version != release {
			t.Fatalf("%d devices, version %d", len(s.Devices), s.Version)
		}
		opens := func() {
			t.Helper()
			n := b.State().Networks["attic"]
			password, err := b.Authority.OpenNetwork(t.Context(), n)
			if err != nil || string(password.Reveal()) != oldPassword {
				t.Errorf("the network's password: %v", err)
			}
		}
		opens()
		h.until("it knows more", func() bool { return b.State().Version == fabric.Version && b.State().SealedRight() })
		opens()
		h.check(h.admit(b, 7))
		h.off(b)
		h.on(b)
		opens()
		h.join()
		opens()
		h.until("the key that opens all alone is gone", func() bool { return len(b.Keys.Sealing()) == 1 && !b.State().OpensAlone(b.node) })
		if d := b.State().Devices; len(d) != 2 {
			t.Errorf("%d devices", len(d))
		}
		second := h.gateways[1]
		h.until("both have what was decided since", func() bool {
			return second.Trail().First() == 0 && second.Trail().Tree().Size > 3 && second.Trail().Tree().Same(b.State().TrailTree())
		})
		before := 1 // devices
		if release >= fabric.TrailVersion {
			before = 0 // the trail is as old as the home
		}
		for i, g := range h.gateways {
			_, err := g.Trail().Read(0, func(_ uint64, line []byte) bool {
				if !strings.Contains(string(line), `"what":"trail-begun"`) || !strings.Contains(string(line), fmt.Sprintf(`"devices":%d`, before)) {
					t.Errorf("gateway %d: the trail begins with %s", i, line)
				}
				return false
			})
			h.check(err)
		}
	})
}
