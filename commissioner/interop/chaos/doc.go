// Package chaos proves with real processes what cluster/chaos proves in
// simulated time: homes of three gateways keep their promises while everything
// around them breaks. Each gateway is a `gatehouse serve` on a host of its own,
// with a small disk of its own, and pairs virtual lights over a network whose
// cables are cut, slow and lossy:
//
//	make chaos-processes ROUNDS=20 SEED=1
//
// A round founds a home, has clients pair, remove and switch lights, rename them
// and list them by way of any gateway, and meanwhile kills gateways, in the
// middle of pairings too, stops and goes on with them, parts them, fills their
// disks, sets their clocks, hands the lead over and replaces one. Then
// everything is made whole, what is in doubt has to settle by itself, and what
// callers were told and lights were given is held against the logs of all
// gateways, by the checkers of cluster/chaos.
//
// Faults and workload come from a seed; the processes' own timing does not, so
// that a seed makes a failure likely to come again, not certain.
//
// It needs root, iproute2 and TAP interfaces, and the build tag interop. It
// leaves nothing behind but, in a directory that it names, the evidence of a
// round that failed.
package chaos
