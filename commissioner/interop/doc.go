// Package interop tests Gatehouse against other people's implementations:
// matter.js, as a device on the network or over Bluetooth, as a controller, as
// one that updates devices and one that is updated, bumble as a Bluetooth
// controller, Home Assistant's client and Bluetooth proxy, and Chromium as a
// person's phone. Its tests have the build tag interop, and need root, iproute2
// and Node, for bumble Python with venv, for Home Assistant's Python 3.12 or
// later, and for Chromium itself and certutil:
//
//	make interop
//	INTEROP_LONG=1 make interop
//	GATEHOUSE_PICTURES=DIR make interop
//
// The first takes some minutes. The second also kills the gateway at each step
// of a pairing, pairs a hundred lights and lets matter.js pair thirty virtual
// devices, each count in a row; it takes most of an hour. The third keeps
// pictures of the web page's screens.
//
// bench measures Gatehouse and matter.js side by side: make bench.
package interop
