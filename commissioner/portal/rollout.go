package portal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric"
)

// Rollouts are the images on their way to devices, by when they began.
type Rollouts struct {
	Rollouts []Rollout `json:"rollouts"`
}

// Rollout is one image on its way.
type Rollout struct {
	Image   string          `json:"image"`   // SHA-256 in hex
	Product string          `json:"product"` // as VVVV/PPPP in hex
	Version uint32          `json:"version"`
	Name    string          `json:"name"`
	Since   *time.Time      `json:"since,omitempty"` // nil: it has not begun
	Stage   string          `json:"stage"`           // waiting, first, rest, stopped
	Why     string          `json:"why,omitempty"`   // it has stopped
	Done    int             `json:"done"`            // devices of the product with this version or a newer one
	Devices []RolloutDevice `json:"devices"`         // that are to have it
}

// RolloutDevice is a device that is to have an image.
type RolloutDevice struct {
	Node  string    `json:"node"`
	Name  string    `json:"name"`
	State ota.State `json:"state,omitempty"` // how far it is; empty: it has not begun, or another gateway knows
	Octet int64     `json:"done,omitempty"`
	Size  int64     `json:"size"`
	Tries uint8     `json:"tries,omitempty"`
	Why   string    `json:"failure,omitempty"` // its last try failed
}

func (p *Portal) rollouts(w http.ResponseWriter, _ *http.Request) error {
	s := p.C.Ledger.State()
	found := make(map[string]*Rollout)
	if s.Firmware != nil {
		for image, r := range s.Firmware.Rollouts {
			v := rollout(r.Vendor, r.Product, &r.Image)
			v.Since, v.Stage, v.Why = when(time.UnixMilli(r.Since)), "first", r.Stopped
			switch {
			case r.Stopped != "":
				v.Stage = "stopped"
			case r.Passed:
				v.Stage = "rest"
			}
			found[image] = v
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.Devices)) {
		d := s.Devices[n]
		if u := d.Update(); u != nil {
			image := hex.EncodeToString(u.SHA256)
			if found[image] == nil {
				found[image] = rollout(d.Facts.VendorID, d.Facts.ProductID, u)
			}
			found[image].Devices = append(found[image].Devices, p.rolloutDevice(d))
		}
	}
	answer := Rollouts{Rollouts: []Rollout{}}
	for _, image := range slices.Sorted(maps.Keys(found)) {
		v := found[image]
		for _, d := range s.Devices {
			if product(d.Facts.VendorID, d.Facts.ProductID) == v.Product && d.Phase == fabric.Admitted && d.Facts.SoftwareVersion >= v.Version {
				v.Done++
			}
		}
		answer.Rollouts = append(answer.Rollouts, *v)
	}
	return reply(w, answer)
}

func rollout(vendor, id uint16, i *fabric.FirmwareImage) *Rollout {
	return &Rollout{Image: hex.EncodeToString(i.SHA256), Product: product(vendor, id), Version: i.Version, Name: i.Name, Stage: "waiting"}
}

func product(vendor, id uint16) string { return fmt.Sprintf("%04X/%04X", vendor, id) }

func (p *Portal) rolloutDevice(d *fabric.Device) RolloutDevice {
	image := d.Standing.Update
	v := RolloutDevice{Node: d.Node.String(), Name: d.Name, Size: image.Size}
	if a := d.Attempt; a != nil {
		v.Tries, v.Why = a.Tries, a.Failure
	}
	if now, ok := p.U.Progress(d.Node); ok && string(now.Image[:]) == string(image.SHA256) {
		v.State, v.Octet = now.State, now.Done
	}
	return v
}

// StopRollout says why no further device is to begin.
type StopRollout struct {
	Reason string `json:"reason"`
}

// beginRollout gives an image to all devices that are to have it, or goes on.
func (p *Portal) beginRollout(w http.ResponseWriter, r *http.Request) error {
	image, err := p.image(r)
	if err != nil {
		return err
	}
	if _, err := p.propose(r, fabric.Command{BeginRollout: &fabric.BeginRollout{SHA256: image}}); err != nil {
		return err
	}
	return p.rollouts(w, r)
}

// stopRollout has no further device begin.
func (p *Portal) stopRollout(w http.ResponseWriter, r *http.Request) error {
	var req StopRollout
	if err := decode(r, &req); err != nil {
		return err
	}
	image, err := p.image(r)
	if err != nil {
		return err
	}
	if _, err := p.propose(r, fabric.Command{StopRollout: &fabric.StopRollout{SHA256: image, Reason: req.Reason}}); err != nil {
		return err
	}
	return p.rollouts(w, r)
}

// image is the one that a request names by its digest, the beginning of that, or
// its product as VVVV-PPPP, where no other is meant by it.
func (p *Portal) image(r *http.Request) ([]byte, error) {
	name, s := r.PathValue("image"), p.C.Ledger.State()
	found := make(map[string]bool)
	for _, d := range s.Devices {
		u := d.Update()
		if u == nil {
			continue
		}
		image := hex.EncodeToString(u.SHA256)
		if strings.HasPrefix(image, strings.ToLower(name)) || strings.EqualFold(strings.ReplaceAll(name, "-", "/"), product(d.Facts.VendorID, d.Facts.ProductID)) {
			found[image] = true
		}
	}
	images := slices.Sorted(maps.Keys(found))
	switch {
	case len(images) == 0:
		return nil, commissioner.Fail(commissioner.CodeNoUpdate, nil)
	case len(images) > 1:
		return nil, invalid(errors.New("several images are meant: " + strings.Join(images, ", ")))
	}
	return hex.DecodeString(images[0])
}
