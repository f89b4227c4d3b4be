// Binary gatehouse-air lets programs use Bluetooth Low Energy on a machine
// that has none, without root and unchanged: it runs them with emulated
// adapters that share one air.
//
//	gatehouse-air exec --hci 0=air -- PROGRAM ARGS
//	gatehouse-air serve --to unix:/tmp/air --control unix:/tmp/orders
//	gatehouse-air exec --hci 0=unix:/tmp/air -- PROGRAM ARGS
//
// The first gives one program an air of its own, with as many adapters as it
// is told; the others put several programs on one. A test makes the air worse
// while it runs by orders on the control socket, one JSON object a line: see
// Order.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"gatehouse/radio/radiotest/air"
	"gatehouse/radio/radiotest/hci"
)

// Exit codes. exec exits as its program does.
const (
	exitFailed = 1
	exitUsage  = 2
)

type cli struct {
	Exec  execCmd  `cmd:"" help:"Run a program with emulated Bluetooth adapters."`
	Serve serveCmd `cmd:"" help:"Share one air between programs."`
}

// airFlags say what the air of this process is like.
type airFlags struct {
	ConnDelay time.Duration `help:"How long a connection takes once the device was heard." default:"10ms"`
	ACLDelay  time.Duration `name:"acl-delay" help:"How long data takes, one way." default:"1ms"`
	Loss      float64       `help:"Probability that an advertising or connection event is lost."`
	Seed      uint64        `help:"What chance is drawn from." default:"1"`
	Control   string        `help:"Take orders here." placeholder:"unix:PATH"`
	Verbose   bool          `help:"Log what happens to standard error." short:"v"`
}

func (f *airFlags) air() *air.Air {
	a := air.New(f.Seed, time.Now)
	a.SetConditions(air.Conditions{Connect: f.ConnDelay, Latency: f.ACLDelay, Loss: f.Loss})
	return a
}

func (f *airFlags) log() *slog.Logger {
	if !f.Verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// takeOrders starts the control socket, if one is wanted.
func (f *airFlags) takeOrders(a *air.Air) error {
	if f.Control == "" {
		return nil
	}
	l, err := listen(f.Control)
	if err != nil {
		return err
	}
	go control(l, a)
	return nil
}

type execCmd struct {
	airFlags
	HCI     []string `name:"hci" help:"An adapter: its number, and air for this process's own or the address that another serves." placeholder:"N=air|unix:PATH" required:""`
	Program []string `arg:"" passthrough:"" help:"The program and its arguments."`
}

func (c *execCmd) Run(ctx context.Context) error {
	a, log := c.air(), c.log()
	devices := map[int]hci.Device{}
	for _, h := range c.HCI {
		number, where, _ := strings.Cut(h, "=")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return fmt.Errorf("adapter %q: its number is missing", h)
		}
		if devices[int(n)], err = device(a, where); err != nil {
			return fmt.Errorf("adapter %q: %w", h, err)
		}
	}
	if err := c.takeOrders(a); err != nil {
		return err
	}
	args := c.Program
	if args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("no program is given")
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends with us, however that is
	stop, err := hci.Emulate(cmd, devices, log)
	if err != nil {
		return err
	}
	defer stop()
	return cmd.Run()
}

// device is where an adapter's packets go.
func device(a *air.Air, where string) (hci.Device, error) {
	if where == "air" {
		c := a.Controller()
		return func() (hci.Controller, error) { return c.Open() }, nil
	}
	network, address, ok := strings.Cut(where, ":")
	if !ok || network != "unix" {
		return nil, errors.New("neither air nor unix:PATH")
	}
	return func() (hci.Controller, error) {
		conn, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		return hci.Stream(conn), nil
	}, nil
}

type serveCmd struct {
	airFlags
	To string `help:"Where programs find the air; each connection is a controller." placeholder:"unix:PATH" required:""`
}

func (c *serveCmd) Run(ctx context.Context) error {
	a, log := c.air(), c.log()
	if err := c.takeOrders(a); err != nil {
		return err
	}
	l, err := listen(c.To)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		go func() {
			port := free(a)
			log.Info("a host came", "controller", port.Controller().Address())
			err := hci.Join(hci.Stream(conn), port)
			log.Info("a host went", "controller", port.Controller().Address(), "err", err)
		}()
	}
}

// free opens the first controller that has no host, so that a program that
// comes back has the address it had.
func free(a *air.Air) *air.Port {
	for _, c := range a.Controllers() {
		if port, err := c.Open(); err == nil {
			return port
		}
	}
	for {
		if port, err := a.Controller().Open(); err == nil {
			return port
		}
	}
}

// listen opens a unix socket where another may have been left behind.
func listen(where string) (net.Listener, error) {
	path, ok := strings.CutPrefix(where, "unix:")
	if !ok {
		return nil, fmt.Errorf("%q is not unix:PATH", where)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

func main() {
	hci.Child()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("gatehouse-air"), kong.Description("Bluetooth Low Energy without Bluetooth, for tests."), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatehouse-air:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatehouse-air:", err)
		return exitFailed
	}
	return 0
}
