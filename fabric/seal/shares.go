package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	maxShare  = 32 << 10 // octets of a share's text
	shareLine = 64       // letters of base64 a line
	sumSize   = 8        // octets of the set's id and of the checksum
)

// Lines of a share's text. The version is part of the first.
const (
	shareBegin = "-----BEGIN GATEHOUSE RECOVERY SHARE 1-----"
	shareEnd   = "-----END GATEHOUSE RECOVERY SHARE-----"
	shareDate  = time.DateOnly
)

const purposeShares = "gatehouse recovery kit in shares, fabric %v"

// Share is one of the three that a recovery kit is split into. Any two open
// the kit, without a passphrase; one alone tells what is written on it.
//
// Its text is lines of a name and a value: home, fabric and made say what the
// kit is of, share which of the three it is. set is what the three have in
// common, and the beginning of SHA-256 over kit; key is a share of the key
// that kit is sealed with; sum is the beginning of SHA-256 over the lines
// before.
type Share struct {
	Home     string
	FabricID cert.FabricID
	Made     time.Time // of the kit; a day
	Number   int       // 1 to 3
	Set      string    // hex
	key      Secret
	kit      []byte // the whole kit, sealed
}

// SplitKit splits a kit into the texts of its three shares.
func SplitKit(random io.Reader, k Kit) (texts [shares][]byte, err error) {
	plain, err := k.encode()
	if err != nil {
		return texts, err
	}
	defer clear(plain)
	var drawn [2]Secret // the key, and the slope of its line
	for i := range drawn {
		if drawn[i], err = RandomSecret(random); err != nil {
			return texts, err
		}
		defer drawn[i].Erase()
	}
	sealed, err := AES256GCM.Seal(random, drawn[0], fmt.Sprintf(purposeShares, k.FabricID), plain)
	if err != nil {
		return texts, err
	}
	secret, slope := drawn[0].Reveal(), drawn[1].Reveal()
	defer clear(secret)
	defer clear(slope)
	for i := range texts {
		y := height(secret, slope, byte(i+1))
		s := Share{k.Home, k.FabricID, k.Made, i + 1, beginning(sealed), NewSecret(y), sealed}
		clear(y)
		texts[i] = s.text()
		s.key.Erase()
	}
	return texts, nil
}

// beginning is the hexadecimal beginning of a hash.
func beginning(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:sumSize])
}

// text is the share as it is kept.
func (s *Share) text() []byte {
	key := s.key.Reveal()
	defer clear(key)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nhome %s\nfabric %v\nmade %s\nshare %d of %d, any two open the kit\nset %s\nkey %s\n", shareBegin,
		strconv.QuoteToASCII(s.Home), s.FabricID, s.Made.UTC().Format(shareDate), s.Number, shares, s.Set, hex.EncodeToString(key))
	for kit := base64.StdEncoding.EncodeToString(s.kit); kit != ""; {
		n := min(shareLine, len(kit))
		fmt.Fprintf(&b, "kit %s\n", kit[:n])
		kit = kit[n:]
	}
	fmt.Fprintf(&b, "sum %s\n%s\n", beginning(b.Bytes()), shareEnd)
	return b.Bytes()
}

// IsShare reports whether a file is meant to be a share.
func IsShare(text []byte) bool { return bytes.Contains(text, []byte("GATEHOUSE RECOVERY SHARE")) }

// ErrMistyped says that a share is not as it was written.
var ErrMistyped = errors.New("the share was mistyped, cut off or changed")

// ParseShare reads a share's text. Spaces at the ends of lines, and how lines
// end, do not matter.
func ParseShare(text []byte) (*Share, error) {
	if len(text) > maxShare {
		return nil, errors.New("the file is too long to be a share of a recovery kit")
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	switch {
	case len(lines) == 0 || !strings.HasPrefix(lines[0], "-----BEGIN GATEHOUSE RECOVERY SHARE"):
		return nil, errors.New("the file is no share of a recovery kit")
	case lines[0] != shareBegin:
		return nil, errors.New("the share is of another release: install the newest")
	case lines[len(lines)-1] != shareEnd:
		return nil, fmt.Errorf("%w: its last line is missing", ErrMistyped)
	}
	s, sum, err := parseLines(lines[1 : len(lines)-1])
	if err != nil {
		return nil, err
	}
	if written := s.text(); !strings.HasSuffix(string(written), "\nsum "+sum+"\n"+shareEnd+"\n") {
		return nil, fmt.Errorf("%w: its checksum is another", ErrMistyped)
	}
	if beginning(s.kit) != s.Set {
		return nil, fmt.Errorf("%w: its kit is of another set", ErrMistyped)
	}
	return s, nil
}

// parseLines reads what is between the first line and the last, each thing in
// its place.
func parseLines(lines []string) (s *Share, sum string, err error) {
	s = new(Share)
	var key []byte
	defer func() { clear(key) }()
	var kit strings.Builder
	names := []string{"home", "fabric", "made", "share", "set", "key", "kit", "sum"}
	at := 0
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		if at < len(names) && name == names[at] {
			at++
		} else if at == 0 || name != "kit" || names[at-1] != "kit" { // of which there are several
			return nil, "", fmt.Errorf("%w: a line is missing or was added", ErrMistyped)
		}
		switch name {
		case "home":
			s.Home, err = strconv.Unquote(value)
		case "fabric":
			var n uint64
			n, err = strconv.ParseUint(value, 16, 64)
			s.FabricID = cert.FabricID(n)
		case "made":
			s.Made, err = time.Parse(shareDate, value)
		case "share":
			_, err = fmt.Sscanf(value, "%d of", &s.Number)
			if s.Number < 1 || s.Number > shares {
				err = ErrMistyped
			}
		case "set":
			s.Set = value
		case "key":
			key, err = hex.DecodeString(value)
			if len(key) != KeySize {
				err = ErrMistyped
			}
			s.key = NewSecret(key)
		case "kit":
			kit.WriteString(value)
		case "sum":
			sum = value
		}
		if err != nil { // which would quote the line
			return nil, "", fmt.Errorf("%w: see its line %q", ErrMistyped, name)
		}
	}
	if at != len(names) {
		return nil, "", fmt.Errorf("%w: a line is missing", ErrMistyped)
	}
	if s.kit, err = base64.StdEncoding.DecodeString(kit.String()); err != nil {
		return nil, "", fmt.Errorf("%w: see its lines %q", ErrMistyped, "kit")
	}
	return s, sum, nil
}

// JoinShares opens the kit with two of its shares, and checks it as OpenKit
// does.
func JoinShares(a, b *Share) (*Kit, error) {
	switch {
	case a.FabricID != b.FabricID:
		return nil, fmt.Errorf("the shares are of two homes: %q, fabric %v, and %q, fabric %v", a.Home, a.FabricID, b.Home, b.FabricID)
	case a.Set != b.Set:
		return nil, fmt.Errorf("the shares are of two sets, %s and %s: the kit was split twice, and shares of one set belong together", a.Set, b.Set)
	case a.Number == b.Number:
		return nil, fmt.Errorf("both are share %d: one more is needed, of the other two", a.Number)
	}
	y1, y2 := a.key.Reveal(), b.key.Reveal()
	defer clear(y1)
	defer clear(y2)
	raw := origin(byte(a.Number), y1, byte(b.Number), y2)
	defer clear(raw)
	key := NewSecret(raw)
	defer key.Erase()
	opened, err := Open(key, fmt.Sprintf(purposeShares, a.FabricID), a.kit)
	if err != nil {
		return nil, fmt.Errorf("shares %d and %d do not open the kit: %w", a.Number, b.Number, err)
	}
	defer opened.Erase()
	plain := opened.Reveal()
	defer clear(plain)
	k, err := decodeKit(plain)
	if err == nil && k.FabricID != a.FabricID {
		err = errors.New("the shares hold another home's kit")
	}
	return k, err
}
