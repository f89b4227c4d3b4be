package hass

import (
	"context"
	"strings"
	"unicode/utf8"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// OperationalCredentials and Binding, as far as they are used here.
const (
	fabricsAttribute                        = interaction.AttributeID(1)
	ownIndexAttribute                       = interaction.AttributeID(5)
	removeFabricID    interaction.CommandID = 10
	binding           interaction.ClusterID = 30
	bindingList                             = interaction.AttributeID(0)
)

// shorten cuts a string to at most n octets, between characters.
func shorten(s string, n int) string {
	s = strings.TrimSpace(s)
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// fabricOn is a fabric that a node is on.
type fabricOn struct {
	Vendor uint16        `tlv:"2"`
	Fabric cert.FabricID `tlv:"3"`
	Node   cert.NodeID   `tlv:"4"`
	Label  string        `tlv:"5"`
	Index  uint8         `tlv:"254"`
}

// fabricsOf asks a node for all that it is on.
func (s *Server) fabricsOf(ctx context.Context, n *Node) (found []fabricOn, err error) {
	path := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, fabricsAttribute)
	report, err := s.Home.Read(ctx, n.ID, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}})
	if err != nil {
		return nil, err
	}
	return found, report.Decode(path, &found)
}

func (s *Server) fabrics(ctx context.Context, c *call) (result, error) {
	n, err := s.node(c)
	if err != nil {
		return nil, err
	}
	found, err := s.fabricsOf(ctx, n)
	if err != nil {
		return nil, err
	}
	type member struct {
		Fabric     cert.FabricID `json:"fabric_id"`
		Vendor     uint16        `json:"vendor_id"`
		Index      uint8         `json:"fabric_index"`
		Label      string        `json:"fabric_label"`
		VendorName string        `json:"vendor_name,omitempty"`
	}
	list := []member{}
	for _, f := range found {
		list = append(list, member{f.Fabric, f.Vendor, f.Index, f.Label, s.vendorName(f.Vendor)})
	}
	return object(list), nil
}

func (s *Server) removeFabric(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Index *uint8 `json:"fabric_index"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Index == nil {
		return nil, fail(InvalidArguments, "remove_matter_fabric needs a fabric_index")
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	var w tlv.Writer
	w.Struct(tlv.Anonymous)
	w.Uint(tlv.Context(0), uint64(*args.Index))
	w.End()
	if err := s.staysOn(ctx, n.ID, w.Bytes()); err != nil {
		return nil, err
	}
	r, err := s.Home.Invoke(ctx, n.ID, 0, interaction.Invocation{Path: interaction.Command(datamodel.RootEndpoint, datamodel.OperationalCredentials, removeFabricID), Fields: tlv.Raw(w.Bytes())})
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status uint8 `tlv:"0"`
	}
	if err := r.Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != 0 {
		return nil, fail(SDKStack, "the device does not remove the fabric: its status is %d", answer.Status)
	}
	return empty, nil
}

// staysOn refuses a RemoveFabric that would take the home's own fabric off a
// device behind the home's back.
func (s *Server) staysOn(ctx context.Context, n cert.NodeID, fields tlv.Raw) error {
	var args struct {
		Index uint8 `tlv:"0"`
	}
	path := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, ownIndexAttribute)
	report, err := s.Home.Read(ctx, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}})
	if err != nil {
		return err
	}
	var own uint8
	if err := report.Decode(path, &own); err != nil {
		return err
	}
	if tlv.Unmarshal(fields, &args) != nil || args.Index == own {
		return fail(InvalidArguments, "fabric %d is this home's own: remove_node takes the device out of the home", own)
	}
	return nil
}

// setStatus is what came of a list that was set.
type setStatus struct {
	Path struct {
		Endpoint  interaction.EndpointID  `json:"endpoint_id"`
		Cluster   interaction.ClusterID   `json:"cluster_id"`
		Attribute interaction.AttributeID `json:"attribute_id"`
	} `json:"path"`
	Status interaction.Status `json:"status"`
}

// setList writes a list of a cluster's as a client gives it.
func (s *Server) setList(ctx context.Context, n cert.NodeID, p Path, list []any) (result, error) {
	a, _ := names.Of(p.Cluster).Attribute(p.Attribute)
	if list == nil {
		return nil, fail(InvalidArguments, "there is no list to write to %v", p)
	}
	for _, entry := range list {
		if fields, ok := entry.(map[string]any); ok && p.Cluster == binding {
			for key, v := range fields {
				if v == nil {
					delete(fields, key)
				}
			}
		}
	}
	value, err := encodeValue(list, a.Type)
	if err != nil {
		return nil, err
	}
	status, err := s.write(ctx, n, p, 0, value)
	if err != nil {
		return nil, err
	}
	var answer setStatus
	answer.Path.Endpoint, answer.Path.Cluster, answer.Path.Attribute, answer.Status = p.Endpoint, p.Cluster, p.Attribute, status
	return object([]setStatus{answer}), nil
}

func (s *Server) setACL(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Entries []any `json:"entry"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	return s.setList(ctx, n.ID, Path{datamodel.RootEndpoint, datamodel.AccessControl, datamodel.AccessControlACL}, args.Entries)
}

// keepsAdministrator refuses an access control list that would lock the home's
// gateways out.
func (s *Server) keepsAdministrator(value tlv.Raw) error {
	var entries []datamodel.ACLEntry
	if err := tlv.Unmarshal(value, &entries); err != nil {
		return fail(InvalidArguments, "the access control list makes no sense: %v", err)
	}
	admin := s.Home.Identity().Administrator
	for _, e := range entries {
		if e.Privilege != datamodel.Administer || e.AuthMode != datamodel.AuthCASE || e.Targets.Valid || !e.Subjects.Valid {
			continue
		}
		for _, subject := range e.Subjects.Value {
			if cert.NodeID(subject) == admin {
				return nil
			}
		}
	}
	return fail(InvalidArguments, "the access control list has no entry by which this home administers the device: privilege 5, auth_mode 2, subject %d, no targets", uint64(admin))
}

func (s *Server) setBinding(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Endpoint interaction.EndpointID `json:"endpoint"`
		Bindings []any                  `json:"bindings"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	return s.setList(ctx, n.ID, Path{args.Endpoint, binding, bindingList}, args.Bindings)
}
