package server

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chaperone-sql/chaperone/config"
	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/witness"
)

// witnesses are asked to cosign the evidence log, and counted.
type witnesses struct {
	clients []evidence.Cosigner
	asked   *prometheus.CounterVec
	last    *prometheus.GaugeVec
}

func newWitnesses(cfg *config.Config) (*witnesses, error) {
	w := &witnesses{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chaperone_witness_requests_total",
			Help: "Requests to witnesses to cosign the evidence log, by outcome."}, []string{"witness", "outcome"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chaperone_witness_last_cosigned_timestamp_seconds",
			Help: "When a witness cosigned the evidence log last."}, []string{"witness"}),
	}
	for _, c := range cfg.Evidence.Witnesses {
		client, err := witness.NewClient(c.URL, c.Key)
		if err != nil {
			return nil, fmt.Errorf("evidence.witnesses: %w", err)
		}
		w.clients = append(w.clients, client)
	}
	return w, nil
}

// count counts how a request to a witness ended.
func (w *witnesses) count(name string, err error) {
	if err != nil {
		w.asked.WithLabelValues(name, "failed").Inc()
		return
	}
	w.asked.WithLabelValues(name, "cosigned").Inc()
	w.last.WithLabelValues(name).SetToCurrentTime()
}
