package commissioner_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// events are the lamp's, of its OTA requestor.
func (h *home) events(u *updates) (all []string) {
	h.t.Helper()
	cluster := datamodel.OTARequestor
	r, err := h.k.Read(h.t.Context(), u.lamp, interaction.ReadRequest{Events: []interaction.EventPath{{Cluster: &cluster}}})
	h.check(err)
	for i, e := range r.Events {
		if e.Number != uint64(i) {
			h.t.Errorf("event %d has number %d", i, e.Number)
		}
		switch *e.Path.Event {
		case datamodel.OTARequestorTransition:
			var v datamodel.StateTransition
			h.check(tlv.Unmarshal(e.Data, &v))
			all = append(all, fmt.Sprintf("from %v to %v for %d, target %d", v.Previous, v.New, v.Reason, v.Target.Value))
		case datamodel.OTARequestorApplied:
			var v datamodel.VersionApplied
			h.check(tlv.Unmarshal(e.Data, &v))
			all = append(all, fmt.Sprintf("version %d of %04X", v.SoftwareVersion, v.ProductID))
		case datamodel.OTARequestorDownloadError:
			var v datamodel.DownloadError
			h.check(tlv.Unmarshal(e.Data, &v))
			all = append(all, fmt.Sprintf("version %d broken after %d octets, %d %%", v.SoftwareVersion, v.Octets, v.Percent.Value))
		}
	}
	return all
}

// TestUpdateEvents has the lamp tell of its update by events.
func TestUpdateEvents(t *testing.T) {
	const asks, fetches, ends = "from idle to querying for 1, target 0", "from querying to downloading for 1, target 2", "from downloading to idle for 2, target 0"
	for name, c := range map[string]struct {
		change func(*home, *updates)
		want   []string
	}{
		"well":           {func(*home, *updates) {}, []string{asks, fetches, "from downloading to applying for 1, target 2", "version 2 of 8001", "from applying to idle for 1, target 0"}},
		"nothing for it": {func(_ *home, u *updates) { u.to = 7 }, []string{asks, "from querying to idle for 1, target 0"}},
		"delayed": {func(_ *home, u *updates) {
			u.wait = 10 * time.Minute
			u.apply = []datamodel.ApplyAction{datamodel.ApplyDiscontinue}
		},
			[]string{asks, "from querying to delayed for 4, target 0", "from delayed to querying for 1, target 0", fetches, "from downloading to applying for 1, target 2", "from applying to idle for 1, target 0"}},
		"damaged": {func(h *home, u *updates) { h.check(os.Truncate(u.file(), 10)) },
			[]string{asks, fetches, "version 2 broken after 0 octets, 0 %", "version 2 broken after 0 octets, 0 %", "version 2 broken after 0 octets, 0 %", ends}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpdates(t, 10_000, nil)
				h := updating(t, u)
				c.change(h, u)
				h.announceProvider(u)
				time.Sleep(time.Hour)
				if got := h.events(u); !slices.Equal(got, c.want) {
					t.Errorf("told %q", got)
				}
			})
		})
	}
}
