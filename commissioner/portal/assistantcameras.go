package portal

import (
	"context"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// assistantCameras are the home's cameras as Home Assistant's API wants them.
type assistantCameras struct {
	p *Portal
	*webrtc.Requestor
}

func (assistantCameras) Endpoint() interaction.EndpointID { return webrtc.Endpoint }

// Ask asks from this gateway, whoever owns the camera: it calls back the node
// that asked it.
func (a assistantCameras) Ask(ctx context.Context, n cert.NodeID, e interaction.EndpointID, c interaction.CommandID, fields tlv.Raw) (interaction.CommandResult, error) {
	return a.Requestor.Ask(n, e, c, fields, func() (interaction.CommandResult, error) {
		return a.p.K.Invoke(ctx, n, 0, interaction.Invocation{Path: interaction.Command(e, datamodel.WebRTCProvider, c), Fields: fields})
	})
}
