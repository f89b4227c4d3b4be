package hass_test

import (
	"fmt"
	"testing"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
)

// TestSleepers registers with a device that sleeps for long, and sees how it is
// shown.
func TestSleepers(t *testing.T) {
	r := start(t)
	light, n := r.home.Add(), r.home.AddSleeper()
	c := r.dial(hass.Administer)
	next := noon.Add(hasstest.CheckInAfter).UnixMilli()
	unregistered := `{"supported":true,"lit_supported":true,"registered":false,"operating_mode":"SIT","awake":null,"available":true,"next_expected_checkin":null}`
	registered := func(awake bool) string {
		return fmt.Sprintf(`{"supported":true,"lit_supported":true,"registered":true,"operating_mode":"LIT","awake":%v,"available":true,"next_expected_checkin":%d}`, awake, next)
	}
	step := func(command, args, want string) {
		t.Helper()
		if f, _ := c.call(command, fmt.Sprintf(`{"node_id":%d%s}`, n, args)); string(f.Result) != want {
			t.Errorf("%s %s: %s\nnot %s", command, args, f.text, want)
		}
	}
	times := func(want int) {
		t.Helper()
		if got := r.home.Registered(n); got != want {
			t.Errorf("registered %d times, not %d", got, want)
		}
	}
	of := func(args string) string { return fmt.Sprintf(`{"node_id":%d%s}`, n, args) }

	step("get_icd_state", "", unregistered)
	step("unregister_icd", "", unregistered)
	c.refused("resync_icd", of(""), hass.Unknown, "not registered")
	c.refused("register_icd", fmt.Sprintf(`{"node_id":%d}`, light), hass.Unknown, "does not sleep")
	c.refused("register_icd", of(`,"ignored_vendors":[65536]`), hass.InvalidArguments, "65536")

	// Another administers it, who may not know how to live with that.
	const others = `{"message":"Others administer this device, and may lose touch with it when it sleeps for long","admin_vendor_ids":[4937]}`
	for _, args := range []string{"", `,"allow_multi_admin":false`, `,"ignored_vendors":[65521]`} {
		c.refused("register_icd", of(args), hass.OtherAdministrators, others)
	}
	times(0)
	step("register_icd", `,"ignored_vendors":[4937]`, registered(true))
	step("register_icd", `,"allow_multi_admin":true`, registered(true))
	times(1)
	step("resync_icd", "", "null")
	times(2)

	r.home.SetAsleep(n, true)
	step("get_icd_state", "", registered(false))
	step("resync_icd", "", "null") // it is done when it wakes up
	times(2)
	c.refused("unregister_icd", of(""), hass.NotReady, "sleeps")
	step("unregister_icd", `,"force":true`, unregistered)
	r.home.SetAsleep(n, false)
	step("register_icd", `,"allow_multi_admin":true`, registered(true))
	step("unregister_icd", `,"force":false`, unregistered)
}
