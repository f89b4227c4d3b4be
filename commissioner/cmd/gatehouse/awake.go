package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"gatehouse/cluster/wire"
	"gatehouse/commissioner/keeper"
	"gatehouse/fabric/cert"
)

// awakePath is where a gateway is told that a device of its has checked in with
// another one.
const awakePath = "/awake/"

// mostAwake bounds what a gateway answers to that, which is nothing.
const mostAwake = 1 << 10

// handOver has check-ins reach whoever looks after the device. A gateway that
// does not, or not yet, says so, and is asked again.
func (g *gateway) handOver(k *keeper.Keeper) {
	k.HandOver(func(ctx context.Context, owner, n cert.NodeID) error {
		status, _, err := wire.Ask(ctx, g.Client, owner, http.MethodPost, awakePath+n.String(), nil, mostAwake)
		if err == nil && status != http.StatusNoContent {
			err = fmt.Errorf("gateway %v answers with status %d", owner, status)
		}
		return err
	})
	g.Handle("POST "+awakePath+"{device}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseUint(r.PathValue("device"), 16, 64)
		if err != nil || !k.Woke(cert.NodeID(n)) {
			http.Error(w, "this gateway does not look after it", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}
