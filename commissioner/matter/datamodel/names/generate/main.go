// Command generate makes the table of names out of the SDK's interface
// definitions (controller-clusters.matter): numbers, names and kinds of
// values, and nothing else of them. It refuses a line that it does not
// understand, so that a new form is not left out unnoticed.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// A cluster of tests, from here on, is no part of Matter.
const firstTestCluster = 0xfff1_0000

func main() {
	log.SetFlags(0)
	in := flag.String("idl", "", "controller-clusters.matter of the Matter SDK")
	out := flag.String("o", "names.txt", "the table")
	flag.Parse()
	f, err := os.Open(*in)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if err := generate(f, &b); err != nil {
		log.Fatalf("%s: %v", *in, err)
	}
	if err := os.WriteFile(*out, b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

var (
	comment   = regexp.MustCompile(`^(/\*\*|//).*`)
	clusterAt = regexp.MustCompile(`^(?:provisional |internal |deprecated )?cluster (\w+) = (\d+) \{$`)
	enumAt    = regexp.MustCompile(`^(?:shared )?(?:enum|bitmap) (\w+) : \w+ \{$`)
	structAt  = regexp.MustCompile(`^(?:shared |fabric_scoped )*struct (\w+) \{$`)
	requestAt = regexp.MustCompile(`^(?:fabric_scoped )?request struct (\w+) \{$`)
	answerAt  = regexp.MustCompile(`^(?:fabric_scoped )?response struct (\w+) = (\d+) \{$`)
	eventAt   = regexp.MustCompile(`^(?:provisional |deprecated |fabric_sensitive )*(?:debug|info|critical) event (?:access\([^)]*\) )?(\w+) = (\d+) \{$`)
	field     = regexp.MustCompile(`^((?:provisional |fabric_sensitive |optional |nullable )*)(\w+)(?:<\d+>)? (\w+)(\[\])? = (\d+);$`)
	attribute = regexp.MustCompile(`^(?:provisional |deprecated |internal )?((?:readonly |writeonly |timedwrite |nosubscribe )*)attribute (?:access\(([^)]*)\) )?((?:optional |nullable )*)(\w+)(?:<\d+>)? (\w+)(\[\])? = (\d+);$`)
	commandAt = regexp.MustCompile(`^(?:provisional |deprecated |internal )?((?:timed |fabric )*)command (?:access\(invoke: (\w+)\) )?(\w+)\((\w*)\): (\w+) = (\d+);$`)
	skipped   = regexp.MustCompile(`^revision \d+;`)
)

// basic are the kinds of the types that the definitions do not define.
var basic = map[string]string{
	"boolean": "b", "single": "f", "double": "d",
	"char_string": "t", "long_char_string": "t", "octet_string": "o", "long_octet_string": "o",
	"temperature": "i", "amperage_ma": "i", "power_mw": "i", "voltage_mv": "i", "energy_mwh": "i", "power_mva": "i",
	"power_mvar": "i", "energy_mvah": "i", "energy_mvarh": "i", "money": "i",
}

var unsigned = regexp.MustCompile(`^(int\d+u|enum\d+|bitmap\d+|percent|percent100ths|epoch_u?s|posix_ms|systime_[mu]s|elapsed_s|node_id|fabric_id|fabric_idx|` +
	`group_id|endpoint_no|vendor_id|devtype_id|cluster_id|attrib_id|command_id|event_id|status)$`)

var signed = regexp.MustCompile(`^int\d+s$`)

// The client that most programs use spells some fields of responses and events
// unlike the definitions do.
var spelling = map[string]string{
	"webRTCSessionID": "webRtcSessionID", "sourceIpAddress": "sourceIPAddress", "destinationIpAddress": "destinationIPAddress", "ClientCSRResponse.csr": "CSR",
}

// missing are fields that the definitions leave out, with all from there on:
// matter.js and the Python client agree that they are there.
var missing = map[string][]member{
	"GetProgramGuideRequest": {{"bitmap32", "recordingFlag", "5", false, "?"}, {"AdditionalInfoStruct", "externalIDList", "6", true, "?"}, {"octet_string", "data", "7", false, "?"}},
}

// correct puts right what the definitions have wrong.
func (g group) correct() group {
	if more := missing[g.name]; more != nil {
		for i, m := range g.members {
			if m.id == more[0].id {
				g.members = g.members[:i]
				break
			}
		}
		g.members = append(g.members, more...)
	}
	for i, m := range g.members {
		for _, key := range []string{m.name, g.name + "." + m.name} {
			if s := spelling[key]; s != "" {
				g.members[i].name = s
			}
		}
	}
	return g
}

// member is a field or an attribute.
type member struct {
	typ, name, id string
	list          bool
	marks         string
}

// group is a struct, a command's fields or an event.
type group struct {
	id, name string
	members  []member
}

type command struct{ marks, name, request, response, id string }

// scope is a cluster, or what all share.
type scope struct {
	id, name         string
	enums            map[string]bool
	structs, events  []group
	requests         map[string]group
	responses        []group
	attributes       []member
	commands         []command
	structsOfCluster map[string]bool
}

func newScope(id, name string) *scope {
	return &scope{id: id, name: name, enums: map[string]bool{}, requests: map[string]group{}, structsOfCluster: map[string]bool{}}
}

func generate(in io.Reader, out io.Writer) error {
	shared := newScope("", "")
	clusters, err := parse(in, shared)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	if err := shared.write(w, nil); err != nil {
		return err
	}
	for _, c := range clusters {
		if n, _ := strconv.ParseUint(c.id, 10, 32); n >= firstTestCluster {
			continue
		}
		if err := c.write(w, shared); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return w.Flush()
}

// parse reads the definitions line by line, as their generator breaks them.
func parse(in io.Reader, shared *scope) (clusters []*scope, err error) {
	now, depth, inComment := shared, 0, false
	var open *group
	var closed func()
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case inComment, strings.HasPrefix(line, "/*"):
			inComment = !strings.HasSuffix(line, "*/")
			continue
		case line == "", comment.MatchString(line), skipped.MatchString(line):
			continue
		case line == "}":
			if depth--; open != nil {
				closed()
				open = nil
			} else if depth == 0 {
				now = shared
			}
			continue
		}
		begin := func(id, name string, put func(group)) {
			open = &group{id: id, name: name}
			depth++
			g := open
			closed = func() { put(g.correct()) }
		}
		switch m := []string(nil); {
		case match(clusterAt, line, &m):
			now = newScope(m[2], m[1])
			clusters = append(clusters, now)
			depth++
		case match(enumAt, line, &m):
			now.enums[m[1]] = true
			begin("", m[1], func(group) {})
		case match(structAt, line, &m):
			s := now
			s.structsOfCluster[m[1]] = true
			begin("", m[1], func(g group) { s.structs = append(s.structs, g) })
		case match(requestAt, line, &m):
			s := now
			begin("", m[1], func(g group) { s.requests[g.name] = g })
		case match(answerAt, line, &m):
			s := now
			begin(m[2], m[1], func(g group) { s.responses = append(s.responses, g) })
		case match(eventAt, line, &m):
			s := now
			begin(m[2], m[1], func(g group) { s.events = append(s.events, g) })
		case open != nil && now.enums[open.name] && strings.HasPrefix(line, "k"): // a value of an enum
		case open != nil && match(field, line, &m):
			marks := ""
			if strings.Contains(m[1], "optional") {
				marks += "?"
			}
			if strings.Contains(m[1], "nullable") {
				marks += "~"
			}
			open.members = append(open.members, member{m[2], m[3], m[5], m[4] != "", marks})
		case open == nil && match(attribute, line, &m):
			if n, _ := strconv.Atoi(m[7]); n >= 0xfff8 {
				continue // every cluster has the same
			}
			marks := ""
			if strings.Contains(m[3], "nullable") {
				marks += "~"
			}
			if !strings.Contains(m[1], "readonly") {
				marks += "+"
			}
			if strings.Contains(m[1], "timedwrite") {
				marks += "@"
			}
			if strings.Contains(m[2], "write: administer") {
				marks += "!"
			}
			now.attributes = append(now.attributes, member{m[4], m[5], m[7], m[6] != "", marks})
		case open == nil && match(commandAt, line, &m):
			marks := ""
			if strings.Contains(m[1], "timed") {
				marks += "@"
			}
			if m[2] == "administer" {
				marks += "!"
			}
			now.commands = append(now.commands, command{marks, m[3], m[4], m[5], m[6]})
		default:
			return nil, fmt.Errorf("line %d makes no sense: %s", n, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if depth != 0 {
		return nil, fmt.Errorf("ends inside braces")
	}
	return clusters, nil
}

func match(r *regexp.Regexp, line string, m *[]string) bool {
	*m = r.FindStringSubmatch(line)
	return *m != nil
}

// kind is the letter of a type, or the name of a struct.
func (s *scope) kind(shared *scope, typ string) (string, error) {
	for _, in := range []*scope{s, shared} {
		switch {
		case in == nil:
		case in.structsOfCluster[typ]:
			return typ, nil
		case in.enums[typ]:
			return "u", nil
		}
	}
	switch {
	case basic[typ] != "":
		return basic[typ], nil
	case unsigned.MatchString(typ):
		return "u", nil
	case signed.MatchString(typ):
		return "i", nil
	}
	return "", fmt.Errorf("no type %s", typ)
}

// write puts one scope into the table: see the package names for its form.
func (s *scope) write(w io.Writer, shared *scope) (err error) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	one := func(prefix string, m member) {
		kind, e := s.kind(shared, m.typ)
		if e != nil {
			err = fmt.Errorf("%s: %w", m.name, e)
		}
		if m.list {
			kind += "*"
		}
		line("%s%s %s %s%s", prefix, m.id, m.name, kind, m.marks)
	}
	all := func(members []member) {
		for _, m := range members {
			one(" ", m)
		}
	}
	if s.id != "" {
		line("=%s %s", s.id, s.name)
	}
	for _, g := range s.structs {
		line("s%s", g.name)
		all(g.members)
	}
	for _, m := range s.attributes {
		one("a", m)
	}
	for _, g := range s.responses {
		line("r%s %s", g.id, g.name)
		all(g.members)
	}
	for _, c := range s.commands {
		answer := ""
		if c.response != "DefaultSuccess" {
			answer = " " + c.response
		}
		line("c%s %s%s%s", c.id, c.name, c.marks, answer)
		if c.request != "" {
			g, ok := s.requests[c.request]
			if !ok {
				return fmt.Errorf("%s has no %s", c.name, c.request)
			}
			all(g.members)
		}
	}
	for _, g := range s.events {
		line("e%s %s", g.id, g.name)
		all(g.members)
	}
	return err
}
