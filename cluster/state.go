package cluster

import "gatehouse/fabric"

// EncodeState is a State in the octets of a snapshot: with a version and a
// checksum, and the same for the same State.
func EncodeState(s *fabric.State) ([]byte, error) { return encodeState(s) }

// DecodeState is the inverse of EncodeState. It refuses what was damaged, what
// a newer release wrote, and more than 64 MiB.
func DecodeState(b []byte) (*fabric.State, error) { return decodeState(b) }
