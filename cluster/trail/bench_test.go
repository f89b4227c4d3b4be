package trail

import (
	"path/filepath"
	"testing"

	"gatehouse/fabric/audit"
)

// BenchmarkLeaves reads 100,000 records, as a proof does.
func BenchmarkLeaves(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "trail")
	r := reopened(b, dir, audit.Tree{})
	for n := 0; n < 100_000; n += 1000 {
		must(b, r.Append(records(n, 1000)))
	}
	must(b, r.Flush())
	for b.Loop() {
		if _, err := r.Leaves(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(r.files)), "files")
}
