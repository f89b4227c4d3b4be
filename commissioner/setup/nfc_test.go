package setup

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tagText = "MT:Y.K9042C00KA0648G00"

// record is one NDEF record with a one-octet length.
func record(flags byte, kind string, payload string) []byte {
	b := []byte{flags | ndefShort, byte(len(kind)), byte(len(payload))}
	return append(append(b, kind...), payload...)
}

func TestParseNFC(t *testing.T) {
	want := one(t, tagText)
	uri := record(ndefBegin|ndefEnd|ndefKnown, "U", "\x00"+tagText)
	long := append([]byte{ndefBegin | ndefEnd | ndefKnown, 1, 0, 0, 0, byte(len(tagText) + 1), 'U', 0}, tagText...)
	withID := append([]byte{ndefBegin | ndefEnd | ndefKnown | ndefShort | ndefID, 1, byte(len(tagText) + 1), 2, 'U', 'i', 'd', 0}, tagText...)
	among := append(record(ndefBegin|ndefKnown, "U", "\x04example.org"), record(ndefEnd|ndefKnown, "U", "\x00mt:y.k9042c00ka0648g00")...)
	for name, message := range map[string][]byte{"short": uri, "long": long, "id": withID, "among others": among} {
		payloads, err := ParseNFC(message)
		if err != nil || len(payloads) != 1 {
			t.Errorf("%s: %d payloads, %v", name, len(payloads), err)
			continue
		}
		if diff := cmp.Diff(want, payloads[0], same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	encoded, err := want.NFC()
	if err != nil || !bytes.Equal(encoded, uri) {
		t.Errorf("encodes as %x, %v", encoded, err)
	}
}

func TestParseNFCOfSeveralDevices(t *testing.T) {
	p := one(t, tagText)
	var several []Payload
	for range 20 {
		several = append(several, p)
	}
	message, err := NFC(several...)
	if err != nil || len(message) < 0x100 {
		t.Fatalf("%d octets, %v", len(message), err)
	}
	if back, err := ParseNFC(message); err != nil || len(back) != len(several) {
		t.Errorf("%d payloads, %v", len(back), err)
	}
	two := append(record(ndefBegin|ndefKnown, "U", "\x00"+tagText), record(ndefEnd|ndefKnown, "U", "\x00"+tagText)...)
	if back, err := ParseNFC(two); err != nil || len(back) != 2 {
		t.Errorf("two records: %d payloads, %v", len(back), err)
	}
}

func TestMalformedNFC(t *testing.T) {
	uri := record(ndefBegin|ndefEnd|ndefKnown, "U", "\x00"+tagText)
	for name, c := range map[string]struct {
		message []byte
		want    Code
	}{
		"empty":             {nil, CodeEmpty},
		"too long":          {make([]byte, maxNFCLength+1), CodeTooLong},
		"no begin":          {record(ndefEnd|ndefKnown, "U", "\x00"+tagText), CodeNFC},
		"no end":            {record(ndefBegin|ndefKnown, "U", "\x00"+tagText), CodeNFC},
		"begin twice":       {append(record(ndefBegin|ndefKnown, "U", "\x00"+tagText), uri...), CodeNFC},
		"octets behind":     {append(bytes.Clone(uri), 0), CodeNFC},
		"chunked":           {record(ndefBegin|ndefEnd|ndefKnown|ndefChunk, "U", "\x00"+tagText), CodeNFC},
		"another type":      {record(ndefBegin|ndefEnd|ndefKnown, "T", "\x00"+tagText), CodeNFC},
		"media type":        {record(ndefBegin|ndefEnd|2, "U", "\x00"+tagText), CodeNFC},
		"abbreviated":       {record(ndefBegin|ndefEnd|ndefKnown, "U", "\x01"+tagText), CodeNFC},
		"empty uri":         {record(ndefBegin|ndefEnd|ndefKnown, "U", ""), CodeNFC},
		"length overflows":  {[]byte{ndefBegin | ndefEnd | ndefKnown, 1, 0xFF, 0xFF, 0xFF, 0xFF, 'U', 0}, CodeNFC},
		"bad code in a tag": {record(ndefBegin|ndefEnd|ndefKnown, "U", "\x00MT:00"), CodeLength},
	} {
		_, err := ParseNFC(c.message)
		wantCode(t, name, err, c.want)
	}
	for i := 1; i < len(uri); i++ {
		if _, err := ParseNFC(uri[:i]); err == nil {
			t.Errorf("accepted when cut to %d octets", i)
		}
	}
}
