package portal

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/fabric"
)

// counts are what happened on this gateway since it started.
type counts struct {
	pairings *prometheus.CounterVec // by how they ended: admitted, or a failure's code
	logins   *prometheus.CounterVec // by how they ended: in, or a failure's code
}

func newCounts() counts {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_" + name, Help: help}, []string{"result"})
	}
	return counts{counter("pairings_total", "Pairings that ended on this gateway: admitted, or by the code of their failure."),
		counter("logins_total", "Logins at this gateway: in, or by the code of their failure.")}
}

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gatehouse_"+name, help, labels, nil)
}

var (
	metricDevices     = metric("devices", "Devices of the home, by phase.", "phase")
	metricAvailable   = metric("devices_available", "Admitted devices that answer, as far as this gateway knows.")
	metricQuarantined = metric("devices_quarantined", "Admitted devices in quarantine.")
	metricPeople      = metric("people", "People of the home, by role.", "role")
	metricPasses      = metric("passes", "Sessions and tokens of people.", "kind")
	metricListeners   = metric("event_listeners", "Browsers that listen to this gateway.")
	metricBluetooth   = metric("bluetooth_up", "1 if this gateway's Bluetooth works.")
	metricRestarts    = metric("bluetooth_restarts_total", "How often the Bluetooth process was begun anew.")
)

// Describe makes a Portal a prometheus.Collector.
func (p *Portal) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricDevices, metricAvailable, metricQuarantined, metricPeople, metricPasses, metricListeners, metricBluetooth, metricRestarts} {
		to <- d
	}
	p.counts.pairings.Describe(to)
	p.counts.logins.Describe(to)
}

// Collect tells how the home fares. No label holds a name that somebody chose.
func (p *Portal) Collect(to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, v int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	s := p.C.Ledger.State()
	phases, quarantined, available := make(map[fabric.Phase]int), 0, 0
	for n, d := range s.Devices {
		phases[d.Phase]++
		if d.Phase != fabric.Admitted {
			continue
		}
		if d.Quarantined() {
			quarantined++
		}
		if said, _ := p.K.Nodes.Get(n); said.Available {
			available++
		}
	}
	for phase := fabric.Reserved; phase <= fabric.Admitted; phase++ {
		tell(metricDevices, phases[phase], phase.String())
	}
	tell(metricAvailable, available)
	tell(metricQuarantined, quarantined)
	roles, sessions, tokens := make(map[fabric.Role]int), 0, 0
	if s.People != nil {
		for _, person := range s.People.Persons {
			roles[person.Role]++
			for _, pass := range person.Passes {
				if pass.Token {
					tokens++
				} else {
					sessions++
				}
			}
		}
	}
	for role := fabric.Guest; role <= fabric.Administrator; role++ {
		tell(metricPeople, roles[role], role.String())
	}
	tell(metricPasses, sessions, "session")
	tell(metricPasses, tokens, "token")
	tell(metricListeners, int(p.listening.Load()))
	if p.Radio != nil {
		radio, up := p.Radio(), 0
		if radio.Up {
			up = 1
		}
		tell(metricBluetooth, up)
		to <- prometheus.MustNewConstMetric(metricRestarts, prometheus.CounterValue, float64(radio.Restarts))
	}
	p.counts.pairings.Collect(to)
	p.counts.logins.Collect(to)
}
