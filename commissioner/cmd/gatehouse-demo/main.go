// Binary gatehouse-demo shows Gatehouse's main job on one machine: it starts a
// gateway and two virtual lights on loopback, pairs both by setup code,
// switches one, shows the inventory and stops everything.
//
//	gatehouse-demo BIN   (the directory with gatehouse and gatehouse-virtual)
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// limit is how long all of it may take.
const limit = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, os.Args[1:])
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: gatehouse-demo BIN")
	}
	dir, err := os.MkdirTemp("", "gatehouse-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{bin: args[0], dir: dir}
	return d.run(ctx)
}

type demo struct{ bin, dir string }

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) run(ctx context.Context) error {
	fmt.Println("== A home is founded: root key, issuing key, the gateway's own certificate, recovery kit.")
	if err := os.WriteFile(d.path("passphrase"), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	if err := d.gatehouse(ctx, "", "setup", "--name", "demo home", "--kit", d.path("kit.age"), "--passphrase-file", d.path("passphrase")); err != nil {
		return err
	}
	fmt.Println("\n== The gateway and two virtual lights start, on loopback.")
	log, err := os.Create(d.path("gateway.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	gateway, err := start(d.command(ctx, "gatehouse", "serve", "--state", d.path("state"), "--interface", "lo"), log)
	if err != nil {
		return err
	}
	defer gateway.end()
	lights, err := start(d.command(ctx, "gatehouse-virtual", "--count", "2", "--name", "Lamp", "--interface", "lo", "--trust-out", d.path("trust")), os.Stderr)
	if err != nil {
		return err
	}
	defer lights.end()
	codes, err := lights.codes(2)
	if err != nil {
		return err
	}
	if err := d.waitForGateway(ctx, gateway); err != nil {
		return err
	}
	fmt.Println("\n== The lights' maker is a test one: it is trusted under an exception that ends.")
	for _, args := range [][]string{{"trust", "import", "--test", d.path("trust")}, {"trust", "except", "demo", "--for", "1h"}} {
		if err := d.gatehouse(ctx, "", args...); err != nil {
			return err
		}
	}
	for i, c := range codes {
		fmt.Printf("\n== Pairing %s with the code %s\n", c.Ready, c.code(i))
		if err := d.gatehouse(ctx, c.code(i)+"\n", "pair", "-", "--name", c.Ready); err != nil {
			return err
		}
	}
	fmt.Println("\n== Lamp 1 is switched on, and says so.")
	for _, args := range [][]string{{"device", "invoke", "Lamp 1", "1/6/1"}, {"device", "read", "Lamp 1", "1/6/0"}} {
		if err := d.gatehouse(ctx, "", args...); err != nil {
			return err
		}
	}
	if err := lights.switched("Lamp 1", true); err != nil {
		return err
	}
	fmt.Println("\n== The inventory.")
	if err := d.gatehouse(ctx, "", "devices"); err != nil {
		return err
	}
	fmt.Println("\n== Everything stops.")
	return nil
}

func (d *demo) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(d.bin, program), args...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second
	return c
}

// gatehouse runs one command as a person would, showing it.
func (d *demo) gatehouse(ctx context.Context, input string, args ...string) error {
	fmt.Println("$ gatehouse", strings.ReplaceAll(strings.Join(args, " "), d.dir+"/", ""))
	c := d.command(ctx, "gatehouse", append([]string{"--state", d.path("state")}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("gatehouse %s: %w", args[0], err)
	}
	return nil
}

// waitForGateway asks until the gateway answers.
func (d *demo) waitForGateway(ctx context.Context, gateway *process) error {
	for {
		if d.command(ctx, "gatehouse", "--state", d.path("state"), "status").Run() == nil {
			return nil
		}
		select {
		case <-gateway.ended:
			log, _ := os.ReadFile(d.path("gateway.log"))
			return fmt.Errorf("the gateway ended:\n%s", log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// process is a program that runs meanwhile.
type process struct {
	cmd   *exec.Cmd
	out   *io.PipeReader
	lines *bufio.Scanner
	ended chan struct{}
}

// start starts a program; what it says to people goes to stderr.
func start(c *exec.Cmd, stderr io.Writer) (*process, error) {
	out, in := io.Pipe()
	p := &process{cmd: c, out: out, lines: bufio.NewScanner(out), ended: make(chan struct{})}
	c.Stdout, c.Stderr = in, stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.Wait()
		in.Close()
		close(p.ended)
	}()
	return p, nil
}

// end stops the process and waits for it.
func (p *process) end() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, p.out)
	<-p.ended
}

// line is what gatehouse-virtual prints.
type line struct {
	Ready, QR, Manual string
	Switched          string
	On                bool
}

// code is the QR code of the first light and the manual code of the others.
func (l line) code(i int) string {
	if i == 0 {
		return l.QR
	}
	return l.Manual
}

func (p *process) next() (l line, err error) {
	if !p.lines.Scan() {
		return l, errors.New("the virtual lights ended")
	}
	return l, json.Unmarshal(p.lines.Bytes(), &l)
}

func (p *process) codes(n int) (codes []line, err error) {
	for len(codes) < n {
		l, err := p.next()
		if err != nil {
			return nil, err
		}
		if l.Ready != "" {
			codes = append(codes, l)
		}
	}
	return codes, nil
}

// switched waits until a light says that it was switched.
func (p *process) switched(name string, on bool) error {
	for {
		l, err := p.next()
		if err != nil {
			return err
		}
		if l.Switched == name && l.On == on {
			fmt.Printf("%s shines\n", name)
			return nil
		}
	}
}
