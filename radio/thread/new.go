package thread

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"time"
	"unicode/utf8"
)

// What OpenThread gives a new network.
const (
	defaultRotation = 672    // hours
	defaultFlags    = 0xf7f8 // everything of Thread 1.4 but the commercial extensions
	allChannels     = 1<<(lastChannel+1) - 1<<firstChannel

	broadcastPANID = 0xffff
	uniqueLocal    = 0xfd // first byte of a prefix that anyone may draw
)

// quietChannels are between and above the three channels that Wi-Fi access
// points use. 26 is too, but many radios must be faint there.
var quietChannels = [...]uint16{15, 20, 25}

// New draws a complete active dataset for a network that does not exist yet;
// name has 1 to 16 bytes of UTF-8, and random is cryptographic.
func New(random io.Reader, name string, now time.Time) (Dataset, error) {
	if len(name) < 1 || len(name) > MaxName || !utf8.ValidString(name) {
		return Dataset{}, fmt.Errorf("a Thread network's name has 1 to %d bytes of UTF-8, this one %d", MaxName, len(name))
	}
	var drawn struct {
		NetworkKey, PSKc [KeySize]byte
		XPANID, Prefix   [8]byte
		PANID            uint16
		Channel          uint8
	}
	if err := binary.Read(random, binary.BigEndian, &drawn); err != nil {
		return Dataset{}, fmt.Errorf("draw a Thread dataset: %w", err)
	}
	drawn.PANID %= broadcastPANID
	drawn.Prefix[0] = uniqueLocal
	channel := quietChannels[int(drawn.Channel)%len(quietChannels)]

	var b bytes.Buffer
	put := func(typ byte, v []byte) { b.Write(append([]byte{typ, byte(len(v))}, v...)) }
	put(typeActiveTimestamp, binary.BigEndian.AppendUint64(nil, Timestamp{Seconds: uint64(now.Unix())}.Uint64()))
	put(typeChannel, binary.BigEndian.AppendUint16([]byte{page0}, channel))
	put(typeChannelMask, binary.BigEndian.AppendUint32([]byte{page0, channelMaskSize}, bits.Reverse32(allChannels)))
	put(typeExtendedPANID, drawn.XPANID[:])
	put(typeMeshLocalPrefix, drawn.Prefix[:])
	put(typeNetworkKey, drawn.NetworkKey[:])
	put(typeName, []byte(name))
	put(typePANID, binary.BigEndian.AppendUint16(nil, drawn.PANID))
	put(typePSKc, drawn.PSKc[:])
	put(typeSecurityPolicy, binary.BigEndian.AppendUint16([]byte{defaultRotation >> 8, defaultRotation & 0xff}, defaultFlags))
	return Parse(b.Bytes())
}
