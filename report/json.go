package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"time"

	"github.com/tlsink/tlsink/evidence"
)

const listKeep = 100 // elements of a list of an analysis

// mailFacts is what the newest copy of the test mail tells about itself.
type mailFacts struct {
	Time          time.Time         `json:"time,omitzero"`
	SPF           evidence.SPF      `json:"spf,omitzero"`
	DKIM          []evidence.DKIM   `json:"dkim,omitempty"`
	DMARC         evidence.DMARC    `json:"dmarc,omitzero"`
	ARC           evidence.ARCChain `json:"arc,omitzero"`
	Received      []evidence.Hop    `json:"received,omitempty"`
	RequireTLS    bool              `json:"requiretls"`
	TLSRequiredNo bool              `json:"tls_required_no"`
}

func factsOfMail(in Input) *mailFacts {
	_, t := newestMessage(in.History)
	if t == nil {
		return nil
	}
	m := redactor{zone: in.Service}.message(*t.Message)
	return &mailFacts{
		Time: t.Time, SPF: m.SPF, DKIM: m.DKIM, DMARC: m.DMARC, ARC: m.Chain, Received: m.Received,
		RequireTLS: t.RequireTLS, TLSRequiredNo: t.TLSRequiredNo,
	}
}

// neutral returns v as JSON in which every text is neutralised and every list is
// bounded, whatever fields it has; nil if v is nil. A stored analysis may come
// from elsewhere.
func neutral(v any, zone string) (json.RawMessage, error) {
	if reflect.ValueOf(v).IsNil() {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	return json.Marshal(redactor{zone: zone}.tree(tree))
}

func (r redactor) tree(v any) any {
	switch v := v.(type) {
	case string:
		return redactRecord(v, r.zone, maxText)
	case []any:
		return each(v[:min(len(v), listKeep)], r.tree)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			out[redactRecord(name, r.zone, maxName)] = r.tree(inner)
		}
		return out
	}
	return v
}
