package commissioner_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/ota"
	"gatehouse/firmware/otaimage"
)

// file is where the shelf has the image.
func (u *updates) file() string { return filepath.Join(u.dir, fmt.Sprintf("%x.ota", u.offer.Image)) }

// TestTampered has the image become another on the disk, before a transfer of
// it or in its middle: no wrong octet leaves, the device is told, and the image
// is off the shelf by the next time.
func TestTampered(t *testing.T) {
	const size, middle = 300_000, 100_000
	other := func(size int, vendor uint16) []byte {
		var b bytes.Buffer
		header := otaimage.Header{VendorID: vendor, ProductID: 0x8001, Version: 2, VersionString: "2.0"}
		if err := otaimage.Write(&b, header, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	written := func(b []byte) func(string) error {
		return func(name string) error { return os.WriteFile(name, b, 0o600) } // in the file that is there
	}
	for name, tamper := range map[string]func(file string) error{
		"one bit": func(name string) error {
			b, err := os.ReadFile(name)
			if err == nil {
				b[250_000] ^= 1
				err = os.WriteFile(name, b, 0o600)
			}
			return err
		},
		"truncated":                 func(name string) error { return os.Truncate(name, 200_000) },
		"emptied":                   func(name string) error { return os.Truncate(name, 0) },
		"another image":             written(other(size, 0xFFF1)),
		"an image of another maker": written(other(size, 0xFFF2)),
		"no image":                  written(bytes.Repeat([]byte("x"), size)),
		"a broken header":           written(append(make([]byte, 20), other(size, 0xFFF1)[20:]...)),
	} {
		for _, when := range []int{0, middle} {
			t.Run(fmt.Sprintf("%s from octet %d on", name, when), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					u := newUpdates(t, size, nil)
					h := updating(t, u)
					r := h.nth(0)
					r.offered(u)
					image, err := os.ReadFile(u.file())
					h.check(err)
					if when == 0 {
						h.check(tamper(u.file()))
					}
					var got bytes.Buffer
					w := writer(func(p []byte) (int, error) {
						if before := got.Len(); before < when && before+len(p) >= when {
							h.check(tamper(u.file()))
						}
						return got.Write(p)
					})
					err = r.fetch(fmt.Sprintf("%x", u.offer.Image), w)
					var report *bdx.Report
					if !errors.As(err, &report) || !errors.Is(err, bdx.TransferFailedUnknownError) {
						t.Errorf("it is told %v", err)
					}
					if got.Len() < when || !bytes.HasPrefix(image, got.Bytes()) || when == 0 && got.Len() > 0 {
						t.Errorf("%d octets left, of another image: %v", got.Len(), !bytes.HasPrefix(image, got.Bytes()))
					}
					r.fetch(fmt.Sprintf("%x", u.offer.Image), io.Discard)
					if u.shelf.Has([32]byte(u.offer.Image)) {
						t.Error("it is still on the shelf")
					}
				})
			})
		}
	}
}

// TestReplaced takes the image off in the middle of a transfer, and puts
// another in its place: whoever is getting the one gets it.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 300_000, nil)
		h := updating(t, u)
		r := h.nth(0)
		r.offered(u)
		sum, done := sha256.New(), 0
		h.check(r.fetch(fmt.Sprintf("%x", u.offer.Image), writer(func(p []byte) (int, error) {
			if done += len(p); done-len(p) < 100_000 && done >= 100_000 {
				h.check(os.Rename(u.file(), u.file()+".away"))
				h.check(os.WriteFile(u.file(), []byte("another"), 0o600))
			}
			return sum.Write(p)
		})))
		if ota.Digest(sum.Sum(nil)) != u.offer.Image {
			t.Error("it is another image")
		}
	})
}

// TestAnew has a device begin again what it has begun: the transfer before
// ends, and the new one goes on.
func TestAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 100_000, nil)
		h := updating(t, u)
		r := h.nth(0)
		r.offered(u)
		name := fmt.Sprintf("%x", u.offer.Image)
		begun, before := make(chan struct{}), make(chan error)
		go func() {
			first := true
			before <- r.fetch(name, writer(func(p []byte) (int, error) {
				if first {
					first = false
					close(begun)
					time.Sleep(time.Minute)
				}
				return len(p), nil
			}))
		}()
		<-begun
		var got bytes.Buffer
		h.check(r.fetch(name, &got))
		if sha256.Sum256(got.Bytes()) != u.offer.Image {
			t.Error("it is another image")
		}
		if err := <-before; !errors.Is(err, bdx.TransferFailedUnknownError) {
			t.Errorf("the one before ended with %v", err)
		}
	})
}

// TestNotOffered has a device want to install, and say that it installed, what
// it was not offered.
func TestNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 1000, nil)
		h := updating(t, u)
		r := h.nth(0)
		q, err := r.query()
		h.check(err)
		invoke := func(id interaction.CommandID, fields, response any) error {
			return r.e.InvokeCommand(t.Context(), r.s, 0, interaction.Command(ota.Endpoint, datamodel.OTAProvider, id), fields, response)
		}
		for name, c := range map[string]*datamodel.ApplyUpdateRequest{
			"another version":  {UpdateToken: q.UpdateToken, NewVersion: 3},
			"an older version": {UpdateToken: q.UpdateToken, NewVersion: 1},
			"another token":    {UpdateToken: bytes.Repeat([]byte{1}, 16), NewVersion: 2},
			"a longer token":   {UpdateToken: append(bytes.Clone(q.UpdateToken), 0), NewVersion: 2},
		} {
			var a datamodel.ApplyUpdateResponse
			if err := invoke(datamodel.OTAProviderApplyRequest, c, &a); err != nil || a.Action != datamodel.ApplyDiscontinue {
				t.Errorf("%s: action %d, %v", name, a.Action, err)
			}
		}
		for _, size := range []int{0, 7, 33} {
			err := invoke(datamodel.OTAProviderApplyRequest, &datamodel.ApplyUpdateRequest{UpdateToken: make([]byte, size), NewVersion: 2}, new(datamodel.ApplyUpdateResponse))
			if status, ok := interaction.StatusOf(err); !ok || status != interaction.InvalidCommand {
				t.Errorf("a token of %d octets: %v", size, err)
			}
		}
		err = invoke(datamodel.OTAProviderNotifyApplied, &datamodel.NotifyUpdateApplied{UpdateToken: make([]byte, 16), SoftwareVersion: 2}, nil)
		if status, ok := interaction.StatusOf(err); !ok || status != interaction.InvalidCommand {
			t.Errorf("applied with another token: %v", err)
		}
		if got := u.states(); len(got) != 1 || got[0] != ota.Offered {
			t.Errorf("told %v", got)
		}
	})
}
