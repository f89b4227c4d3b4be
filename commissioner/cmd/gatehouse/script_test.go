package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/udp"
)

func TestMain(m *testing.M) {
	keyWork = 2
	testscript.Main(m, map[string]func(){
		"gatehouse":        main,
		"gatehouse-adrift": adrift,
		"light":            light,
		"listener":         listener,
	})
}

// light is a virtual light that writes its test roots to trust/ and its code
// to code, and runs until it is ended.
func light() {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	maker := attesttest.New("scripts")
	check(os.MkdirAll("trust", 0o700))
	check(os.WriteFile("trust/paa.der", maker.PAA(), 0o600))
	check(os.WriteFile("trust/signer.der", maker.Signer(), 0o600))
	link, err := udp.Listen(udp.Config{})
	check(err)
	discovery, err := dnssd.Open(dnssd.Config{Interfaces: []string{"lo"}, Now: time.Now, Rand: rand.Reader})
	check(err)
	passcode, err := setup.RandomPasscode(rand.Reader)
	check(err)
	var b [2]byte
	rand.Read(b[:])
	code := setup.Payload{VendorID: 0xFFF1, ProductID: 0x8001, Passcode: passcode, Discriminator: setup.Long(uint16(b[0])<<8 | uint16(b[1]))}
	d, err := virtual.New(virtual.Config{Name: "Lamp", Code: code, SerialNumber: "S1", Software: 7, SoftwareText: "7.0", Maker: maker,
		Link: mutable{link}, Port: link.LocalAddr().Port(), Discovery: discovery, Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	check(err)
	check(d.Start())
	qr, err := code.QR()
	check(err)
	check(os.WriteFile("code.new", []byte(qr+"\n"), 0o600))
	check(os.Rename("code.new", "code"))
	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGTERM, os.Interrupt)
	<-done
	d.Close()
	discovery.Close()
}

// mutable is a link over which nothing goes out while there is a file called
// mute.
type mutable struct{ *udp.Link }

func (m mutable) Send(to radio.Addr, b []byte) error {
	if _, err := os.Stat("mute"); err == nil {
		return nil
	}
	return m.Link.Send(to, b)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			// A unix socket's path must be short, and a test's is not.
			state, err := os.MkdirTemp("", "gh")
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(state) })
			e.Values[boxesOf{}] = boxes{}
			e.Setenv("STATE", state)
			e.Setenv("GATEHOUSE_STATE", filepath.Join(state, "s"))
			e.Setenv("GATEHOUSE_TPM", "none") // not this machine's
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfile": waitFile, "waitgateway": waitGateway, "codeto": codeTo, "canary": canary, "answers": answers, "keysleak": keysLeak, "lacks": lacksText, "exits": exits,
			"waitfor": waitFor, "waitrefused": waitRefused, "join": join, "joined": joined, "repository": repository, "image": image, "signkeysleak": signKeysLeak, "auditproofs": auditProofs, "browser": browser, "pages": pages, "secretto": secretTo,
			"oldserver": oldServer(t),
		},
	})
}

// patience bounds every wait of a script.
const patience = time.Minute

func wait(ts *testscript.TestScript, what string, ready func() bool) {
	for end := time.Now().Add(patience); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s: waited in vain", what)
		}
	}
}

// waitFile waits until a file is there.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	wait(ts, args[0], func() bool { _, err := os.Stat(ts.MkAbs(args[0])); return err == nil })
}

// waitGateway waits until the gateway is ready.
func waitGateway(ts *testscript.TestScript, _ bool, args []string) {
	wait(ts, "gateway", func() bool { return ts.Exec("gatehouse", append([]string{"status"}, args...)...) == nil })
}

// waitFor runs a program until what it prints matches.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[0])
	wait(ts, args[0], func() bool { return ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout")) })
}

// waitRefused runs a program until it is refused as it should be. It must not
// succeed before.
func waitRefused(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[0])
	wait(ts, args[0], func() bool {
		if ts.Exec(args[1], args[2:]...) == nil {
			ts.Fatalf("%v: not refused", args[1:])
		}
		return pattern.MatchString(ts.ReadFile("stderr"))
	})
}

// boxes are the gateways of a script that are about to join: scripts run side by
// side.
type (
	boxes   map[string]*exec.Cmd
	boxesOf struct{}
)

// join runs gatehouse join on a fresh gateway, and puts the code it shows into
// a variable.
func join(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	bin, err := exec.LookPath("gatehouse")
	ts.Check(err)
	cmd := exec.Command(bin, "join", "--state", filepath.Join(ts.Getenv("STATE"), name), "--name", name, "--interface", "lo", "--json")
	cmd.Env = append(os.Environ(), "GATEHOUSE_TPM=none")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { cmd.Process.Kill() })
	var shown struct{ QR string }
	ts.Check(json.NewDecoder(out).Decode(&shown))
	ts.Setenv(args[1], shown.QR)
	ts.Value(boxesOf{}).(boxes)[name] = cmd
}

// joined waits until a gateway has joined.
func joined(ts *testscript.TestScript, _ bool, args []string) {
	ended, cmd := make(chan error, 1), ts.Value(boxesOf{}).(boxes)[args[0]]
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		ts.Check(err)
	case <-time.After(patience):
		ts.Fatalf("%s does not join", args[0])
	}
}

// codeTo puts the light's code, which may be in another file, into a variable.
func codeTo(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(append(args, "code")[1]))
	ts.Check(err)
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Scan()
	ts.Setenv(args[0], s.Text())
}

// exits runs gatehouse and holds its exit code against the first argument.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("gatehouse", args[1:]...)
	var e *exec.ExitError
	if !errors.As(err, &e) || fmt.Sprint(e.ExitCode()) != args[0] {
		ts.Fatalf("gatehouse %v: %v, not exit status %s", args[1:], err, args[0])
	}
}
