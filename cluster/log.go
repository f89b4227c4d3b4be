package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog passes what Raft has to say on to slog, a level lower: an election
// is no news to the people of the house, and a peer that is down is not an
// error of ours.
type raftLog struct {
	to   *slog.Logger
	said *said
}

func newRaftLog(to *slog.Logger) raftLog { return raftLog{to, new(said)} }

// sayAgain is how long a message is not repeated: a gateway that is away for
// weeks must not fill an SD card with attempts to reach it.
const sayAgain = time.Minute

// said is when each message was logged last.
type said struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// first reports whether a message is due.
func (s *said) first(msg string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[msg]; ok && time.Since(last) < sayAgain {
		return false
	}
	if s.last == nil {
		s.last = make(map[string]time.Time) // Raft has some hundred messages
	}
	s.last[msg] = time.Now()
	return true
}

var levels = map[hclog.Level]slog.Level{
	hclog.Trace: slog.LevelDebug,
	hclog.Debug: slog.LevelDebug,
	hclog.Info:  slog.LevelDebug,
	hclog.Warn:  slog.LevelInfo,
	hclog.Error: slog.LevelWarn,
}

func (l raftLog) Log(level hclog.Level, msg string, args ...any) {
	to, ok := levels[level]
	if !ok || !l.to.Enabled(context.Background(), to) || to > slog.LevelDebug && !l.said.first(msg) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	l.to.Log(context.Background(), to, "raft: "+msg, args...)
}

func (l raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l raftLog) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), levels[level])
}

func (l raftLog) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l raftLog) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l raftLog) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l raftLog) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l raftLog) IsError() bool { return l.enabled(hclog.Error) }

func (l raftLog) With(args ...any) hclog.Logger  { return raftLog{l.to.With(args...), l.said} }
func (l raftLog) Named(string) hclog.Logger      { return l }
func (l raftLog) ResetNamed(string) hclog.Logger { return l }
func (raftLog) ImpliedArgs() []any               { return nil }
func (raftLog) Name() string                     { return "raft" }
func (raftLog) SetLevel(hclog.Level)             {}
func (raftLog) GetLevel() hclog.Level            { return hclog.NoLevel }
func (raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
