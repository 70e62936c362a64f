package zones_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/tlsink/tlsink/zones"
)

// fakeSecondary takes NOTIFY over connections in memory.
type fakeSecondary struct {
	t   *testing.T
	mu  sync.Mutex
	got []notified
	// answer makes the answer to a message; nil is silence.
	answer func(m *dns.Msg, mac string) []byte
}

type notified struct {
	at     time.Time
	serial uint32
}

func (f *fakeSecondary) dial(_ context.Context, network, address string) (net.Conn, error) {
	if network != "udp" || address != "192.0.2.54:53" {
		return nil, fmt.Errorf("dial %s %s", network, address)
	}
	ours, theirs := net.Pipe()
	go f.serve(ours)
	return theirs, nil
}

func (f *fakeSecondary) serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		return
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		f.t.Error(err)
		return
	}
	// RFC 1996 §3.7
	if m.Opcode != dns.OpcodeNotify || !m.Authoritative || m.Question[0] != (dns.Question{Name: zoneName, Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) {
		f.t.Errorf("not a NOTIFY: %v", m)
	}
	if err := dns.TsigVerify(buf[:n], secretOf(testKey("hmac-sha256")), "", false); err != nil {
		f.t.Errorf("NOTIFY: %v", err)
	}
	f.mu.Lock()
	f.got = append(f.got, notified{time.Now(), m.Answer[0].(*dns.SOA).Serial})
	answer := f.answer
	f.mu.Unlock()
	if out := answer(m, m.IsTsig().MAC); out != nil {
		conn.Write(out) //nolint:errcheck // the other side may be gone
	}
	conn.Read(buf) //nolint:errcheck // waits for the end
}

// take returns what came since the last call.
func (f *fakeSecondary) take() []notified {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	f.got = nil
	return got
}

func (f *fakeSecondary) set(answer func(m *dns.Msg, mac string) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// reply answers with an rcode, signed by key unless it has no name.
func (f *fakeSecondary) reply(rcode int, key zones.TSIGKey) func(*dns.Msg, string) []byte {
	return func(m *dns.Msg, mac string) []byte {
		r := new(dns.Msg).SetRcode(m, rcode)
		if key.Name == "" {
			out, err := r.Pack()
			if err != nil {
				f.t.Error(err)
			}
			return out
		}
		r.SetTsig(dns.Fqdn(key.Name), dns.Fqdn(key.Algorithm), 300, time.Now().Unix())
		out, _, err := dns.TsigGenerate(r, secretOf(key), mac, false)
		if err != nil {
			f.t.Error(err)
		}
		return out
	}
}

func silent(*dns.Msg, string) []byte { return nil }

// notifying runs a test with a zone that has one fake secondary.
func notifying(t *testing.T, test func(t *testing.T, z *zones.Zone, f *fakeSecondary)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSecondary{t: t, answer: silent}
		o := transferOptions(netip.MustParseAddrPort("192.0.2.54:53"))
		o.Now, o.Transfer.Dial = time.Now, f.dial
		test(t, newZone(t, o), f)
	})
}

// start begins to notify, for the time of the bubble.
func start(t *testing.T, z *zones.Zone) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		zones.KeepNotified(ctx, z)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func wait(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func rotate(t *testing.T, z *zones.Zone, n int) {
	t.Helper()
	order := []string{"mx03", "mx04", "mx05", "mx06"}
	if _, err := z.SetRecords(t.Context(), zoneName, preferences(append(order[n%4:], order[:n%4]...)...)); err != nil {
		t.Fatal(err)
	}
}

func TestNotifyAfterChanges(t *testing.T) {
	notifying(t, func(t *testing.T, z *zones.Zone, f *fakeSecondary) {
		f.set(f.reply(dns.RcodeSuccess, testKey("hmac-sha256")))
		begin := time.Now()
		start(t, z)
		wait(0)
		if diff := cmp.Diff([]notified{{begin, z.Serial()}}, f.take(), cmp.AllowUnexported(notified{})); diff != "" {
			t.Errorf("at the start (-want +got):\n%s", diff)
		}
		wait(time.Hour)
		if got := f.take(); got != nil {
			t.Errorf("without a change: %v", got)
		}
		changed := time.Now()
		rotate(t, z, 1)
		wait(0)
		first := z.Serial()
		for i := range 20 { // a burst
			rotate(t, z, i+2)
		}
		wait(time.Hour)
		want := []notified{{changed, first}, {changed.Add(time.Second), z.Serial()}}
		if diff := cmp.Diff(want, f.take(), cmp.AllowUnexported(notified{})); diff != "" {
			t.Errorf("after changes (-want +got):\n%s", diff)
		}
		status := []zones.SecondaryStatus{{Address: netip.MustParseAddrPort("192.0.2.54:53"), Notified: z.Serial(), NotifiedAt: changed.Add(time.Second)}}
		if diff := cmp.Diff(status, z.Secondaries(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	})
}

// A secondary that does not answer is asked less and less often, and about the
// newest serial only.
func TestNotifyIsRepeated(t *testing.T) {
	notifying(t, func(t *testing.T, z *zones.Zone, f *fakeSecondary) {
		begin := time.Now()
		start(t, z)
		for i := range 12 {
			wait(5 * time.Minute)
			rotate(t, z, i+1)
		}
		got := f.take()
		var gaps []time.Duration
		for i := range 7 {
			gaps = append(gaps, got[i+1].at.Sub(got[i].at))
		}
		want := []time.Duration{5 * time.Second, 7 * time.Second, 11 * time.Second, 19 * time.Second, 35 * time.Second, 63 * time.Second, 63 * time.Second}
		if diff := cmp.Diff(want, gaps); diff != "" || !got[0].at.Equal(begin) {
			t.Errorf("gaps (-want +got):\n%s", diff)
		}
		if len(got) > 65 {
			t.Errorf("%d messages in an hour", len(got))
		}
		if s := z.Secondaries()[0]; !s.NotifiedAt.IsZero() || !strings.Contains(s.Problem, "no answer") {
			t.Errorf("status %+v", s)
		}
		f.set(f.reply(dns.RcodeSuccess, testKey("hmac-sha256")))
		wait(2 * time.Minute)
		if got := f.take(); len(got) != 1 || got[0].serial != z.Serial() {
			t.Errorf("after it came back: %v, want serial %d", got, z.Serial())
		}
		if s := z.Secondaries()[0]; s.Notified != z.Serial() || s.Problem != "" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestNotifyAnswersAreChecked(t *testing.T) {
	good := testKey("hmac-sha256")
	for _, c := range []struct {
		name   string
		answer func(f *fakeSecondary) func(*dns.Msg, string) []byte
		want   string // in the problem
	}{
		{"refused", func(f *fakeSecondary) func(*dns.Msg, string) []byte { return f.reply(dns.RcodeRefused, good) }, "REFUSED"},
		{"NOTAUTH", func(f *fakeSecondary) func(*dns.Msg, string) []byte {
			return f.reply(dns.RcodeNotAuth, zones.TSIGKey{})
		}, "NOTAUTH"},
		{"not signed", func(f *fakeSecondary) func(*dns.Msg, string) []byte { return f.reply(0, zones.TSIGKey{}) }, "not signed"},
		{"signed by somebody else", func(f *fakeSecondary) func(*dns.Msg, string) []byte {
			return f.reply(0, zones.TSIGKey{Name: good.Name, Algorithm: good.Algorithm, Secret: []byte("sixteen octets..")})
		}, "bad signature"},
		{"key unknown", func(*fakeSecondary) func(*dns.Msg, string) []byte {
			return func(m *dns.Msg, _ string) []byte {
				r := new(dns.Msg).SetRcode(m, dns.RcodeNotAuth)
				r.Extra = []dns.RR{&dns.TSIG{
					Hdr:       dns.RR_Header{Name: "xfr.example.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
					Algorithm: "hmac-sha256.", Error: dns.RcodeBadKey,
				}}
				out, _ := r.Pack() // nothing is sent then
				return out
			}
		}, "BADKEY"},
		{"another ID", func(f *fakeSecondary) func(*dns.Msg, string) []byte {
			return func(m *dns.Msg, mac string) []byte {
				other := m.Copy()
				other.Id++
				return f.reply(0, good)(other, mac)
			}
		}, "no answer"},
		{"junk", func(*fakeSecondary) func(*dns.Msg, string) []byte {
			return func(*dns.Msg, string) []byte { return []byte("junk") }
		}, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			notifying(t, func(t *testing.T, z *zones.Zone, f *fakeSecondary) {
				f.set(c.answer(f))
				start(t, z)
				wait(4 * time.Second)
				if s := z.Secondaries()[0]; !strings.Contains(s.Problem, c.want) || !s.NotifiedAt.IsZero() {
					t.Errorf("status %+v, want a problem about %q", s, c.want)
				}
			})
		})
	}
}
