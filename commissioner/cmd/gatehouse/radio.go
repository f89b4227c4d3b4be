package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"gatehouse/radio/ble/goble"
)

// radioCmd is the process that all Bluetooth happens in. It may crash at any
// packet from the air, so it holds nothing but the adapter.
type radioCmd struct {
	HCI    string `name:"hci" help:"Bluetooth adapter." default:"hci0" placeholder:"hciN"`
	Listen string `help:"Unix socket to serve one gateway on. Standard input is the socket unless given." placeholder:"SOCKET" type:"path"`
}

func (c *radioCmd) Run(ctx context.Context) error {
	number, err := strconv.ParseUint(strings.TrimPrefix(c.HCI, "hci"), 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a Bluetooth adapter such as hci0", c.HCI)
	}
	conn, err := c.gateway(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- goble.Run(conn, int(number)) }()
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
	if err := os.Remove(c.Listen); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// Whoever can write to the socket has the adapter.
	mask := syscall.Umask(0o077)
	l, err := net.Listen("unix", c.Listen)
	syscall.Umask(mask)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	return l.Accept()
}
