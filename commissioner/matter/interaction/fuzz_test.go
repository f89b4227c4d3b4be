package interaction

import (
	"bytes"
	"runtime"
	"testing"

	"gatehouse/fabric/tlv"
)

// parsers are all messages of the protocol, by opcode.
var parsers = map[uint8]func() any{
	opStatusResponse:    func() any { return new(statusResponse) },
	opReadRequest:       func() any { return new(ReadRequest) },
	opSubscribeRequest:  func() any { return new(SubscribeRequest) },
	opSubscribeResponse: func() any { return new(subscribeResponse) },
	opReportData:        func() any { return new(reportData) },
	opWriteRequest:      func() any { return new(writeRequest) },
	opWriteResponse:     func() any { return new(writeResponse) },
	opInvokeRequest:     func() any { return new(invokeRequest) },
	opInvokeResponse:    func() any { return new(invokeResponse) },
	opTimedRequest:      func() any { return new(timedRequest) },
}

func seeds() map[uint8]any {
	value, _ := tlv.Marshal([]uint16{1, 2})
	ref, id, code := uint16(1), uint32(9), uint8(3)
	path, command := Attribute(1, 6, 0), Command(1, 6, 2)
	item := path
	item.ListIndex = &tlv.Null[uint16]{}
	e, c, ev := EndpointID(1), ClusterID(6), EventID(2)
	event := EventPath{Endpoint: &e, Cluster: &c, Event: &ev}
	return map[uint8]any{
		opStatusResponse:    &statusResponse{Success, revision},
		opReadRequest:       &ReadRequest{Attributes: []AttributePath{{}, path}, Events: []EventPath{event}, EventFilters: []EventFilter{{Min: 5}}, DataVersions: []DataVersionFilter{{ClusterPath{Endpoint: &e, Cluster: &c}, 7}}},
		opSubscribeRequest:  &SubscribeRequest{Keep: true, MaxInterval: 60, Attributes: []AttributePath{path}},
		opSubscribeResponse: &subscribeResponse{9, 60, revision},
		opReportData: &reportData{Subscription: &id, Attributes: []attributeReport{{Data: &AttributeData{&id, path, value}}, {Data: &AttributeData{&id, item, value}},
			{Status: &AttributeStatus{path, StatusIB{Status: Failure, Cluster: &code}}}}, Events: []eventReport{{Data: &Event{Path: event, Number: 4, Data: value}}}, More: true},
		opWriteRequest:   &writeRequest{Writes: []AttributeData{{&id, path, value}}, Timed: true},
		opWriteResponse:  &writeResponse{Statuses: []AttributeStatus{{path, StatusIB{}}}},
		opInvokeRequest:  &invokeRequest{Commands: []commandData{{command, value, &ref}}},
		opInvokeResponse: &invokeResponse{Responses: []commandResponse{{Data: &commandData{command, value, &ref}}, {Status: &commandStatus{command, StatusIB{}, nil}}}},
		opTimedRequest:   &timedRequest{500, revision},
	}
}

// FuzzMessages parses any message; what parses stays the same when written
// and parsed again, and takes memory in proportion to its length.
func FuzzMessages(f *testing.F) {
	for op, m := range seeds() {
		b, err := tlv.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(op, b)
	}
	f.Fuzz(func(t *testing.T, op uint8, b []byte) {
		parser := parsers[op%11]
		if parser == nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := parser()
		err := tlv.Unmarshal(b, m)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16+uint64(1000*len(b)) {
			t.Fatalf("%d octets took %d of memory", len(b), n)
		}
		if err != nil {
			return
		}
		one, err := tlv.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again := parser()
		if err := tlv.Unmarshal(one, again); err != nil {
			t.Fatalf("%x: %v", one, err)
		}
		if two, _ := tlv.Marshal(again); !bytes.Equal(one, two) {
			t.Fatalf("%x became %x", one, two)
		}
	})
}

// FuzzReport puts hostile chunks together.
func FuzzReport(f *testing.F) {
	b, _ := tlv.Marshal(seeds()[opReportData])
	f.Add(b, b)
	success, _ := tlv.Marshal(&reportData{Attributes: []attributeReport{{Status: &AttributeStatus{Path: Attribute(0, 6, 0)}}},
		Events: []eventReport{{Status: &EventStatus{}}}})
	f.Add(success, b)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var a assembly
		for _, b := range [][]byte{one, two} {
			var chunk reportData
			if tlv.Unmarshal(b, &chunk) != nil || a.add(&chunk, len(b)) != nil {
				return
			}
		}
		for _, r := range a.done().Attributes {
			if r.Err != nil {
				continue
			}
			if _, err := tlv.Check(r.Data); err != nil {
				t.Fatalf("%x: %v", r.Data, err)
			}
		}
	})
}

func BenchmarkDecodeReport(b *testing.B) {
	body, _ := tlv.Marshal(seeds()[opReportData])
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var r reportData
		if err := tlv.Unmarshal(body, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeRead(b *testing.B) {
	req := ReadRequest{Attributes: []AttributePath{Attribute(1, 6, 0)}, Revision: revision}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tlv.Append(buf, &req); err != nil {
			b.Fatal(err)
		}
	}
}
