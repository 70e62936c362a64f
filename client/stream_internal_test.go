package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEventReader(t *testing.T) {
	cases := []struct {
		name, in string
		want     []event
	}{
		{"one", "id: 1\nevent: a\ndata: x\n\n", []event{{"1", "a", "x"}}},
		{"several lines", "data: x\ndata:y\ndata\n\n", []event{{"", "", "x\ny\n"}}},
		{"CRLF", "id: 1\r\ndata: x\r\n\r\n", []event{{"1", "", "x"}}},
		{"the identifier stays", "id: 1\ndata: x\n\ndata: y\n\nid\ndata: z\n\n", []event{{"1", "", "x"}, {"1", "", "y"}, {"", "", "z"}}},
		{"no data is no event", "event: a\n\ndata: x\n\n", []event{{"", "", "x"}}},
		{"comments and unknown fields", ": c\nretry: 7\nfoo: bar\ndata: x\n\n", []event{{"", "", "x"}}},
		{"NUL in an identifier", "id: a\x00b\ndata: x\n\n", []event{{"", "", "x"}}},
		{"a long identifier", "id: " + strings.Repeat("i", maxID+1) + "\ndata: x\n\n", []event{{"", "", "x"}}},
		{"cut off", "data: x\n\ndata: y\n", []event{{"", "", "x"}}},
		{"long line", "data: " + strings.Repeat("x", 100_000) + "\n\n", []event{{"", "", strings.Repeat("x", 100_000)}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newEventReader(strings.NewReader(c.in), func() {})
			var got []event
			for {
				e, err := r.next()
				if err != nil {
					if !errors.Is(err, errEnded) {
						t.Error(err)
					}
					break
				}
				got = append(got, e)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(event{})); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzEvents: whatever a server sends, it is read to its end, within bounds.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{"id: 1\nevent: status\ndata: {}\n\n", ":\n\n", "data\n\ndata\ndata\n\n", "\r\r\n\n", "id: \x00\ndata:\xff\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := newEventReader(strings.NewReader(in), func() {})
		size := 0
		for {
			e, err := r.next()
			if err != nil {
				break
			}
			if len(e.id) > maxID || strings.ContainsAny(e.name, "\n") {
				t.Errorf("event %+q", e)
			}
			size += len(e.data)
		}
		if size > len(in) {
			t.Errorf("%d octets of data from %d", size, len(in))
		}
	})
}
