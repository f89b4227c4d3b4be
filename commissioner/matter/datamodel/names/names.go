// Package names knows what Matter's clusters, attributes, commands and events
// are called, by which numbers they go and what kinds of values they hold
// (Matter Application Cluster Specification): enough to turn values that are
// keyed by name into TLV and back. It knows neither ranges nor conformance,
// and no cluster of a vendor.
//
// The table is names.txt, which generate makes of the SDK's definitions. Its
// lines are clusters (=number name), structs (s), attributes (a), responses
// (r), commands (c, with the response's name) and events (e), and below some
// of them their fields, behind a space. A kind is one of u i b t o f d (see
// Kind) or a struct's name; marks behind it are * (a list of it), ~ (may be
// null), ? (may be absent), + (may be written), @ (timed) and ! (administer).
// What stands before the first cluster is shared by all.
//
// It is read where it lies: a cluster is decoded when it is first asked for,
// its names stay in the program's text, and all clusters together take less
// than 1 MiB.
package names

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"

	"gatehouse/commissioner/matter/interaction"
)

//go:generate go run ./generate -idl $MATTER_IDL -o names.txt

//go:embed names.txt
var table string

// Kind is what a value is in TLV.
type Kind byte

const (
	Unsigned Kind = 'u' // also enums and bitmaps
	Signed   Kind = 'i'
	Bool     Kind = 'b'
	Text     Kind = 't'
	Octets   Kind = 'o'
	Float    Kind = 'f'
	Double   Kind = 'd'
	Structed Kind = 's' // of Type.Struct
)

// Type is the type of a value.
type Type struct {
	Kind     Kind
	List     bool // of values of the Kind
	Nullable bool
	Struct   *Struct // of Structed
}

// Element is the type of a list's elements.
func (t Type) Element() Type { return Type{Kind: t.Kind, Struct: t.Struct} }

// Field is a member of a struct, a command or an event.
type Field struct {
	Tag      uint8
	Name     string // as the SDK spells it: groupID
	Optional bool
	Type
}

// Camel is the name as matter.js spells it: groupId.
func (f Field) Camel() string { return Camel(f.Name) }

// Struct is a struct's fields, or a command's, or an event's.
type Struct struct {
	Name   string
	Fields []Field
}

// Tagged is the field with a tag.
func (s *Struct) Tagged(tag uint32) (Field, bool) {
	for _, f := range s.Fields {
		if uint32(f.Tag) == tag {
			return f, true
		}
	}
	return Field{}, false
}

// Named is the field with a name, in any spelling.
func (s *Struct) Named(name string) (Field, bool) {
	plain := Plain(name)
	for _, f := range s.Fields {
		if Plain(f.Name) == plain {
			return f, true
		}
	}
	return Field{}, false
}

// Attribute is an attribute.
type Attribute struct {
	ID         interaction.AttributeID
	Name       string
	Writable   bool
	Timed      bool // written in a timed interaction
	Administer bool // to write it takes the privilege administer
	Type
}

// Command is a command to a server.
type Command struct {
	ID         interaction.CommandID
	Timed      bool // invoked in a timed interaction
	Administer bool // to invoke it takes the privilege administer
	Struct
	Response *Response // nil: a status
}

// Response is a server's answer to a command.
type Response struct {
	ID interaction.CommandID
	Struct
}

// Event is an event.
type Event struct {
	ID interaction.EventID
	Struct
}

// Cluster is a cluster. It must not be changed.
type Cluster struct {
	ID         interaction.ClusterID
	Name       string
	Attributes map[interaction.AttributeID]Attribute
	Commands   []*Command
	Events     map[interaction.EventID]*Event
}

// global are the attributes that every cluster has.
var global = map[interaction.AttributeID]Attribute{
	0xfff8: {ID: 0xfff8, Name: "generatedCommandList", Type: Type{Kind: Unsigned, List: true}},
	0xfff9: {ID: 0xfff9, Name: "acceptedCommandList", Type: Type{Kind: Unsigned, List: true}},
	0xfffa: {ID: 0xfffa, Name: "eventList", Type: Type{Kind: Unsigned, List: true}},
	0xfffb: {ID: 0xfffb, Name: "attributeList", Type: Type{Kind: Unsigned, List: true}},
	0xfffc: {ID: 0xfffc, Name: "featureMap", Type: Type{Kind: Unsigned}},
	0xfffd: {ID: 0xfffd, Name: "clusterRevision", Type: Type{Kind: Unsigned}},
}

// Attribute is the attribute with an id.
func (c *Cluster) Attribute(id interaction.AttributeID) (Attribute, bool) {
	a, ok := c.Attributes[id]
	if !ok {
		a, ok = global[id]
	}
	return a, ok
}

// Command is the command with a name, in any spelling, or nil.
func (c *Cluster) Command(name string) *Command {
	plain := Plain(name)
	for _, k := range c.Commands {
		if Plain(k.Name) == plain {
			return k
		}
	}
	return nil
}

var known struct {
	once     sync.Once
	shared   map[string]*Struct
	sections map[interaction.ClusterID]string
	ids      []interaction.ClusterID

	mu      sync.Mutex
	decoded map[interaction.ClusterID]*Cluster
}

// index finds where in the table each cluster begins.
func index() {
	known.decoded = make(map[interaction.ClusterID]*Cluster)
	known.sections = make(map[interaction.ClusterID]string)
	shared, rest, _ := strings.Cut(table, "\n=")
	var none Cluster
	known.shared = none.decode(shared, nil)
	for more := true; more; {
		var section string
		section, rest, more = strings.Cut(rest, "\n=")
		number, section, _ := strings.Cut(section, " ")
		id, _ := strconv.ParseUint(number, 10, 32)
		known.sections[interaction.ClusterID(id)] = section
		known.ids = append(known.ids, interaction.ClusterID(id))
	}
}

// Of is the cluster with an id, or nil.
func Of(id interaction.ClusterID) *Cluster {
	known.once.Do(index)
	section, ok := known.sections[id]
	if !ok {
		return nil
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	c := known.decoded[id]
	if c == nil {
		name, lines, _ := strings.Cut(section, "\n")
		c = &Cluster{ID: id, Name: name, Attributes: make(map[interaction.AttributeID]Attribute), Events: make(map[interaction.EventID]*Event)}
		c.decode(lines, known.shared)
		known.decoded[id] = c
	}
	return c
}

// All are the ids of all clusters in order.
func All() []interaction.ClusterID {
	known.once.Do(index)
	return known.ids
}
