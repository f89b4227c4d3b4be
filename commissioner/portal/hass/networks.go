package hass

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
)

// Limits of what is kept: Matter Core 11.9, and ours.
const (
	maxSSID      = 32  // octets
	maxPassword  = 64  // octets
	maxDataset   = 254 // octets
	maxNetworkID = 64  // octets
)

// networkID is the id of credentials that a command is about.
func networkID(id *string) (string, error) {
	switch {
	case id == nil:
		return defaultNetwork, nil
	case *id == "" || len(*id) > maxNetworkID:
		return "", fail(InvalidArguments, "the id of credentials has 1 to %d octets", maxNetworkID)
	}
	return *id, nil
}

func (s *Server) setWiFi(ctx context.Context, c *call) (result, error) {
	var args struct {
		SSID     string  `json:"ssid"`
		Password string  `json:"credentials"`
		ID       *string `json:"id"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	id, err := networkID(args.ID)
	switch {
	case err != nil:
		return nil, err
	case args.SSID == "" || len(args.SSID) > maxSSID:
		return nil, fail(InvalidArguments, "an SSID has 1 to %d octets", maxSSID)
	case len(args.Password) > maxPassword:
		return nil, fail(InvalidArguments, "a password has at most %d octets", maxPassword)
	}
	if err := s.notKept(); err != nil {
		return nil, err
	}
	if args.Password == "" {
		same := func(n Network) bool { return n.ID == id && !n.Thread && n.SSID == args.SSID }
		if !slices.ContainsFunc(s.Networks.List(), same) {
			return nil, fail(InvalidArguments, "a new network needs its password")
		}
	} else if err := s.Networks.SetWiFi(ctx, id, args.SSID, args.Password); err != nil {
		return nil, err
	}
	s.infoChanged()
	return empty, nil
}

func (s *Server) setThread(ctx context.Context, c *call) (result, error) {
	var args struct {
		Dataset string  `json:"dataset"`
		ID      *string `json:"id"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	id, err := networkID(args.ID)
	if err != nil {
		return nil, err
	}
	dataset, err := hex.DecodeString(args.Dataset)
	if err != nil || len(dataset) == 0 || len(dataset) > maxDataset {
		// The error of the decoder would quote a secret.
		return nil, fail(InvalidArguments, "Invalid Thread operational dataset: it is 1 to %d octets in hex", maxDataset)
	}
	defer clear(dataset)
	if err := s.notKept(); err != nil {
		return nil, err
	}
	if err := s.Networks.SetThread(ctx, id, dataset); err != nil {
		return nil, err
	}
	s.infoChanged()
	return empty, nil
}

func (s *Server) removeWiFi(ctx context.Context, c *call) (result, error) {
	return s.removeNetwork(ctx, c, false)
}

func (s *Server) removeThread(ctx context.Context, c *call) (result, error) {
	return s.removeNetwork(ctx, c, true)
}

func (s *Server) removeNetwork(ctx context.Context, c *call, thread bool) (result, error) {
	var args struct {
		ID *string `json:"id"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	id, err := networkID(args.ID)
	if err != nil {
		return nil, err
	}
	if err := s.notKept(); err != nil {
		return nil, err
	}
	if err := s.Networks.Remove(ctx, id, thread); err != nil {
		return nil, err
	}
	s.infoChanged()
	return empty, nil
}

func (s *Server) credentials(context.Context, *call) (result, error) {
	type wifi struct {
		ID   string `json:"id"`
		SSID string `json:"ssid"`
	}
	type thread struct {
		ID       string `json:"id"`
		Name     string `json:"networkName,omitempty"`
		Extended string `json:"extPanId,omitempty"`
	}
	var answer struct {
		WiFi   []wifi   `json:"wifi"`
		Thread []thread `json:"thread"`
	}
	if s.Networks != nil {
		for _, n := range s.Networks.List() {
			if n.Thread {
				answer.Thread = append(answer.Thread, thread{n.ID, n.Name, fmt.Sprintf("%016X", n.ExtendedPANID)})
			} else {
				answer.WiFi = append(answer.WiFi, wifi{n.ID, n.SSID})
			}
		}
	}
	// The default is listed even where there is none.
	if !slices.ContainsFunc(answer.WiFi, func(n wifi) bool { return n.ID == defaultNetwork }) {
		answer.WiFi = append([]wifi{{ID: defaultNetwork}}, answer.WiFi...)
	}
	if !slices.ContainsFunc(answer.Thread, func(n thread) bool { return n.ID == defaultNetwork }) {
		answer.Thread = append([]thread{{ID: defaultNetwork}}, answer.Thread...)
	}
	return object(answer), nil
}
