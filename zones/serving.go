package zones

import (
	"fmt"
)

// serving is what the server needs besides the zone.
type serving struct {
	limiter *limiter // nil: no limit
	cookies cookies

	tsigKeys    map[string]*tsigKey // by name
	notifyKey   *tsigKey
	transfers   chan struct{} // holds a token for each that runs
	secondaries []*secondary
}

// newServing takes options that have been checked.
func newServing(o Options) (*serving, error) {
	s := &serving{
		limiter: newLimiter(o.RateLimit), tsigKeys: make(map[string]*tsigKey),
		transfers: make(chan struct{}, o.Transfer.Transfers),
	}
	for _, k := range o.Transfer.Keys {
		key, err := k.prepare()
		if err != nil {
			return nil, err
		}
		if s.tsigKeys[key.name] != nil {
			return nil, fmt.Errorf("TSIG key %q is listed twice", k.Name)
		}
		s.tsigKeys[key.name] = key
		if s.notifyKey == nil {
			s.notifyKey = key
		}
	}
	for _, address := range o.Transfer.Secondaries {
		s.secondaries = append(s.secondaries, newSecondary(address))
	}
	return s, nil
}
