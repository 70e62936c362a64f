package history

import (
	"bytes"
	"context"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ConnectionSearch selects connections. The zero value selects all.
type ConnectionSearch struct {
	From, To   time.Time // started at or after From and before To; zero: no bound
	Network    netip.Prefix
	Unattached bool // only those that no test has

	Cursor   string // ConnectionPage.Next of the page before
	Limit    int    // default 50
	MostRead int    // after so many connections the search stops; default 100,000
}

// ConnectionPage is a part of what was searched, the last started first.
type ConnectionPage struct {
	Connections []ConnectionRecord
	Next        string // where the search goes on; empty at its end
	Cut         bool   // MostRead was reached before Limit
}

// SearchConnections returns a page of connections.
func (s *Store) SearchConnections(ctx context.Context, q ConnectionSearch) (ConnectionPage, error) {
	begins := []byte(strings.TrimPrefix(beginning(q.Network), `"`))
	page := ConnectionPage{Connections: []ConnectionRecord{}}
	places := func(tx *bolt.Tx, at []byte) iter.Seq[[]byte] {
		return func(yield func([]byte) bool) {
			c := bucket(tx, bucketConnectionsTime).Cursor()
			for k := back(c, at, q.To); k != nil && !timeOf(k).Before(q.From) && yield(k); {
				k, _ = c.Prev()
			}
		}
	}
	var err error
	page.Next, page.Cut, err = s.page(ctx, paging{q.Cursor, q.Limit, q.MostRead}, places, func(tx *bolt.Tx, id []byte) bool {
		if q.Unattached && bucket(tx, bucketAttached).Get(id) != nil || !bytes.Contains(bucket(tx, bucketConnections).Get(id), begins) {
			return false
		}
		r, ok := s.connection(tx, id)
		if ok = ok && q.selects(r); ok {
			page.Connections = append(page.Connections, r)
		}
		return ok
	})
	return page, err
}

func (q ConnectionSearch) selects(r ConnectionRecord) bool {
	if !q.Network.IsValid() {
		return true
	}
	ap, err := netip.ParseAddrPort(r.Connection.Client)
	return err == nil && q.Network.Contains(ap.Addr().Unmap().WithZone(""))
}

// Oldest returns when the oldest test was opened, and when the oldest connection
// started; zero if there is none.
func (s *Store) Oldest() (test, connection time.Time, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		if k, _ := bucket(tx, bucketTestsTime).Cursor().First(); len(k) >= 8 {
			test = timeOf(k)
		}
		if k, _ := bucket(tx, bucketConnectionsTime).Cursor().First(); len(k) >= 8 {
			connection = timeOf(k)
		}
		return nil
	})
	return test, connection, err
}

// firstMails bounds the connections that Written reads.
const firstMails = 50

// Written returns when the mail of a test was written, as its Date field says;
// zero if that is not known.
func (s *Store) Written(testID string) (time.Time, error) {
	var written time.Time
	err := s.view(func(tx *bolt.Tx) error {
		r, err := s.mustTest(tx, testID)
		if err != nil {
			return err
		}
		prefix := prefixKey(testID)
		c := bucket(tx, bucketTestConnections).Cursor()
		k, _ := c.Seek(prefix)
		for n := 0; n < firstMails && bytes.HasPrefix(k, prefix); n++ {
			conn, _ := s.connection(tx, k[len(prefix):])
			for _, t := range conn.Connection.Transactions {
				if t.Message == nil || t.Message.Date.IsZero() || t.MessageID != "" && !slices.Contains(r.MessageIDs, t.MessageID) {
					continue
				}
				if written.IsZero() || t.Message.Date.Before(written) {
					written = t.Message.Date
				}
			}
			k, _ = c.Next()
		}
		return nil
	})
	return written, err
}
