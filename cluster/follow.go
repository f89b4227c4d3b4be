package cluster

import (
	"context"
	"net/http"

	"gatehouse/fabric"
)

// forward has the leader apply a command, and waits until it is applied here
// too.
func (c *Cluster) forward(ctx context.Context, cmd fabric.Command) (*fabric.State, error) {
	cmd.Version = cmd.Needs()
	data, err := encodeCommand(&cmd)
	if err != nil {
		return c.State(), &fabric.Refusal{Code: fabric.CodeInvalid, Reason: err.Error()}
	}
	v, err := c.ask(ctx, c.Leader(), http.MethodPost, pathPropose, data)
	if err != nil {
		return nil, err
	}
	s, err := c.reached(ctx, v.Index)
	if err == nil && v.Code != "" {
		err = &fabric.Refusal{Code: v.Code, Reason: v.Reason}
	}
	return s, err
}

// follow asks the leader how far the trust state has come, and waits until
// this gateway has come as far.
func (c *Cluster) follow(ctx context.Context) (*fabric.State, error) {
	v, err := c.ask(ctx, c.Leader(), http.MethodGet, pathRead, nil)
	if err != nil {
		return nil, err
	}
	return c.reached(ctx, v.Index)
}
