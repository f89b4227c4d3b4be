package main

import (
	"context"
	"fmt"

	"gatehouse/commissioner"
	"gatehouse/commissioner/interop/lab"
)

// bluetooth measures pairings of the same light over Bluetooth and over IP, in
// turns. The air takes 10 ms to connect and 1 ms for each packet; the network
// that the light is put on is there at once. Of matter.js's own are up to a
// second in which it stops its Bluetooth before it answers
// CommissioningComplete.
func (b *run) bluetooth(ctx context.Context) error {
	n, err := lab.NewNet()
	if err != nil {
		return err
	}
	defer n.Close()
	air, err := n.Air(ctx, b.airBin)
	if err != nil {
		return err
	}
	s := &site{net: n}
	if s.gateHost, err = n.Host("gate"); err != nil {
		return err
	}
	if s.gateway, err = s.gateHost.GatewayOn(ctx, air, b.bin); err != nil {
		return err
	}
	s.api = newAPI(s.gateway.Socket())
	if err := s.gateway.AddNetwork(ctx, "wifi", lab.SSID, lab.Password); err != nil {
		return err
	}
	var complete, returned [2]sample
	steps := [2]map[string]sample{{}, {}}
	for i := range b.pairings {
		for j, over := range []*lab.Air{air, nil} {
			p, err := s.fresh(ctx, over, 2*i+j)
			if err != nil {
				return err
			}
			complete[j], returned[j] = append(complete[j], p.complete), append(returned[j], p.returned)
			for _, step := range commissioner.Steps() {
				steps[j][step] = append(steps[j][step], p.steps[step])
			}
		}
	}
	fmt.Println()
	row(fmt.Sprintf("one pairing by gatehouse: median (least) of %d", b.pairings), "over Bluetooth", "over IP", "")
	row("scan to CommissioningComplete", complete[0].String(), complete[1].String(), "")
	for _, step := range commissioner.Steps() {
		row("  "+step, ms(steps[0][step].median()), ms(steps[1][step].median()), "")
	}
	row("until the caller is told", returned[0].String(), returned[1].String(), "")
	return nil
}

// fresh lets the gateway pair a light that is started for it, over Bluetooth if
// there is an air.
func (s *site) fresh(ctx context.Context, air *lab.Air, number int) (paired, error) {
	light, err := s.net.BluetoothLight(ctx, air, fmt.Sprintf("light%d", number), number, "")
	if err != nil {
		return paired{}, err
	}
	defer light.Kill()
	return s.gatehousePairs(ctx, light)
}
