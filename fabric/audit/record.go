package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	MaxRecord = 32 << 10 // octets of a record
	// MaxText bounds a text in a record, in octets as it is written there. What
	// is longer is cut.
	MaxText = 256
)

// Record is one decision.
type Record struct {
	Index   uint64      // in the trail, from 0
	Time    int64       // of the ledger, Unix ms
	Entry   uint64      // of the log of commands
	What    string      // stable code
	By      cert.NodeID // gateway that proposed it; 0: not told
	For     string      // person who asked that gateway for it; empty: nobody, or not told
	Device  cert.NodeID // that it is about; 0: none
	Gateway cert.NodeID // that it is about; 0: none
	Zone    string
	Name    string
	Refused string // code of the refusal; empty: it was done
	// Skipped is how many refusals before this record are not in the trail.
	Skipped uint64
	Details Object // as JSON; nil: none
}

// Append writes the record as JSON in one line, without its end: fields that
// are empty are left out but for the first four, the others come in one order.
func (r *Record) Append(b []byte) []byte {
	b = strconv.AppendUint(append(b, `{"index":`...), r.Index, 10)
	b = strconv.AppendInt(append(b, `,"time":`...), r.Time, 10)
	b = strconv.AppendUint(append(b, `,"entry":`...), r.Entry, 10)
	b = appendText(append(b, `,"what":`...), r.What)
	for _, f := range []struct {
		name  string
		value string
	}{{"by", node(r.By)}, {"for", r.For}, {"device", node(r.Device)}, {"gateway", node(r.Gateway)}, {"zone", r.Zone}, {"name", r.Name}, {"refused", r.Refused}} {
		if f.value != "" {
			b = appendText(append(append(append(b, `,"`...), f.name...), `":`...), f.value)
		}
	}
	if r.Skipped != 0 {
		b = strconv.AppendUint(append(b, `,"skipped":`...), r.Skipped, 10)
	}
	if len(r.Details) > 0 {
		b = append(append(b, `,"details":`...), r.Details...)
	}
	return append(b, '}')
}

// record is a Record for encoding/json, which reads it.
type record struct {
	Index   uint64          `json:"index"`
	Time    int64           `json:"time"`
	Entry   uint64          `json:"entry"`
	What    string          `json:"what"`
	By      string          `json:"by"`
	For     string          `json:"for"`
	Device  string          `json:"device"`
	Gateway string          `json:"gateway"`
	Zone    string          `json:"zone"`
	Name    string          `json:"name"`
	Refused string          `json:"refused"`
	Skipped uint64          `json:"skipped"`
	Details json.RawMessage `json:"details"`
}

// Parse reads a record of this release or of a later one, whose fields that it
// does not know it leaves aside. That it is as it was written its hash alone
// says.
func Parse(line []byte) (*Record, error) {
	if len(line) > MaxRecord || bytes.ContainsAny(line, "\r\n") || !utf8.Valid(line) {
		return nil, fmt.Errorf("a record of %d octets is too long, or not one line of UTF-8", len(line))
	}
	var in record
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, fmt.Errorf("a record that makes no sense: %w", err)
	}
	r := &Record{Index: in.Index, Time: in.Time, Entry: in.Entry, What: in.What, For: in.For, Zone: in.Zone, Name: in.Name, Refused: in.Refused, Skipped: in.Skipped}
	if len(in.Details) > 0 && in.Details[0] == '{' {
		r.Details = Object(in.Details)
	}
	for _, f := range []struct {
		text string
		node *cert.NodeID
	}{{in.By, &r.By}, {in.Device, &r.Device}, {in.Gateway, &r.Gateway}} {
		if f.text == "" {
			continue
		}
		n, err := strconv.ParseUint(f.text, 16, 64)
		if err != nil || n == 0 || node(cert.NodeID(n)) != f.text {
			return nil, fmt.Errorf("a record with %q for a node id", f.text)
		}
		*f.node = cert.NodeID(n)
	}
	return r, nil
}

func node(n cert.NodeID) string {
	if n == 0 {
		return ""
	}
	return n.String()
}
