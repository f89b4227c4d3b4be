package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/commissioner"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"
)

// lockPatience is how long a command waits for another one that works on the
// same repository: a timer may meet a person.
const lockPatience = 20 * time.Second

// repositoryDir is a repository that this side publishes.
type repositoryDir struct {
	Dir string `arg:"" help:"The repository's directory." type:"path"`
}

// open opens the repository, which nobody else changes before release.
func (d repositoryDir) open(ctx context.Context) (*publish.Repository, func(), error) {
	release, err := lockDir(ctx, d.Dir)
	if err != nil {
		return nil, nil, d.failure(err)
	}
	r, err := publish.Open(d.Dir, clock, rand.Reader)
	if err != nil {
		release()
		return nil, nil, d.failure(err)
	}
	return r, release, nil
}

// begin is open for a new repository.
func (d repositoryDir) begin(ctx context.Context, s publish.Setup) (*publish.Repository, func(), error) {
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return nil, nil, d.failure(err)
	}
	release, err := lockDir(ctx, d.Dir)
	if err != nil {
		return nil, nil, d.failure(err)
	}
	if _, err := publish.Open(d.Dir, clock, rand.Reader); !errors.Is(err, fs.ErrNotExist) {
		release()
		return nil, nil, &commissioner.Failure{Code: "repository-exists", Message: "there is a repository in " + d.Dir + " already", Remedy: "name another directory"}
	}
	r, err := publish.Init(d.Dir, s, clock, rand.Reader)
	if err != nil {
		release()
		return nil, nil, d.failure(err)
	}
	return r, release, nil
}

// lockDir has the directory to this process, until release or its end.
func lockDir(ctx context.Context, dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		switch err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return func() { f.Close() }, nil
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
		default:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, &commissioner.Failure{Code: "repository-busy", Message: "another command works on " + dir, Remedy: "try again when it has ended"}
		}
	}
}

// change opens the repository, does one thing to it, and tells.
func (d repositoryDir) change(ctx context.Context, g *globals, do func(*publish.Repository) (done string, err error)) error {
	r, release, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	done, err := do(r)
	if err != nil {
		return d.failure(err)
	}
	return d.tell(g, r, done, nil)
}

// failure gives what the repository's package says a code.
func (d repositoryDir) failure(err error) error {
	if f := (*commissioner.Failure)(nil); errors.As(err, &f) {
		return f
	}
	f := &commissioner.Failure{Code: "repository-refused", Message: err.Error(), Remedy: fmt.Sprintf("see the reason given, and `gatehouse firmware show %s`", d.Dir)}
	refused, isManifest := errors.AsType[*manifest.Error](err)
	switch {
	case isManifest && refused.Code == manifest.Signatures:
		f.Code, f.Remedy = codeUnsigned, "give the keys of the snapshot and the timestamp with --key"
	case isManifest && refused.Code == manifest.Frozen:
		f.Code, f.Remedy = "role-expired", "`gatehouse firmware extend` the role, have it signed, and publish"
	case isManifest:
		f.Code = commissioner.Code(refused.Code)
	case errors.Is(err, fs.ErrNotExist):
		f.Code, f.Remedy = "repository-unknown", "name its directory, or begin one with `gatehouse firmware init`"
	}
	return f
}

// shownRepository is what every command on a repository tells.
type shownRepository struct {
	Dir    string         `json:"dir"`
	Name   string         `json:"name"`
	Signed []string       `json:"signed,omitempty"` // for these roles, just now
	Roles  []publish.Role `json:"roles"`
}

// tell tells that something is done, and what is staged now.
func (d repositoryDir) tell(g *globals, r *publish.Repository, done string, signed []string) error {
	s, err := d.look(r)
	if err != nil {
		return d.failure(err)
	}
	s.Signed = signed
	return present(g, s, func() {
		fmt.Println(done)
		for _, role := range s.Roles {
			if role.Staged != nil {
				fmt.Printf("%s, version %d, %s\n", role.Name, role.Staged.Version, lacking(role.Staged))
			}
		}
	})
}

func (d repositoryDir) look(r *publish.Repository) (s shownRepository, err error) {
	s.Dir = d.Dir
	var err1 error
	s.Name, err1 = r.Name()
	s.Roles, err = r.Roles()
	return s, errors.Join(err1, err)
}

// present prints JSON, or has a person told.
func present(g *globals, v any, person func()) error {
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(v)
	}
	person()
	return nil
}

type firmwareShowCmd struct{ repositoryDir }

func (c *firmwareShowCmd) Run(ctx context.Context, g *globals) error {
	r, release, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	s, err := c.look(r)
	if err != nil {
		return c.failure(err)
	}
	return present(g, s, func() {
		fmt.Printf("%q in %s\n", s.Name, s.Dir)
		for _, role := range s.Roles {
			state := "not published"
			if role.Version > 0 {
				state = fmt.Sprintf("version %d, holds until %s", role.Version, day(&role.Expires))
				if !clock().Before(role.Expires) {
					state += " (over)"
				}
			}
			fmt.Printf("%s: %s, signed by %d of %s\n", role.Name, state, role.Threshold, short(role.Keys))
			if role.Staged != nil {
				showStaged(role)
			}
		}
	})
}

func showStaged(role publish.Role) {
	fmt.Printf("  staged for %s: version %d, to hold until %s, %s\n", role.Name, role.Staged.Version, day(&role.Staged.Expires), lacking(role.Staged))
	for _, c := range role.Staged.Changes {
		fmt.Println("    " + c)
	}
	if len(role.Staged.Changes) == 0 {
		fmt.Println("    nothing else changes")
	}
}

// lacking says how many signatures are missing, and whose may be them.
func lacking(s *publish.Staged) string {
	var missing []string
	for _, need := range s.Needs {
		if n := need.Lacks(); n > 0 {
			var may []string
			for _, id := range need.Keys {
				if !slices.Contains(need.Given, id) {
					may = append(may, id)
				}
			}
			missing = append(missing, fmt.Sprintf("%d of %s", n, short(may)))
		}
	}
	if missing == nil {
		return "has its signatures"
	}
	return "lacks " + strings.Join(missing, " and ")
}

func short(ids []string) string {
	var s []string
	for _, id := range ids {
		s = append(s, publish.ShortID(id))
	}
	return strings.Join(s, ", ")
}
