package bdx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
)

// said is one message of a hostile peer; without an opcode it is silent. After
// octets that begin with + the next follows without an answer.
type said struct {
	opcode uint8
	octets string
}

// recite says the messages, hearing an answer to each, and returns the last:
// the report with which the other side gave up, if it did.
func recite(t *testing.T, ctx context.Context, x *exchange.Exchange, script []said) (last exchange.Message) {
	for _, s := range script {
		octets, more := strings.CutPrefix(s.octets, "+")
		if s.opcode != 0 {
			if err := x.Send(ctx, message.BDX, s.opcode, unhex(t, octets)); err != nil {
				t.Error(err)
			}
		}
		if more {
			continue
		}
		var err error
		if last, err = x.Receive(ctx); err != nil {
			t.Error(err)
		}
		if last.Protocol == message.SecureChannel {
			break
		}
	}
	return last
}

func expectReport(t *testing.T, m exchange.Message, want Status) {
	t.Helper()
	if m.Protocol != message.SecureChannel || m.Opcode != opStatusReport || !bytes.Equal(m.Body, want.report()) {
		t.Errorf("answered with %+v, not with the report of %v", m, want)
	}
}

const (
	receiverInit = "20 00 0a00 0500 696d616765" // blocks of 10 of "image"
	senderInit   = "10 00 0a00 0500 696d616765"
	logInit      = "10 00 0a00 0300 6c6f67" // the same of "log"
)

// TestHostileReceiver has a peer misbehave towards the server, whose file has
// 25 octets; the last line of each script is the one that is refused.
func TestHostileReceiver(t *testing.T) {
	query := func(n int) said { return said{opBlockQuery, fmt.Sprintf("%02x000000", n)} }
	ack := func(n int) said { return said{opBlockAck, fmt.Sprintf("%02x000000", n)} }
	skip := func(n int, octets string) said {
		return said{opBlockQueryWithSkip, fmt.Sprintf("%02x000000", n) + octets}
	}
	start, drives := said{opReceiveInit, receiverInit}, said{opReceiveInit, senderInit}
	acked := said{opBlockAck, "+00000000"}
	for _, c := range []struct {
		name   string
		status Status
		script []said
	}{
		{"empty first message", BadMessageContents, []said{{opReceiveInit, ""}}},
		{"garbage first message", BadMessageContents, []said{{opReceiveInit, "ffffffffffffffffffffffffffffffffffffffff"}}},
		{"designator longer than the message", BadMessageContents, []said{{opReceiveInit, "20 00 0a00 0600 696d616765"}}},
		{"empty blocks", BadMessageContents, []said{{opReceiveInit, "20 00 0000 0500 696d616765"}}},
		{"nobody drives", TransferMethodNotSupported, []said{{opReceiveInit, "00 00 0a00 0500 696d616765"}}},
		{"query first", UnexpectedMessage, []said{query(0)}},
		{"unknown opcode first", UnexpectedMessage, []said{{0x99, receiverInit}}},
		{"offset beyond all files", StartOffsetNotSupported, []said{{opReceiveInit, "20 12 0a00 ffffffffffffffff 0500 696d616765"}}},
		{"second start", UnexpectedMessage, []said{start, start}},
		{"query of a later block", BadBlockCounter, []said{start, query(1)}},
		{"query again", BadBlockCounter, []said{start, query(0), query(0)}},
		{"query too far", BadBlockCounter, []said{start, query(0), query(2)}},
		{"query of nothing", BadMessageContents, []said{start, {opBlockQuery, ""}}},
		{"long query", BadMessageContents, []said{start, {opBlockQuery, "0000000000"}}},
		{"skip in a query", BadMessageContents, []said{start, {opBlockQuery, "00000000 0100000000000000"}}},
		{"skip too far", LengthTooLarge, []said{start, query(0), skip(1, "1000000000000000")}},
		{"skip round the world", LengthTooLarge, []said{start, query(0), skip(1, "f6ffffffffffffff")}},
		{"skip again", BadBlockCounter, []said{start, skip(0, "0100000000000000"), skip(0, "0100000000000000")}},
		{"skip of half a number", BadMessageContents, []said{start, skip(0, "01000000")}},
		{"acknowledgement of nothing", UnexpectedMessage, []said{start, ack(0)}},
		{"acknowledgement of a later block", BadBlockCounter, []said{start, query(0), ack(1)}},
		{"acknowledgement again", UnexpectedMessage, []said{start, query(0), acked, ack(0)}},
		{"query of a block that was acknowledged", BadBlockCounter, []said{start, query(0), acked, query(0)}},
		{"block from the receiver", UnexpectedMessage, []said{start, {opBlock, "0000000001"}}},
		{"end acknowledged before it came", UnexpectedMessage, []said{start, query(0), {opBlockAckEOF, "00000000"}}},
		{"end acknowledged wrongly", BadBlockCounter, []said{start, query(0), query(1), query(2), {opBlockAckEOF, "01000000"}}},
		{"query beyond the end", UnexpectedMessage, []said{start, query(0), query(1), query(2), query(3)}},
		{"end acknowledged like any block", UnexpectedMessage, []said{start, query(0), query(1), query(2), ack(2)}},
		{"silence", TransferFailedUnknownError, []said{start, query(0), {}}},
		{"sender drives: query", UnexpectedMessage, []said{drives, {}, query(1)}},
		{"sender drives: block again", BadBlockCounter, []said{drives, {}, ack(1)}},
		{"sender drives: acknowledged again", BadBlockCounter, []said{drives, {}, ack(0), ack(0)}},
		{"sender drives: early end", UnexpectedMessage, []said{drives, {}, {opBlockAckEOF, "00000000"}}},
		{"sender drives: silence", TransferFailedUnknownError, []said{drives, {}, {}}},
		{"upload with an offset", StartOffsetNotSupported, []said{{opSendInit, "10 02 0a00 01000000 0300 6c6f67"}}},
		{"upload too long", LengthTooLarge, []said{{opSendInit, "10 01 0a00 01000010 0300 6c6f67"}}},
		{"upload of an unknown file", FileDesignatorUnknown, []said{{opSendInit, "10 00 0a00 0300 6c6f68"}}},
		{"upload: query", UnexpectedMessage, []said{{opSendInit, logInit}, query(0)}},
		{"upload: another block first", BadBlockCounter, []said{{opSendInit, logInit}, {opBlock, "01000000 01"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, content(25))
				x, err := h.a.Open(h.session)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				expectReport(t, recite(t, t.Context(), x, c.script), c.status)
				took := time.Since(began)
				x.Close()
				served := <-h.served
				if silent := c.script[len(c.script)-1].opcode == 0; silent && (took < IdleTimeout || took > IdleTimeout+time.Second || !errors.Is(served, exchange.ErrTimeout)) {
					t.Errorf("silence was borne for %v: %v", took, served)
				} else if !silent && !errors.Is(served, c.status) {
					t.Errorf("the server says %v", served)
				}
				if h.closed.Load() != h.opened.Load() {
					t.Error("the file was left open")
				}
			})
		})
	}
}

// TestUnusualReceiver does what is allowed, though few do it.
func TestUnusualReceiver(t *testing.T) {
	for name, script := range map[string][]said{
		"skip to the last block":        {{opReceiveInit, receiverInit}, {opBlockQuery, "00000000"}, {opBlockQueryWithSkip, "01000000 0a00000000000000"}},
		"skip to the end":               {{opReceiveInit, receiverInit}, {opBlockQuery, "00000000"}, {opBlockQueryWithSkip, "01000000 0f00000000000000"}},
		"version to come":               {{opReceiveInit, "21" + receiverInit[2:]}, {opBlockQueryWithSkip, "00000000 1900000000000000"}},
		"offset and skip":               {{opReceiveInit, "20 02 0a00 05000000 0500 696d616765"}, {opBlockQueryWithSkip, "00000000 0a00000000000000"}},
		"acknowledgement and query":     {{opReceiveInit, receiverInit}, {opBlockQuery, "00000000"}, {opBlockAck, "+00000000"}, {opBlockQueryWithSkip, "01000000 0a00000000000000"}},
		"asynchronous proposed as well": {{opReceiveInit, "60" + receiverInit[2:]}, {opBlockQueryWithSkip, "00000000 1900000000000000"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, content(25))
				x, err := h.a.Open(h.session)
				if err != nil {
					t.Fatal(err)
				}
				defer x.Close()
				last := recite(t, t.Context(), x, script)
				b, err := parseBlock(last.Body)
				if err != nil || last.Opcode != opBlockEOF || !bytes.HasSuffix(h.image, b.data) {
					t.Fatalf("the last block is %+v, %v", last, err)
				}
				x.Send(t.Context(), message.BDX, opBlockAckEOF, last.Body[:counterSize])
				if err := <-h.served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestHostileSender has a peer misbehave towards Fetch, which proposes blocks
// of 10; each message answers one of ours.
func TestHostileSender(t *testing.T) {
	accept := said{opReceiveAccept, "20 01 0a00 19000000"} // 25 octets
	indefinite := said{opReceiveAccept, "20 00 0a00"}
	drives := said{opReceiveAccept, "+10 01 0a00 19000000"}
	full := func(n int) said { return said{opBlock, fmt.Sprintf("%02x000000 00010203040506070809", n)} }
	for _, c := range []struct {
		name   string
		status Status
		script []said
		wrote  uint64
	}{
		{"empty answer", BadMessageContents, []said{{opReceiveAccept, ""}}, 0},
		{"cut answer", BadMessageContents, []said{{opReceiveAccept, "20 01 0a00 190000"}}, 0},
		{"answer to something else", UnexpectedMessage, []said{{opSendAccept, "20 0a00"}}, 0},
		{"block without an answer", UnexpectedMessage, []said{full(0)}, 0},
		{"another version", VersionNotSupported, []said{{opReceiveAccept, "21 00 0a00"}}, 0},
		{"two drives", BadMessageContents, []said{{opReceiveAccept, "30 00 0a00"}}, 0},
		{"no drive", BadMessageContents, []said{{opReceiveAccept, "00 00 0a00"}}, 0},
		{"asynchronous", TransferMethodNotSupported, []said{{opReceiveAccept, "40 00 0a00"}}, 0},
		{"larger blocks", BadMessageContents, []said{{opReceiveAccept, "20 00 0b00"}}, 0},
		{"empty blocks", BadMessageContents, []said{{opReceiveAccept, "20 00 0000"}}, 0},
		{"another offset", StartOffsetNotSupported, []said{{opReceiveAccept, "20 02 0a00 01000000"}}, 0},
		{"longer than wanted", LengthTooLarge, []said{{opReceiveAccept, "20 01 0a00 65000000"}}, 0},
		{"longer than any file", LengthTooLarge, []said{{opReceiveAccept, "20 11 0a00 ffffffffffffffff"}}, 0},
		{"query from the sender", UnexpectedMessage, []said{accept, {opBlockQuery, "00000000"}}, 0},
		{"later block", BadBlockCounter, []said{accept, full(1)}, 0},
		{"block again", BadBlockCounter, []said{accept, full(0), full(0)}, 10},
		{"later end", BadBlockCounter, []said{accept, full(0), {opBlockEOF, "03000000"}}, 10},
		{"block larger than agreed", BadMessageContents, []said{accept, {opBlock, "00000000 0001020304050607080910"}}, 0},
		{"block larger than agreed at the end", BadMessageContents, []said{accept, {opBlockEOF, "00000000 0001020304050607080910"}}, 0},
		{"block without a counter", BadMessageContents, []said{accept, {opBlock, "000000"}}, 0},
		{"empty block", BadMessageContents, []said{accept, {opBlock, "00000000"}}, 0},
		{"early end", LengthMismatch, []said{accept, full(0), {opBlockEOF, "01000000 01"}}, 10},
		{"early empty end", LengthMismatch, []said{accept, {opBlockEOF, "00000000"}}, 0},
		{"late end", LengthMismatch, []said{accept, full(0), full(1), {opBlockEOF, "02000000 010203040506"}}, 20},
		{"no end", LengthMismatch, []said{accept, full(0), full(1), {opBlock, "02000000 0102030405"}, {opBlock, "03000000 01"}}, 25},
		{"no end of what is indefinite", LengthTooLarge, []said{indefinite, full(0), full(1), full(2), full(3), full(4), full(5), full(6), full(7), full(8), full(9), full(10)}, 100},
		{"silence", TransferFailedUnknownError, []said{accept, full(0), {}}, 10},
		{"silence instead of an answer", TransferFailedUnknownError, []said{{}}, 0},
		{"sender drives: block again", BadBlockCounter, []said{drives, full(0), full(0)}, 10},
		{"sender drives: early end", LengthMismatch, []said{drives, {opBlockEOF, "00000000 01"}}, 0},
		{"sender drives: silence", TransferFailedUnknownError, []said{drives, full(0), {}}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.b.Handle(message.BDX, func(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
					expectReport(t, recite(t, ctx, x, c.script), c.status)
					h.served <- nil
				})
				r := Request{Length: 100, Drive: ReceiverDrive, Options: Options{MaxBlock: 10, Idle: time.Minute}}
				if slices.Contains(c.script, drives) {
					r.Drive |= SenderDrive
				}
				began := time.Now()
				var got bytes.Buffer
				n, err := h.fetch(t, r, &got)
				if silent := c.script[len(c.script)-1].opcode == 0; silent {
					if took := time.Since(began); !errors.Is(err, exchange.ErrTimeout) || took < time.Minute || took > time.Minute+time.Second {
						t.Errorf("silence was borne for %v: %v", took, err)
					}
				} else if !errors.Is(err, c.status) {
					t.Error(err)
				}
				if n != c.wrote || uint64(got.Len()) != n {
					t.Errorf("%d octets were written, %d told, want %d", got.Len(), n, c.wrote)
				}
				<-h.served
			})
		})
	}
}

// TestReport has the peer give up: nothing is said to that.
func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"of BDX":              {ResponderBusy.report(), ResponderBusy},
		"unknown code":        {Status(0x1234).report(), Status(0x1234)},
		"of another protocol": {unhex(t, "0100 00000000 0300"), nil},
		"success":             {unhex(t, "0000 02000000 0000"), Status(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.b.Handle(message.BDX, func(ctx context.Context, x *exchange.Exchange, _ exchange.Message) {
					x.Send(ctx, message.SecureChannel, opStatusReport, c.body)
					ctx, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					_, err := x.Receive(ctx)
					h.served <- err
				})
				_, err := h.fetch(t, Request{}, io.Discard)
				var report *Report
				if !errors.As(err, &report) || c.want != nil && !errors.Is(err, c.want) {
					t.Error(err)
				}
				if err := <-h.served; !errors.Is(err, exchange.ErrTimeout) {
					t.Errorf("the report was answered: %v", err)
				}
			})
		})
	}
}

// TestUnusualSender does what is allowed, though few do it.
func TestUnusualSender(t *testing.T) {
	for name, script := range map[string][]said{
		"empty end":                 {{opReceiveAccept, "20 01 0a00 02000000"}, {opBlock, "00000000 0102"}, {opBlockEOF, "01000000"}},
		"small blocks":              {{opReceiveAccept, "20 01 0a00 02000000"}, {opBlock, "00000000 01"}, {opBlockEOF, "01000000 02"}},
		"indefinite, with its tail": {{opReceiveAccept, "20 00 0900 ff"}, {opBlockEOF, "00000000 0102"}},
		"offset repeated":           {{opReceiveAccept, "20 03 0a00 07000000 02000000"}, {opBlockEOF, "00000000 0102"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				h.b.Handle(message.BDX, func(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
					if last := recite(t, ctx, x, script); last.Opcode != opBlockAckEOF {
						t.Errorf("the end is answered with %+v", last)
					}
				})
				var got bytes.Buffer
				if n, err := h.fetch(t, Request{Offset: 7, Options: Options{MaxBlock: 10}}, &got); err != nil || n != 2 || !bytes.Equal(got.Bytes(), []byte{1, 2}) {
					t.Errorf("%d octets, %x, %v", n, got.Bytes(), err)
				}
			})
		})
	}
}
