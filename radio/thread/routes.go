package thread

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// RoutesFile is where Linux lists its IPv6 routes.
const RoutesFile = "/proc/net/ipv6_route"

// Limits of ours.
const (
	maxRoutes    = 4096
	maxRouteLine = 512
)

// Flags of Linux's route table (linux/route.h, linux/ipv6_route.h).
const (
	routeUp     = 0x0001
	routeReject = 0x0200
)

// Route is one the host has.
type Route struct {
	To        netip.Prefix
	Via       netip.Addr // not valid: directly on Interface
	Metric    uint32     // less is preferred
	Interface string
	Reject    bool // what it leads to is unreachable
}

// ParseRoutes reads the format of RoutesFile. Routes that are down are left
// out; of more than 4096 the rest is.
func ParseRoutes(r io.Reader) (routes []Route, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxRouteLine), maxRouteLine)
	for n := 1; lines.Scan() && len(routes) < maxRoutes; n++ {
		route, up, err := parseRoute(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("IPv6 routes, line %d: %w", n, err)
		}
		if up {
			routes = append(routes, route)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("IPv6 routes: %w", err)
	}
	return routes, nil
}

// parseRoute reads destination, its length, source, its length, next hop,
// metric, two counters, flags and interface; all numbers are hex.
func parseRoute(line string) (r Route, up bool, err error) {
	fields := strings.Fields(line)
	if len(fields) != 10 {
		return r, false, fmt.Errorf("it has %d fields, not 10", len(fields))
	}
	to, err1 := parseIP(fields[0])
	length, err2 := strconv.ParseUint(fields[1], 16, 8)
	via, err3 := parseIP(fields[4])
	metric, err4 := parseWord(fields[5])
	flags, err5 := parseWord(fields[8])
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return r, false, err
	}
	r = Route{To: netip.PrefixFrom(to, int(length)), Metric: metric, Interface: fields[9], Reject: flags&routeReject != 0}
	if !r.To.IsValid() {
		return r, false, fmt.Errorf("a prefix of %d bits", length)
	}
	if !via.IsUnspecified() {
		r.Via = via
	}
	return r, flags&routeUp != 0, nil
}

func parseIP(s string) (netip.Addr, error) {
	var ip [16]byte
	if len(s) != hex.EncodedLen(len(ip)) {
		return netip.Addr{}, fmt.Errorf("an address of %d digits", len(s))
	}
	_, err := hex.Decode(ip[:], []byte(s))
	return netip.AddrFrom16(ip), err
}

func parseWord(s string) (uint32, error) {
	var b [4]byte
	if len(s) != hex.EncodedLen(len(b)) {
		return 0, fmt.Errorf("a number of %d digits", len(s))
	}
	_, err := hex.Decode(b[:], []byte(s))
	return binary.BigEndian.Uint32(b[:]), err
}

// Towards are the routes of which the host takes one to every address of a
// prefix: the longest, and of these the ones with the least metric.
func Towards(routes []Route, prefix netip.Prefix) (best []Route) {
	for _, r := range routes {
		if r.To.Bits() > prefix.Bits() || !r.To.Contains(prefix.Addr()) {
			continue
		}
		if len(best) > 0 {
			switch b := best[0]; {
			case r.To.Bits() < b.To.Bits(), r.To.Bits() == b.To.Bits() && r.Metric > b.Metric:
				continue
			case r.To.Bits() > b.To.Bits(), r.Metric < b.Metric:
				best = nil
			}
		}
		best = append(best, r)
	}
	return best
}
