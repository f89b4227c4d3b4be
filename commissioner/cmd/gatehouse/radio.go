package main

import (
	"context"
	"errors"
	"net"
	"os"

	"gatehouse/radio/ble"
	"gatehouse/radio/ble/goble"
)

// radioCmd is the process that all Bluetooth happens in. It may crash at any
// packet from the air, so it holds nothing but the adapter.
type radioCmd struct {
	HCI    string `name:"hci" help:"Bluetooth adapter." default:"hci0" placeholder:"hciN"`
	Listen string `help:"Unix socket to serve one gateway on. Standard input is the socket unless given." placeholder:"SOCKET" type:"path"`
}

func (c *radioCmd) Run(ctx context.Context) error {
	number, err := ble.ParseAdapter(c.HCI)
	if err != nil {
		return err
	}
	conn, err := c.gateway(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- goble.Run(conn, number) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// gateway is the socket to the gateway that this process serves.
func (c *radioCmd) gateway(ctx context.Context) (net.Conn, error) {
	if c.Listen == "" {
		conn, err := net.FileConn(os.Stdin)
		if err != nil {
			return nil, errors.New("standard input is no socket: gatehouse serve starts this command, or --listen names one")
		}
		return conn, nil
	}
	l, err := listenUnix(c.Listen) // whoever can write to the socket has the adapter
	if err != nil {
		return nil, err
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	return l.Accept()
}
