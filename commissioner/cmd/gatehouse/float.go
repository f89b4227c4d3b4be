package main

import (
	"context"
	"log/slog"

	"gatehouse/cluster/member"
	"gatehouse/radio/dnssd"
)

// noName is the --name of a gateway that has none but its own.
const noName = "none"

// float has the home found under one host name, whichever gateway leads: the
// one that does answers to it, until ctx ends.
func float(ctx context.Context, m *member.Member, discovery *dnssd.Conn, name string, log *slog.Logger) {
	if name == noName {
		return
	}
	var held *dnssd.Registration
	for changed := m.Watch(ctx); ; {
		switch leads := m.Leads(); {
		case leads && held == nil:
			var err error
			if held, err = discovery.Alias(name); err != nil {
				log.Warn("the home's host name is not announced", "err", err)
			}
		case !leads && held != nil:
			held.Close()
			held = nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return // discovery says goodbye when it ends
		}
	}
}
