package virtual

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// Mode is how a device misbehaves; empty: not at all.
type Mode string

const (
	Stall         Mode = "stall"          // acknowledges requests of pairing and never answers
	WrongNonce    Mode = "wrong-nonce"    // attests with a nonce that nobody sent
	WrongCSRNonce Mode = "wrong-csr"      // the same for its new key
	BadChain      Mode = "bad-chain"      // attested by a PAA that nobody knows
	EndlessChunks Mode = "endless-chunks" // a report that never ends
	OversizeList  Mode = "oversize-list"  // a list of many megabytes
	LostPackets   Mode = "lost-packets"   // loses a fifth of all packets
	ForgetACL     Mode = "forget-acl"     // says it wrote its access control list, and did not
	Vanish        Mode = "vanish"         // falls silent as it gets its certificate
	KeepFabric    Mode = "keep-fabric"    // says that it left a fabric, and did not
	KeepNOC       Mode = "keep-noc"       // says that it took another certificate, and did not
	KeepIPK       Mode = "keep-ipk"       // says that it took another identity protection key, and did not
	Boast         Mode = "boast"          // says that it installed an update, and did not
	NoUpdates     Mode = "no-updates"     // takes no updates over the air
	Brick         Mode = "brick"          // does not come back from installing other software
	Repeat        Mode = "repeat"         // says everything twice that nobody acknowledges: check-ins
	WrongKey      Mode = "wrong-key"      // checks in under a key that nobody gave it
	WrongCounter  Mode = "wrong-counter"  // says that its counter is further than it is
	ForgetClient  Mode = "forget-client"  // says that it registered somebody, and did not
)

// Modes are all there are.
var Modes = []Mode{Stall, WrongNonce, WrongCSRNonce, BadChain, EndlessChunks, OversizeList, LostPackets, ForgetACL, Vanish, KeepFabric, KeepNOC, KeepIPK, Boast, NoUpdates, Brick, Repeat, WrongKey, WrongCounter, ForgetClient}

// UnmarshalText checks a mode's name.
func (m *Mode) UnmarshalText(b []byte) error {
	for _, known := range append(Modes, "") {
		if string(b) == string(known) {
			*m = known
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q: use one of %v", b, Modes)
}

// lossy loses a fifth of what is sent and received.
type lossy struct{ radio.Link }

func lose() bool { return rand.IntN(5) == 0 }

func (l lossy) Send(to radio.Addr, b []byte) error {
	if lose() {
		return nil
	}
	return l.Link.Send(to, b)
}

func (l lossy) Receive(b []byte) (int, radio.Addr, error) {
	for {
		n, from, err := l.Link.Receive(b)
		if err != nil || !lose() {
			return n, from, err
		}
	}
}

func (m Mode) link(l radio.Link) radio.Link {
	if m == LostPackets {
		return lossy{l}
	}
	return l
}

func (m Mode) maker(known *attesttest.Maker) *attesttest.Maker {
	if m == BadChain {
		return attesttest.New("nobody knows this one")
	}
	return known
}

func other(nonce []byte, when bool) []byte {
	if when {
		nonce = bytes.Clone(nonce)
		nonce[0] ^= 1
	}
	return nonce
}

func (m Mode) nonce(n []byte) []byte    { return other(n, m == WrongNonce) }
func (m Mode) csrNonce(n []byte) []byte { return other(n, m == WrongCSRNonce) }

type invoke = func(context.Context, *interaction.Request, tlv.Raw) (any, interaction.StatusIB)

// command is a command of pairing as the mode has it.
func (m Mode) command(f invoke) invoke {
	if m != Stall {
		return f
	}
	return func(ctx context.Context, _ *interaction.Request, _ tlv.Raw) (any, interaction.StatusIB) {
		<-ctx.Done()
		return nil, interaction.StatusIB{Status: interaction.Failure}
	}
}

// oversize is more than any report may be: 8 MiB.
var oversize = strings.Repeat("x", 1<<10)

func (m Mode) basic(a map[interaction.AttributeID]datamodel.AttributeServer) map[interaction.AttributeID]datamodel.AttributeServer {
	if m == OversizeList {
		a[0xFFF1_0000] = datamodel.AttributeServer{Read: func(*interaction.Request) any {
			list := make([]string, 8<<10)
			for i := range list {
				list[i] = oversize
			}
			return list
		}}
	}
	return a
}

// vanishing falls silent once it has its certificate.
type vanishing struct{ interaction.Provider }

func (v vanishing) Invoke(ctx context.Context, r *interaction.Request, p interaction.CommandPath, fields tlv.Raw) (interaction.CommandID, any, interaction.StatusIB) {
	if p.Cluster == datamodel.OperationalCredentials && p.Command == datamodel.AddNOCID {
		id, response, s := v.Provider.Invoke(ctx, r, p, fields)
		r.Session.Link().Close() // what it did stays done, until its fail-safe
		return id, response, s
	}
	return v.Provider.Invoke(ctx, r, p, fields)
}

func (m Mode) provider(p interaction.Provider) interaction.Provider {
	if m == Vanish {
		return vanishing{p}
	}
	return p
}

// register takes the interaction model over where the mode answers in its own
// way.
func (m Mode) register(d *Device) {
	if m != EndlessChunks {
		return
	}
	d.manager.Handle(message.Interaction, func(ctx context.Context, x *exchange.Exchange, _ exchange.Message) {
		const opReportData = 5
		value, _ := tlv.Marshal(true)
		path := interaction.Attribute(0, datamodel.BasicInformation, datamodel.BasicVendorName)
		type report struct {
			Data interaction.AttributeData `tlv:"1"`
		}
		chunk, _ := tlv.Marshal(&struct {
			Reports []report `tlv:"1"`
			More    bool     `tlv:"3"`
		}{[]report{{interaction.AttributeData{Path: path, Data: value}}}, true})
		for x.Send(ctx, message.Interaction, opReportData, chunk) == nil {
			if _, err := x.Receive(ctx); err != nil {
				return
			}
		}
	})
}

// checkIns are what the mode sends for a check-in.
func (m Mode) checkIns(c *checkin.Cipher, say checkin.Message) [][]byte {
	b := c.Seal(say)
	switch m {
	case Repeat:
		return [][]byte{b, b}
	case WrongKey:
		other, err := checkin.New(message.Key{1})
		if err != nil {
			return nil
		}
		return [][]byte{other.Seal(say)}
	}
	return [][]byte{b}
}

// counter is what the mode says that the counter of check-ins is.
func (m Mode) counter(counter uint32) uint32 {
	if m == WrongCounter {
		return counter + lie
	}
	return counter
}
