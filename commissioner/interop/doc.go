// Package interop tests Gatehouse against other people's implementations: so
// far matter.js, as a device and as a controller. Its tests have the build tag
// interop, and need root, iproute2 and Node:
//
//	make interop
//	INTEROP_LONG=1 make interop
//
// The first takes some minutes. The second also kills the gateway at each step
// of a pairing, pairs a hundred lights and lets matter.js pair thirty virtual
// devices, each count in a row; it takes most of an hour.
//
// bench measures Gatehouse and matter.js side by side: make bench.
package interop
