package cluster

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gatehouse_cluster_"+name, help, labels, nil)
}

var (
	metricLeads     = metric("leads", "1 if this gateway leads the others.")
	metricLeader    = metric("has_leader", "1 if a gateway is known that leads.")
	metricTerm      = metric("term", "Raft's term: it grows with each election.")
	metricLog       = metric("log_index", "Last entry of the log on this gateway's disk.")
	metricCommitted = metric("commit_index", "Last entry that is known to be on a quorum's disks.")
	metricApplied   = metric("state_index", "Last command in the trust state of this gateway.")
	metricSnapshot  = metric("snapshot_index", "Last entry that the newest snapshot covers.")
	metricMember    = metric("member", "1 for each gateway that replicates; voter says whether it has a vote.", "gateway", "voter")
	metricRecords   = metric("audit_records", "Records in the audit trail, as far as this gateway knows.")
	metricFirst     = metric("audit_first_record", "The first of them since which this gateway has all.")
	metricLost      = metric("audit_damaged_files", "Files of records that were found to be damaged since the start.")
	metricAway      = metric("member_away_seconds", "How long the leader has not heard of a gateway. The leader alone tells.", "gateway")
)

// Describe and Collect make a Cluster a prometheus.Collector.
func (c *Cluster) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricLeads, metricLeader, metricTerm, metricLog, metricCommitted, metricApplied, metricSnapshot, metricRecords, metricFirst, metricLost, metricMember, metricAway} {
		to <- d
	}
}

// Collect tells how the cluster fares, as this gateway sees it.
func (c *Cluster) Collect(to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	snapshot, _ := strconv.ParseUint(c.raft.Stats()["last_snapshot_index"], 10, 64)
	tell(metricLeads, yes(c.Leads()))
	tell(metricLeader, yes(c.Leader() != 0))
	tell(metricTerm, float64(c.raft.CurrentTerm()))
	tell(metricLog, float64(c.raft.LastIndex()))
	tell(metricCommitted, float64(c.raft.CommitIndex()))
	tell(metricApplied, float64(c.State().Index))
	tell(metricSnapshot, float64(snapshot))
	tell(metricRecords, float64(c.Trail().Tree().Size))
	tell(metricFirst, float64(c.Trail().First()))
	tell(metricLost, float64(c.Trail().Lost()))
	for _, m := range c.Members() {
		tell(metricMember, 1, m.Node.String(), strconv.FormatBool(m.Voter))
		tell(metricAway, m.Away.Seconds(), m.Node.String())
	}
}
