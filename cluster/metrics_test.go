package cluster

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	c := open(t, bootstrap(t))
	defer closed(t, c)
	must(t, c, found())
	want := `# HELP gatehouse_cluster_leads 1 if this gateway leads the others.
# TYPE gatehouse_cluster_leads gauge
gatehouse_cluster_leads 1
# HELP gatehouse_cluster_member 1 for each gateway that replicates; voter says whether it has a vote.
# TYPE gatehouse_cluster_member gauge
gatehouse_cluster_member{gateway="000000A100000000",voter="true"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "gatehouse_cluster_leads", "gatehouse_cluster_member"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
