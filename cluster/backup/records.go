package backup

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/fabric"
	"gatehouse/fabric/audit"
)

// What age encrypts is a State as cluster.EncodeState writes it, or, with the
// records of what the home decided:
//
//	magic 8, length of the State 4, State, runs of records
//
// each run a length of 4 and CBOR, the newest first: its records lead up to the
// tree before the run that came before it, and the first to the State's.
const (
	recordsMagic = "GHTRAIL\x01" // the last octet is the format
	recordsHead  = len(recordsMagic) + 4
	// maxRecords bounds the runs, in octets: what ten admissions a day decide in
	// four years. Older ones are left out.
	maxRecords = 16 << 20
)

// Records give what was decided: those up to one, and the tree before them. A
// *trail.Trail is Records.
type Records interface {
	Before(n uint64) (before audit.Tree, records [][]byte, err error)
}

type run struct {
	Before  audit.Tree `cbor:"0,keyasint"`
	Records [][]byte   `cbor:"1,keyasint"`
}

// withRecords adds to a State what of its records is there.
func withRecords(state []byte, s *fabric.State, records Records) ([]byte, error) {
	b := binary.BigEndian.AppendUint32([]byte(recordsMagic), uint32(len(state)))
	b = append(b, state...)
	for n := s.TrailSize(); n > 0; {
		before, lines, err := records.Before(n)
		if err != nil {
			break // nobody has them, or not here
		}
		encoded, err := cbor.Marshal(run{before, lines})
		if err != nil {
			return nil, err
		}
		if len(b)-len(state)+len(encoded) > maxRecords {
			break
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(encoded))), encoded...)
		n = before.Size
	}
	return b, nil
}

// parse takes apart what Write wrote, with records or without.
func parse(plain []byte) (*fabric.State, []run, error) {
	state, rest := plain, []byte(nil)
	if bytes.HasPrefix(plain, []byte(recordsMagic)) {
		if len(plain) < recordsHead {
			return nil, nil, ErrNoBackup
		}
		length := uint64(binary.BigEndian.Uint32(plain[len(recordsMagic):]))
		if length > uint64(len(plain)-recordsHead) {
			return nil, nil, ErrNoBackup
		}
		state, rest = plain[recordsHead:][:length], plain[recordsHead+int(length):]
	}
	s, err := cluster.DecodeState(state)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	var runs []run
	for len(rest) > 0 {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, nil, ErrNoBackup
		}
		length := binary.BigEndian.Uint32(rest)
		var r run
		if err := cbor.Unmarshal(rest[4:4+length], &r); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
		}
		runs, rest = append(runs, r), rest[4+length:]
	}
	return s, runs, nil
}

// keep puts the records on the disk of a home that was restored, each run proved
// by what is known of those after it. The snapshot is for the next process: it
// would throw away what does not follow from its log.
func (b *Backup) keep(c found.Config, s *fabric.State) error {
	if len(b.runs) == 0 {
		return nil
	}
	cfg := c.Cluster
	cfg.Dir, cfg.Node = found.LogDir(c.Dir), s.Members()[0].Node
	l, err := cluster.Open(cfg)
	if err != nil {
		return err
	}
	defer l.Close()
	for _, r := range b.runs {
		if err := l.Trail().Fill(r.Before, r.Records); err != nil {
			return fmt.Errorf("records before %d: %w", r.Before.Size+uint64(len(r.Records)), err)
		}
	}
	return l.Snapshot()
}
