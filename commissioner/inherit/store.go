package inherit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// store is a matter.js storage: values by context, its names joined by dots,
// and key.
type store map[string]map[string]any

// commitID is the place of a commit in the log: segment and line.
type commitID struct {
	Segment uint64 `json:"segment"`
	Offset  uint64 `json:"offset"`
}

func (c commitID) before(d commitID) bool {
	return c.Segment < d.Segment || c.Segment == d.Segment && c.Offset < d.Offset
}

// snapshot is the storage as it was after a commit.
type snapshot struct {
	Commit *commitID `json:"commitId"`
	Data   store     `json:"data"`
}

// operation is a part of a commit: values set in a context, or keys deleted,
// or, without any, all contexts below one.
type operation struct {
	Op     string `json:"op"`
	Key    string `json:"key"`
	Values any    `json:"values"`
}

var segmentName = regexp.MustCompile(`^([0-9a-f]{8})\.jsonl(\.gz)?$`)

// readLog reads a snapshot and what the log has after it.
func readLog(dir string) (store, error) {
	s := &snapshot{Data: store{}}
	data, err := readSnapshot(dir)
	if err != nil {
		return nil, err
	}
	if data != nil {
		if s, err = parseSnapshot(data); err != nil {
			return nil, err
		}
	}
	segments, err := os.ReadDir(filepath.Join(dir, "wal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, problem(CodeUnreadable, err)
	}
	names := map[uint64]string{} // the compressed one is whole, if there are two
	for _, e := range segments {
		if m := segmentName.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.ParseUint(m[1], 16, 32)
			names[n] = max(names[n], e.Name())
		}
	}
	numbers, size := slices.Sorted(maps.Keys(names)), 0
	for i, n := range numbers {
		if s.Commit != nil && n < s.Commit.Segment {
			continue
		}
		lines, err := readFile(filepath.Join(dir, "wal", names[n]))
		if err != nil {
			return nil, err
		}
		if size += len(lines); size > 4*maxFile {
			return nil, problem(CodeTooLarge, nil)
		}
		if err := s.replay(n, lines, i == len(numbers)-1); err != nil {
			return nil, err
		}
	}
	return s.Data, nil
}

// readSnapshot is the newer of the two forms of a snapshot; nil if there is
// none.
func readSnapshot(dir string) ([]byte, error) {
	newest, at := "", int64(0)
	for _, name := range []string{"snapshot.json", "snapshot.json.gz"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.ModTime().UnixNano() >= at {
			newest, at = name, info.ModTime().UnixNano()
		}
	}
	if newest == "" {
		return nil, nil
	}
	return readFile(filepath.Join(dir, newest))
}

func parseSnapshot(data []byte) (*snapshot, error) {
	var s snapshot
	if err := decode(data, &s); err != nil || s.Data == nil || s.Commit == nil {
		return nil, problem(CodeDamaged, errors.New("the snapshot"))
	}
	return &s, nil
}

// replay applies the commits of a segment that the snapshot does not have. In
// the last one, the last line may be cut off: it was never committed.
func (s *snapshot) replay(segment uint64, lines []byte, last bool) error {
	var offset uint64
	for rest := lines; len(rest) > 0; offset++ {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		at := commitID{segment, offset}
		if len(bytes.TrimSpace(line)) == 0 || s.Commit != nil && !s.Commit.before(at) {
			continue
		}
		var commit struct {
			Operations []operation `json:"ops"`
		}
		err := decode(line, &commit)
		for _, op := range commit.Operations {
			if err == nil {
				err = s.Data.apply(op)
			}
		}
		if err != nil && (!last || ended) {
			return problem(CodeDamaged, fmt.Errorf("segment %d of the log, line %d", segment, offset+1))
		}
	}
	return nil
}

func (s store) apply(op operation) error {
	switch op.Op {
	case "upd":
		if s[op.Key] == nil {
			s[op.Key] = map[string]any{}
		}
		if object(op.Values) == nil {
			return errFormat
		}
		maps.Copy(s[op.Key], object(op.Values))
	case "del":
		if op.Values == nil {
			maps.DeleteFunc(s, func(context string, _ map[string]any) bool {
				return op.Key == "" || context == op.Key || strings.HasPrefix(context, op.Key+".")
			})
		}
		for _, key := range list(op.Values) {
			name, _ := key.(string)
			delete(s[op.Key], name)
		}
	default:
		return errFormat
	}
	return nil
}

// readFiles reads the older form: a file for each value, named by its context
// and key. nil is a folder that has none of a controller's.
func readFiles(dir string) (store, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return nil, problem(CodeUnreadable, err)
	case len(entries) > maxFiles:
		return nil, problem(CodeTooLarge, nil)
	case !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == fabricsContext+".fabrics" }):
		return nil, nil
	}
	s, size := store{}, 0
	for _, e := range entries {
		name, err := url.PathUnescape(e.Name())
		dot := strings.LastIndexByte(name, '.')
		if err != nil || dot < 0 || e.IsDir() || strings.HasSuffix(name, ".tmp") || name == "driver.json" {
			continue
		}
		data, err := readFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if size += len(data); size > 4*maxFile {
			return nil, problem(CodeTooLarge, nil)
		}
		var v any
		if decode(data, &v) != nil {
			// One value is lost, not all; what is needed is missed by who needs it.
			continue
		}
		if err := s.apply(operation{"upd", name[:dot], map[string]any{name[dot+1:]: v}}); err != nil {
			return nil, err
		}
	}
	return s, nil
}
