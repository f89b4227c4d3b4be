package ble

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNoise(t *testing.T) {
	var log bytes.Buffer
	n := &noise{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	fmt.Fprintf(n, "first\nsec")
	fmt.Fprintf(n, "ond\n%s\n", strings.Repeat("x", 10*maxLine))
	fmt.Fprintf(n, "panic: runtime error: \xff\npanic: another\n")
	for range 1000 {
		fmt.Fprintf(n, "%s\n", strings.Repeat("y", 100))
	}
	if got := n.said(); got != "panic: runtime error: ?" {
		t.Errorf("the cause is %q", got)
	}
	for _, want := range []string{"line=first\n", "line=second\n", "line=" + strings.Repeat("x", maxLine) + "\n"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log", want)
		}
	}
	if log.Len() > 4*maxNoise {
		t.Errorf("%d bytes are logged", log.Len())
	}
}
