package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsink/tlsink/operate"
)

func (c *console) queue(v *visit) error { return c.showQueue(v, http.StatusOK, "") }

func (c *console) showQueue(v *visit, status int, problem string) error {
	query := v.r.URL.Query()
	q := operate.ReportQuery{Pending: query.Get("all") == "", Cursor: query.Get("cursor"), Limit: c.o.Limits.RowsPerPage}
	list, err := c.o.Operator.Reports(v.r.Context(), q)
	if err != nil {
		return err
	}
	deliveries, webhooks := c.o.Operator.Deliveries()
	if q.Pending {
		deliveries = slices.DeleteFunc(slices.Clone(deliveries), func(d operate.Delivery) bool {
			return d.State == operate.ReportSent || d.State == operate.ReportGivenUp
		})
	}
	const most = 200
	body := struct {
		operate.ReportPage
		Pending    bool
		More       string
		Deliveries []operate.Delivery
		Webhooks   bool
		LeftOut    int
	}{ReportPage: list, Pending: q.Pending, Deliveries: deliveries, Webhooks: webhooks}
	if len(deliveries) > most {
		body.Deliveries, body.LeftOut = deliveries[:most], len(deliveries)-most
	}
	if list.Next != "" {
		next := url.Values{"cursor": {list.Next}}
		if !q.Pending {
			next.Set("all", "1")
		}
		body.More = "?" + next.Encode()
	}
	return c.show(v, status, page{Title: "Reports", Name: "queue", Here: "/console/queue", Problem: problem, Body: body})
}

type queueMethod func(o Operator, ctx context.Context, who operate.Actor, id string) error

// queueAction carries out one action on one entry of a queue.
func (c *console) queueAction(act queueMethod, what string) visitor {
	return func(v *visit) error {
		err := act(c.o.Operator, v.r.Context(), v.actor(), v.r.PathValue("id"))
		if problem := conflictText(err); problem != "" {
			return c.showQueue(v, http.StatusConflict, problem)
		}
		if err != nil {
			return err
		}
		return done(v, "/console/queue", what, -1)
	}
}

// A blockForm is what was typed, so that it can be corrected.
type blockForm struct{ What, Reason, Until string }

func (c *console) blocks(v *visit) error {
	return c.showBlocks(v, http.StatusOK, blockForm{What: v.r.URL.Query().Get("what")}, "")
}

func (c *console) showBlocks(v *visit, status int, form blockForm, problem string) error {
	list, pages, err := paged(v, c.o.Operator.Blocks(), c.o.Limits.RowsPerPage)
	if err != nil {
		return err
	}
	const most = 200
	limits := c.o.Operator.Limits()
	body := struct {
		Blocks []operate.Block
		Pages  pageLinks
		Limits []operate.Limit
		Form   blockForm
	}{list, pages, limits[:min(len(limits), most)], form}
	return c.show(v, status, page{Title: "Block list", Name: "blocks", Here: "/console/blocks", Problem: problem, Body: body})
}

func (c *console) addBlock(v *visit) error {
	f := v.r.PostForm
	form := blockForm{strings.TrimSpace(f.Get("what")), strings.TrimSpace(f.Get("reason")), strings.TrimSpace(f.Get("until"))}
	until, err := untilOf(form.Until, c.o.Now())
	if err == nil {
		_, err = c.o.Operator.AddBlock(v.r.Context(), v.actor(), operate.BlockRequest{What: form.What, Reason: form.Reason, Until: until, Wide: f.Get("wide") == "yes"})
	}
	if problem := problemOf(err); problem != "" {
		return c.showBlocks(v, http.StatusBadRequest, form, problem)
	}
	if problem := conflictText(err); problem != "" {
		return c.showBlocks(v, http.StatusConflict, form, problem)
	}
	if err != nil {
		return err
	}
	return done(v, "/console/blocks", "blocked", -1)
}

// untilOf reads the end of a block: a day, included, in UTC, or nothing.
func untilOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, badInput{"Until: want a date like 2026-12-31, or nothing."}
	}
	if end := day.AddDate(0, 0, 1); end.After(now) {
		return end, nil
	}
	return time.Time{}, badInput{"Until: this day is over."}
}

func (c *console) removeBlock(v *visit) error {
	if err := c.o.Operator.RemoveBlock(v.r.Context(), v.actor(), v.r.PathValue("id")); err != nil {
		return err
	}
	return done(v, "/console/blocks", "unblocked", -1)
}

// personView is a person, and what would be deleted. The address goes in
// forms, never in the address of a page.
type personView struct {
	Address string
	Preview *operate.Preview
}

func (c *console) person(v *visit) error { return c.showPerson(v, http.StatusOK, personView{}, "") }

func (c *console) showPerson(v *visit, status int, body personView, problem string) error {
	return c.show(v, status, page{Title: "Delete a person", Name: "person", Here: "/console/person", Problem: problem, Body: body})
}

func (c *console) previewPerson(v *visit) error {
	return c.previewOf(v, strings.TrimSpace(v.r.PostForm.Get("address")), http.StatusOK, "")
}

func (c *console) previewOf(v *visit, address string, status int, problem string) error {
	if address == "" {
		return c.showPerson(v, http.StatusBadRequest, personView{}, "Type the mail address of the person.")
	}
	preview, err := c.o.Operator.PersonPreview(v.r.Context(), address)
	if bad := problemOf(err); bad != "" {
		return c.showPerson(v, http.StatusBadRequest, personView{Address: address}, bad)
	}
	if err != nil {
		return err
	}
	return c.showPerson(v, status, personView{Address: address, Preview: &preview}, problem)
}

func (c *console) deletePerson(v *visit) error {
	address := strings.TrimSpace(v.r.PostForm.Get("address"))
	if address == "" || strings.TrimSpace(v.r.PostForm.Get("confirm")) != address {
		return c.previewOf(v, address, http.StatusBadRequest, "Nothing was deleted: the address was not repeated exactly.")
	}
	f, err := c.o.Operator.ForgetPerson(v.r.Context(), v.actor(), address)
	if bad := problemOf(err); bad != "" {
		return c.showPerson(v, http.StatusBadRequest, personView{Address: address}, bad)
	}
	if err != nil {
		return fmt.Errorf("delete a person: %w", err)
	}
	return done(v, "/console/person", "person-deleted", f.Records)
}

func (c *console) retention(v *visit) error { return c.showRetention(v, http.StatusOK, "", "") }

func (c *console) showRetention(v *visit, status int, days, problem string) error {
	r, err := c.o.Operator.Retention()
	if err != nil {
		return err
	}
	body := struct {
		operate.Retention
		Form string
	}{r, days}
	return c.show(v, status, page{Title: "Retention", Name: "retention", Here: "/console/retention", Problem: problem, Body: body})
}

func (c *console) purge(v *visit) error {
	text := strings.TrimSpace(v.r.PostForm.Get("days"))
	days, err := strconv.Atoi(text)
	if err != nil || days < 0 || days > 36500 {
		return c.showRetention(v, http.StatusBadRequest, text, "Days: want a number from 0 on.")
	}
	if strings.TrimSpace(v.r.PostForm.Get("confirm")) != "delete" {
		return c.showRetention(v, http.StatusBadRequest, text, "Nothing was deleted: type the word delete to confirm.")
	}
	n, err := c.o.Operator.Purge(v.r.Context(), v.actor(), c.o.Now().Add(-time.Duration(days)*24*time.Hour))
	if err != nil {
		return err
	}
	return done(v, "/console/retention", "purged", n)
}
