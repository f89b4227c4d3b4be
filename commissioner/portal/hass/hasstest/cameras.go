package hasstest

import (
	"context"
	"sync"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Session is the id that every camera gives.
const Session = 7

// Asked is what a camera was asked.
type Asked struct {
	Node     cert.NodeID
	Endpoint interaction.EndpointID
	Command  interaction.CommandID
	Fields   tlv.Raw
}

// Cameras implements hass.Cameras: every node is a camera.
type Cameras struct {
	Home *Home

	mu      sync.Mutex
	refusal error
	asked   []Asked
	ended   []uint16
	see     func(webrtc.Callback)
}

// Refuse has cameras answer with an error, or not.
func (c *Cameras) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusal = err
}

// Asked are the requests so far, and the sessions that clients ended.
func (c *Cameras) Asked() ([]Asked, []uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.ended
}

// Say has a camera say something.
func (c *Cameras) Say(b webrtc.Callback) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.see(b)
}

// Endpoint implements hass.Cameras.
func (c *Cameras) Endpoint() interaction.EndpointID { return 9 }

// Ask implements hass.Cameras.
func (c *Cameras) Ask(_ context.Context, n cert.NodeID, e interaction.EndpointID, id interaction.CommandID, fields tlv.Raw) (r interaction.CommandResult, err error) {
	if _, err := c.Home.device(n); err != nil {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal != nil {
		return r, c.refusal
	}
	c.asked = append(c.asked, Asked{n, e, id, fields})
	r.Fields, err = tlv.Marshal(&datamodel.WebRTCProvideOfferResponse{Session: Session})
	return r, err
}

// Ended implements hass.Cameras.
func (c *Cameras) Ended(_ cert.NodeID, id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, id)
}

// Watch implements hass.Cameras.
func (c *Cameras) Watch(see func(webrtc.Callback)) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.see = see
	return func() {}
}

var _ hass.Cameras = (*Cameras)(nil)
