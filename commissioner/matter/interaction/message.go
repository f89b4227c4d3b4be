// Package interaction is Matter's interaction model: read, write, invoke and
// subscribe, with events, timed requests, data version filters, chunks and
// batches, for both sides (Matter Core, chapters 8 and 10).
//
// It promises that what a peer sends is bounded before it is kept (MaxReport,
// MaxChunks) and that every path and status survives as the peer sent it. It
// knows no cluster: values are TLV, whose meaning datamodel knows.
package interaction

import (
	"fmt"

	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric/tlv"
)

// Opcodes of the protocol.
const (
	opStatusResponse    = 1
	opReadRequest       = 2
	opSubscribeRequest  = 3
	opSubscribeResponse = 4
	opReportData        = 5
	opWriteRequest      = 6
	opWriteResponse     = 7
	opInvokeRequest     = 8
	opInvokeResponse    = 9
	opTimedRequest      = 10
)

const revision = securechannel.InteractionModelRevision

type (
	EndpointID  uint16
	ClusterID   uint32
	AttributeID uint32
	CommandID   uint32
	EventID     uint32
)

// AttributePath names attributes; an absent part is a wildcard in a request.
type AttributePath struct {
	_              struct{}          `tlv:",list"`
	TagCompression bool              `tlv:"0,omitempty"`
	Node           *uint64           `tlv:"1"`
	Endpoint       *EndpointID       `tlv:"2"`
	Cluster        *ClusterID        `tlv:"3"`
	Attribute      *AttributeID      `tlv:"4"`
	ListIndex      *tlv.Null[uint16] `tlv:"5"`
	WildcardFlags  *uint32           `tlv:"6"`
}

// Attribute is the path of one attribute.
func Attribute(e EndpointID, c ClusterID, a AttributeID) AttributePath {
	return AttributePath{Endpoint: &e, Cluster: &c, Attribute: &a}
}

// Cluster is the path of all attributes of one cluster.
func Cluster(e EndpointID, c ClusterID) AttributePath {
	return AttributePath{Endpoint: &e, Cluster: &c}
}

func wild[T ~uint16 | ~uint32](id *T) string {
	if id == nil {
		return "*"
	}
	return fmt.Sprint(*id)
}

func (p AttributePath) String() string {
	return wild(p.Endpoint) + "/" + wild(p.Cluster) + "/" + wild(p.Attribute)
}

// Concrete reports whether the path has no wildcard.
func (p AttributePath) Concrete() bool {
	return p.Endpoint != nil && p.Cluster != nil && p.Attribute != nil
}

// appends reports whether the path means a new item of a list.
func (p AttributePath) appends() bool { return p.ListIndex != nil && !p.ListIndex.Valid }

type ClusterPath struct {
	_        struct{}    `tlv:",list"`
	Node     *uint64     `tlv:"0"`
	Endpoint *EndpointID `tlv:"1"`
	Cluster  *ClusterID  `tlv:"2"`
}

// EventPath names events; an absent part is a wildcard in a request.
type EventPath struct {
	_        struct{}    `tlv:",list"`
	Node     *uint64     `tlv:"0"`
	Endpoint *EndpointID `tlv:"1"`
	Cluster  *ClusterID  `tlv:"2"`
	Event    *EventID    `tlv:"3"`
	Urgent   *bool       `tlv:"4"`
}

func (p EventPath) String() string {
	return wild(p.Endpoint) + "/" + wild(p.Cluster) + "/" + wild(p.Event)
}

type CommandPath struct {
	_        struct{}    `tlv:",list"`
	Endpoint *EndpointID `tlv:"0"` // absent: every endpoint with the cluster
	Cluster  ClusterID   `tlv:"1"`
	Command  CommandID   `tlv:"2"`
}

// Command is the path of one command.
func Command(e EndpointID, c ClusterID, id CommandID) CommandPath {
	return CommandPath{Endpoint: &e, Cluster: c, Command: id}
}

func (p CommandPath) String() string {
	return fmt.Sprintf("%s/%d/%d", wild(p.Endpoint), p.Cluster, p.Command)
}

// StatusIB is a status as messages carry it.
type StatusIB struct {
	Status  Status `tlv:"0"`
	Cluster *uint8 `tlv:"1"` // the cluster's own code
}

type AttributeData struct {
	DataVersion *uint32       `tlv:"0"`
	Path        AttributePath `tlv:"1"`
	Data        tlv.Raw       `tlv:"2"`
}

type AttributeStatus struct {
	Path   AttributePath `tlv:"0"`
	Status StatusIB      `tlv:"1"`
}

type attributeReport struct {
	Status *AttributeStatus `tlv:"0"`
	Data   *AttributeData   `tlv:"1"`
}

// DataVersionFilter spares us a cluster that we know in this version.
type DataVersionFilter struct {
	Path    ClusterPath `tlv:"0"`
	Version uint32      `tlv:"1"`
}

// EventFilter spares us the events below a number.
type EventFilter struct {
	Node *uint64 `tlv:"0"`
	Min  uint64  `tlv:"1"`
}

// Event is something that happened on a device.
type Event struct {
	Path        EventPath `tlv:"0"`
	Number      uint64    `tlv:"1"`
	Priority    uint8     `tlv:"2"` // 0 debug, 1 info, 2 critical
	Epoch       *uint64   `tlv:"3"` // ms since 1970
	System      *uint64   `tlv:"4"` // ms since the device's start
	DeltaEpoch  *uint64   `tlv:"5"`
	DeltaSystem *uint64   `tlv:"6"`
	Data        tlv.Raw   `tlv:"7,omitempty"`
}

type EventStatus struct {
	Path   EventPath `tlv:"0"`
	Status StatusIB  `tlv:"1"`
}

type eventReport struct {
	Status *EventStatus `tlv:"0"`
	Data   *Event       `tlv:"1"`
}

// ReadRequest says what to read.
type ReadRequest struct {
	Attributes     []AttributePath     `tlv:"0,omitempty"`
	Events         []EventPath         `tlv:"1,omitempty"`
	EventFilters   []EventFilter       `tlv:"2,omitempty"`
	FabricFiltered bool                `tlv:"3"`
	DataVersions   []DataVersionFilter `tlv:"4,omitempty"`
	Revision       uint8               `tlv:"255,omitempty"`
}

// SubscribeRequest says what to read now and whenever it changes.
type SubscribeRequest struct {
	Keep           bool                `tlv:"0"` // leave our other subscriptions alone
	MinInterval    uint16              `tlv:"1"` // s
	MaxInterval    uint16              `tlv:"2"` // s
	Attributes     []AttributePath     `tlv:"3,omitempty"`
	Events         []EventPath         `tlv:"4,omitempty"`
	EventFilters   []EventFilter       `tlv:"5,omitempty"`
	FabricFiltered bool                `tlv:"7"`
	DataVersions   []DataVersionFilter `tlv:"8,omitempty"`
	Revision       uint8               `tlv:"255,omitempty"`
}

type subscribeResponse struct {
	ID          uint32 `tlv:"0"`
	MaxInterval uint16 `tlv:"2"`
	Revision    uint8  `tlv:"255,omitempty"`
}

type reportData struct {
	Subscription     *uint32           `tlv:"0"`
	Attributes       []attributeReport `tlv:"1,omitempty"`
	Events           []eventReport     `tlv:"2,omitempty"`
	More             bool              `tlv:"3,omitempty"`
	SuppressResponse bool              `tlv:"4,omitempty"`
	Revision         uint8             `tlv:"255,omitempty"`
}

type writeRequest struct {
	SuppressResponse bool            `tlv:"0,omitempty"`
	Timed            bool            `tlv:"1"`
	Writes           []AttributeData `tlv:"2"`
	More             bool            `tlv:"3,omitempty"`
	Revision         uint8           `tlv:"255,omitempty"`
}

type writeResponse struct {
	Statuses []AttributeStatus `tlv:"0"`
	Revision uint8             `tlv:"255,omitempty"`
}

type commandData struct {
	Path   CommandPath `tlv:"0"`
	Fields tlv.Raw     `tlv:"1,omitempty"`
	Ref    *uint16     `tlv:"2"`
}

type commandStatus struct {
	Path   CommandPath `tlv:"0"`
	Status StatusIB    `tlv:"1"`
	Ref    *uint16     `tlv:"2"`
}

type invokeRequest struct {
	SuppressResponse bool          `tlv:"0"`
	Timed            bool          `tlv:"1"`
	Commands         []commandData `tlv:"2"`
	Revision         uint8         `tlv:"255,omitempty"`
}

type commandResponse struct {
	Data   *commandData   `tlv:"0"`
	Status *commandStatus `tlv:"1"`
}

type invokeResponse struct {
	SuppressResponse bool              `tlv:"0"`
	Responses        []commandResponse `tlv:"1,omitempty"`
	More             bool              `tlv:"2,omitempty"`
	Revision         uint8             `tlv:"255,omitempty"`
}

type statusResponse struct {
	Status   Status `tlv:"0"`
	Revision uint8  `tlv:"255,omitempty"`
}

type timedRequest struct {
	Timeout  uint16 `tlv:"0"` // ms
	Revision uint8  `tlv:"255,omitempty"`
}
