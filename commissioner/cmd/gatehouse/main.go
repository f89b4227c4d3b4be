// Binary gatehouse is a gateway: `gatehouse setup` founds a home, `gatehouse
// serve` runs the gateway, and the other commands talk to it over its unix
// socket.
//
// It exits with 0 when done, 1 when refused or failed, 2 on wrong usage and 3
// when no gateway is running.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"gatehouse/commissioner"
	"gatehouse/firmware/dcl"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNoDaemon = 3
)

// globals are the flags of every command.
type globals struct {
	State string `help:"Directory that holds the gateway's state." default:"/var/lib/gatehouse" env:"GATEHOUSE_STATE" type:"path"`
	JSON  bool   `name:"json" help:"Print JSON, one object a line."`
}

func (g *globals) socket() string { return filepath.Join(g.State, "gatehouse.sock") }

type cli struct {
	globals

	Setup    setupCmd     `cmd:"" help:"Found a home: make its keys, its first gateway and the recovery kit."`
	Import   importCmd    `cmd:"" help:"Take over the fabric of one of Home Assistant's Matter servers: its devices stay as they are known."`
	Serve    serveCmd     `cmd:"" help:"Run the gateway."`
	Status   statusCmd    `cmd:"" help:"Show the gateway."`
	Join     joinCmd      `cmd:"" help:"Show a code by which a gateway of a home lets this one in."`
	Gateways gatewaysCmds `cmd:"" help:"The home's gateways."`
	Fabric   fabricCmds   `cmd:"" help:"The home's root."`
	Seal     sealCmds     `cmd:"" help:"What the home's secrets are sealed with."`
	Mode     modeCmds     `cmd:"" help:"The gateway's pairing mode, as its button opens and cancels it."`
	Scan     scanCmd      `cmd:"" help:"List what is in pairing mode, on the network and over Bluetooth."`
	Pair     pairCmd      `cmd:"" help:"Pair a device."`
	Devices  devicesCmd   `cmd:"" help:"List the devices."`
	Device   deviceCmds   `cmd:"" help:"Control one device, given by name or node id."`
	Network  networkCmds  `cmd:"" help:"Say which networks devices are put on."`
	Trust    trustCmds    `cmd:"" help:"Say which makers' devices to trust."`
	Firmware firmwareCmds `cmd:"" help:"Say what software devices may run."`
	People   peopleCmds   `cmd:"" help:"Who may use the home."`
	Audit    auditCmds    `cmd:"" help:"What was decided, and that nobody has changed the record of it."`
	Kit      kitCmds      `cmd:"" help:"Check the recovery kit, or split it."`
	Backup   backupCmd    `cmd:"" help:"Back the home up to a file that only the recovery kit opens."`
	Restore  restoreCmd   `cmd:"" help:"Bring a home back that lost its gateways: from a backup, with the recovery kit, as a new gateway."`
	Radio    radioCmd     `cmd:"" help:"Run the Bluetooth radio for the gateway, which starts this itself."`
}

// clock is where every time in the program comes from. It is the system's; the
// tests' gateways have clocks that jump.
var clock = time.Now

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("gatehouse"), kong.Description("The gate of a Matter home."), kong.UsageOnError(), kong.Vars{"ledger": dcl.MainNet})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatehouse:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	return exitCode(&c.globals, k.Run(&c.globals))
}

// exitCode tells what went wrong and chooses the exit code for it.
func exitCode(g *globals, err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNoDaemon):
		report(g, commissioner.Failure{Code: "no-daemon", Message: "no gateway is running here",
			Remedy: fmt.Sprintf("start it with `gatehouse serve --state %s`", g.State)})
		return exitNoDaemon
	}
	report(g, *commissioner.Explain(err, commissioner.CodeInternal))
	return exitFailed
}
