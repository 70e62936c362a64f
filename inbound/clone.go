package inbound

import (
	"slices"
)

// clone returns a copy that shares nothing that can be changed.
func clone(a Analysis) Analysis {
	a.LeftOut = slices.Clone(a.LeftOut)
	a.Faults = slices.Clone(a.Faults)
	a.Hosts = slices.Clone(a.Hosts)
	for i := range a.Hosts {
		h := &a.Hosts[i]
		h.Records = slices.Clone(h.Records)
		h.Servers = slices.Clone(h.Servers)
		for j := range h.Servers {
			s := &h.Servers[j]
			s.Versions = slices.Clone(s.Versions)
			s.Notes = slices.Clone(s.Notes)
			s.Chain = slices.Clone(s.Chain)
			if s.Certificate != nil {
				c := *s.Certificate
				c.Names = slices.Clone(c.Names)
				s.Certificate = &c
			}
		}
	}
	a.SPF.Problems = slices.Clone(a.SPF.Problems)
	a.DMARC.Reports = slices.Clone(a.DMARC.Reports)
	a.DMARC.Problems = slices.Clone(a.DMARC.Problems)
	a.TLSRPT.Reports = slices.Clone(a.TLSRPT.Reports)
	a.TLSRPT.Problems = slices.Clone(a.TLSRPT.Problems)
	a.MTASTS.MX = slices.Clone(a.MTASTS.MX)
	a.MTASTS.Problems = slices.Clone(a.MTASTS.Problems)
	return a
}
