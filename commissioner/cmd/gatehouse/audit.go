package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric/audit"
)

type auditCmds struct {
	Show       auditShowCmd       `cmd:"" default:"withargs" help:"List what was decided."`
	Checkpoint auditCheckpointCmd `cmd:"" help:"Print a signed checkpoint: keep it where nobody of the gateways can write."`
	Verify     auditVerifyCmd     `cmd:"" help:"Check that today's record begins with that of saved checkpoints."`
}

// followEvery is how often audit --follow looks for more.
const followEvery = time.Second

// pageRecords is how many records are fetched at once.
const pageRecords = 1000

type auditShowCmd struct {
	Device  string        `help:"Only what is about this device, given by name or node id."`
	Gateway string        `help:"Only what is about this gateway, or by it."`
	What    string        `help:"Only this kind, for instance device-admitted."`
	Since   time.Duration `help:"Only what was decided since so long, for instance 24h."`
	Follow  bool          `short:"f" help:"Go on with what is decided from now on."`
}

func (c *auditShowCmd) Run(ctx context.Context, g *globals) error {
	q := url.Values{"limit": {strconv.Itoa(pageRecords)}}
	for name, value := range map[string]string{"device": c.Device, "gateway": c.Gateway, "what": c.What} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if c.Since > 0 {
		q.Set("since", strconv.FormatInt(clock().Add(-c.Since).UnixMilli(), 10))
	}
	for {
		end, err := g.auditPage(ctx, q, func(line []byte) error {
			if g.JSON {
				fmt.Println(string(line))
				return nil
			}
			return showRecord(line)
		})
		if err != nil {
			return err
		}
		if end.Next > 0 {
			q.Set("after", strconv.FormatUint(end.Next-1, 10))
		}
		if end.Next < end.Size {
			continue
		}
		if !c.Follow {
			return nil
		}
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// auditPage fetches a page of records, as they are hashed.
func (g *globals) auditPage(ctx context.Context, q url.Values, each func(line []byte) error) (end portal.Audit, err error) {
	ended := false
	err = g.call(ctx, "GET", "audit?"+q.Encode(), nil, func(line json.RawMessage) error {
		if bytes.HasPrefix(line, []byte(`{"index":`)) {
			return each(line)
		}
		ended = true
		return json.Unmarshal(line, &end)
	})
	if err == nil && !ended {
		err = fmt.Errorf("the gateway's answer was cut off")
	}
	return end, err
}

func showRecord(line []byte) error {
	r, err := audit.Parse(line)
	if err != nil {
		return err
	}
	fmt.Printf("%d  %s  %s", r.Index, time.UnixMilli(r.Time).Local().Format(time.DateTime), r.What)
	for _, f := range []struct {
		name  string
		value any
		given bool
	}{{"refused", r.Refused, r.Refused != ""}, {"name", r.Name, r.Name != ""}, {"device", r.Device, r.Device != 0}, {"gateway", r.Gateway, r.Gateway != 0},
		{"zone", r.Zone, r.Zone != ""}, {"by", r.By, r.By != 0}, {"refusals not listed before", r.Skipped, r.Skipped != 0}} {
		if !f.given {
			continue
		}
		if text, ok := f.value.(string); ok {
			f.value = strconv.Quote(text)
		}
		fmt.Printf("  %s %v", f.name, f.value)
	}
	if len(r.Details) > 0 {
		fmt.Printf("  %s", r.Details) // as it is written: nothing in it moves a terminal's cursor
	}
	fmt.Println()
	return nil
}

type auditCheckpointCmd struct{}

func (*auditCheckpointCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "audit/checkpoint", nil, func(c portal.Checkpoint) { fmt.Print(c.Note) })
}

type auditVerifyCmd struct {
	Checkpoints []string `arg:"" optional:"" help:"Files that audit checkpoint printed." type:"existingfile"`
}

// verified is what audit verify tells of a checkpoint.
type verified struct {
	File    string   `json:"file,omitempty"` // empty: of now
	Records uint64   `json:"records"`
	Signed  []string `json:"signed_by"`
}

func (c *auditVerifyCmd) Run(ctx context.Context, g *globals) error {
	var now portal.Checkpoint
	err := g.call(ctx, "GET", "audit/checkpoint", nil, func(line json.RawMessage) error { return json.Unmarshal(line, &now) })
	if err != nil {
		return err
	}
	book, err := newBook(now)
	if err != nil {
		return err
	}
	if err := g.readBook(ctx, book, now.Size); err != nil {
		return err
	}
	files := append([]string{""}, c.Checkpoints...)
	for _, file := range files {
		signed := []byte(now.Note)
		if file != "" {
			if signed, err = os.ReadFile(file); err != nil {
				return commissioner.Fail(commissioner.CodeInvalidArgument, err)
			}
		}
		v, err := book.check(signed)
		if err != nil {
			return broken(file, err)
		}
		v.File = file
		if g.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
				return err
			}
			continue
		}
		showVerified(v, book)
	}
	return nil
}

// readBook fetches all records up to a number of them.
func (g *globals) readBook(ctx context.Context, book *book, size uint64) error {
	q := url.Values{"limit": {strconv.Itoa(pageRecords)}}
	for began := false; book.size() < size || !began; {
		var lines [][]byte
		end, err := g.auditPage(ctx, q, func(line []byte) error {
			lines = append(lines, line)
			return nil
		})
		if err != nil {
			return err
		}
		if !began {
			began = true
			book.leaves.Before = audit.Tree{Size: end.First, Edge: end.Edge}
			if err := book.leaves.Before.Check(); err != nil {
				return broken("", err)
			}
		}
		for _, line := range lines {
			if book.size() == size { // more was decided meanwhile
				return nil
			}
			if err := book.add(line); err != nil {
				return broken("", err)
			}
		}
		if end.Next == 0 || len(lines) == 0 && book.size() < size {
			return broken("", fmt.Errorf("the gateway gives %d records of %d", book.size(), size))
		}
		q.Set("after", strconv.FormatUint(end.Next-1, 10))
	}
	return nil
}

func broken(file string, err error) error {
	if file != "" {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return &commissioner.Failure{Code: "audit-broken", Message: "the record of what was decided cannot be trusted: " + err.Error(),
		Remedy: "keep the checkpoint and this gateway's state directory; ask another gateway of the home, and if it says the same, somebody has changed what it was decided: see who had access"}
}

func showVerified(v verified, book *book) {
	what := "now"
	if v.File != "" {
		what = v.File
	}
	fmt.Printf("%s: %s, signed by %s", what, count(int(v.Records), "record"), v.Signed[0])
	for _, more := range v.Signed[1:] {
		fmt.Printf(" and %s", more)
	}
	if first := book.leaves.Before.Size; first > 0 {
		fmt.Printf("; the first %d are not kept on this gateway", first)
	}
	fmt.Println(": as it was")
}
