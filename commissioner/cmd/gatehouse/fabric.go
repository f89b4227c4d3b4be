package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric/cert"
)

type fabricCmds struct {
	Show   fabricShowCmd   `cmd:"" default:"1" help:"Show the root, and how far a change of it is."`
	Reroot fabricRerootCmd `cmd:"" help:"Give the home another root and move every device to it, as after the authority's key was taken. Run again, it shows how far it is."`
}

type fabricShowCmd struct{}

func (*fabricShowCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "fabric", nil, showFabric)
}

func showFabric(f portal.Fabric) {
	fmt.Printf("home %s, fabric %s\n  root %s, compressed fabric id %s, generation %d\n", f.Home, f.FabricID, f.Root, f.Compressed, f.Generation)
	if f.Reroot == nil {
		fmt.Printf("  %s\n", count(f.Devices, "device"))
	} else {
		showProgress(f)
		showStragglers(f.Reroot.Stragglers)
	}
	showStragglers(f.Kept)
}

func showProgress(f portal.Fabric) {
	fmt.Printf("  devices are moved from root %s since %s: %d of %d moved, %d of them have the former fabric still\n", f.Reroot.FormerRoot,
		f.Reroot.Since.Local().Format(time.DateTime), f.Reroot.Moved, f.Devices, len(f.Kept))
	if f.Reroot.Moved == f.Devices && len(f.Kept) == 0 {
		fmt.Println("  it ends as soon as no gateway is away; one that will not come back has to be evicted")
	}
}

var moveStates = map[string]string{"former": "not moved", "in-doubt": "perhaps moved", "moved": "moved, has the former fabric still"}

func showStragglers(list []portal.Straggler) {
	for _, v := range list {
		fmt.Printf("  %s  %s: %s", v.Node, v.Name, moveStates[v.State])
		switch {
		case v.Failure != nil:
			fmt.Printf(", since %s: %s [%s]\n      what to do: %s\n", v.Since.Local().Format(time.DateTime), v.Failure.Error(), v.Failure.Code, v.Failure.Remedy)
		default:
			fmt.Printf("; its gateway %s has not told why\n", v.Owner)
		}
	}
}

type fabricRerootCmd struct {
	Kit            string `help:"File of the new recovery kit. Keep it elsewhere, and the old one as long as backups of before." type:"path" xor:"what"`
	PassphraseFile string `help:"File whose first line is the new kit's passphrase; asked for if there is none." type:"existingfile"`
	DryRun         bool   `help:"Say what would be done, and do nothing."`
	Yes            bool   `help:"Do not ask."`
	Finish         bool   `help:"Give up the devices that were not moved: they are removed, and have to be reset and paired again." xor:"what"`
	Detach         bool   `help:"Do not wait until all devices are moved."`
}

func (c *fabricRerootCmd) Run(ctx context.Context, g *globals) error {
	f, err := g.fabric(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.Finish:
		return c.finish(ctx, g, f)
	case f.Reroot != nil && c.Kit != "":
		return &commissioner.Failure{Code: "reroot-in-progress", Message: "the home's root is being changed already", Remedy: "see `gatehouse fabric`; run this without --kit to watch"}
	case f.Reroot != nil:
		return c.watch(ctx, g)
	case c.Kit == "":
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("--kit says where the new recovery kit goes"))
	case c.DryRun:
		return c.plan(g, f)
	}
	if err := c.begin(ctx, g, f); err != nil || c.Detach {
		return err
	}
	return c.watch(ctx, g)
}

// fabric is what the gateway says of it.
func (g *globals) fabric(ctx context.Context) (f portal.Fabric, err error) {
	err = g.call(ctx, "GET", "fabric", nil, func(line json.RawMessage) error { return json.Unmarshal(line, &f) })
	return f, err
}

// rerootPlan is what a dry run tells.
type rerootPlan struct {
	DryRun     bool   `json:"dry_run"`
	Home       string `json:"home"`
	Root       string `json:"root"` // that would be the former
	Generation uint32 `json:"generation"`
	Devices    int    `json:"devices"`
}

func (c *fabricRerootCmd) plan(g *globals, f portal.Fabric) error {
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(rerootPlan{true, f.Home, f.Root, f.Generation + 1, f.Devices})
	}
	fmt.Printf("home %s would get another root in place of %s, authority of generation %d, and a new recovery kit\n"+
		"%s would be moved to it, one by one, and stay in use meanwhile\nthe recovery kit of now would open only the backups of before\nnothing was done\n",
		f.Home, f.Root, f.Generation+1, count(f.Devices, "device"))
	return nil
}

// Of the sending of a new root, whose answer may get lost.
const (
	rerootTries = 10
	rerootPause = time.Second
)

// begin makes the new root here, so that the gateway never has its key, and
// gives the gateway the rest.
func (c *fabricRerootCmd) begin(ctx context.Context, g *globals, f portal.Fabric) error {
	if err := mustNotExist(c.Kit, "a recovery kit"); err != nil {
		return err
	}
	if !c.Yes && !sure(fmt.Sprintf("Give home %s another root, and move %s to it? Type the home's name: ", f.Home, count(f.Devices, "device")), f.Home) {
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("not confirmed; --yes does not ask"))
	}
	passphrase, err := readPassphrase(c.PassphraseFile, "the recovery kit", true)
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(f.FabricID, 16, 64)
	if err != nil {
		return err
	}
	root, err := found.Remint(found.RootConfig{Home: f.Home, FabricID: cert.FabricID(id), Birth: f.Birth, Generation: f.Generation + 1, Kit: c.Kit,
		Passphrase: passphrase, Now: clock()})
	if err != nil {
		return err
	}
	defer root.Erase()
	body, err := json.Marshal(root)
	if err != nil {
		return err
	}
	defer clear(body)
	var done portal.Rerooted
	if err := c.send(ctx, g, body, &done); err != nil {
		fmt.Fprintf(os.Stderr, "%s is of use only if `gatehouse fabric` shows generation %d; else remove it\n", c.Kit, f.Generation+1)
		return err
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(done)
	}
	fmt.Printf("the home has another root, of generation %d; %s to be moved\nnew recovery kit: %s — keep it elsewhere, with its passphrase\n"+
		"keep the old kit for the backups of before; make a new backup when all devices are moved\n", done.Generation, count(done.Devices, "device"), c.Kit)
	return nil
}

// send sends the same root again while it is not known whether it was taken:
// once it is, that is no harm.
func (c *fabricRerootCmd) send(ctx context.Context, g *globals, body []byte, done *portal.Rerooted) (err error) {
	for range rerootTries {
		err = g.call(ctx, "POST", "fabric/reroot", json.RawMessage(body), func(line json.RawMessage) error { return json.Unmarshal(line, done) })
		var f *commissioner.Failure
		if err == nil || errors.As(err, &f) && f.Code != commissioner.CodeCommit && f.Code != "gateway-waits" {
			return err
		}
		select {
		case <-time.After(rerootPause):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// watchEvery is between looks at the progress.
const watchEvery = time.Second

// watch shows the progress until all devices are moved. To interrupt it stops
// nothing.
func (c *fabricRerootCmd) watch(ctx context.Context, g *globals) error {
	last := ""
	for {
		f, err := g.fabric(ctx)
		var waits *commissioner.Failure
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(os.Stderr, "it goes on by itself; `gatehouse fabric` shows how far it is")
			return nil
		case errors.Is(err, errNoDaemon), errors.As(err, &waits) && waits.Code == "gateway-waits":
			err = nil // it is being restarted
		case err != nil:
			return err
		default:
			if now := progress(f); now != last {
				last = now
				c.tell(g, f)
			}
			if f.Reroot == nil {
				return nil
			}
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
		}
	}
}

// progress is all that makes a line worth printing.
func progress(f portal.Fabric) string {
	if f.Reroot == nil {
		return "done"
	}
	return fmt.Sprint(f.Reroot.Moved, f.Devices, len(f.Kept))
}

func (c *fabricRerootCmd) tell(g *globals, f portal.Fabric) {
	switch {
	case g.JSON:
		json.NewEncoder(os.Stdout).Encode(f)
	case f.Reroot != nil:
		showProgress(f)
	default:
		fmt.Printf("done: %s below root %s; make a new backup\n", count(f.Devices, "device"), f.Root)
	}
}

// finish gives the devices up that were not moved, once a person has typed how
// many these are.
func (c *fabricRerootCmd) finish(ctx context.Context, g *globals, f portal.Fabric) error {
	if f.Reroot == nil {
		return &commissioner.Failure{Code: "no-reroot-in-progress", Message: "the home's root is not being changed", Remedy: "nothing needs to be done"}
	}
	req := portal.FinishReroot{GiveUp: []string{}}
	for _, v := range f.Reroot.Stragglers {
		req.GiveUp = append(req.GiveUp, v.Node)
	}
	if !g.JSON {
		showStragglers(f.Reroot.Stragglers)
	}
	n := len(req.GiveUp)
	if !c.Yes && !sure(fmt.Sprintf("Remove %s that can then be reached no more? Type the number: ", count(n, "device")), strconv.Itoa(n)) {
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("not confirmed; --yes does not ask"))
	}
	return ask(ctx, g, "POST", "fabric/reroot/finish", req, func(done portal.FinishedReroot) {
		fmt.Printf("the former fabric is forgotten; %s given up: reset them, and pair them again\n", count(done.GivenUp, "device"))
	})
}
