package report

// A drawing is a timeline with coordinates, for a page. A page may not have
// inline styles, so it consists of shapes with classes.
type drawing struct {
	Number         int
	Title, Summary string
	Width, Height  int
	Stripes        []stripe // rows in which STARTTLS was withheld
	Lines          []segment
	Events         []shape
	Words          []word
}

type stripe struct{ Y, W, H int }

type segment struct {
	X, Y, X2, Y2 int
	Class        string
}

type word struct {
	X, Y        int
	Class, Text string
}

// A shape is one event, around its middle.
type shape struct {
	X, Y        int
	Class, Sign string
}

// Wide is how wide it is shown where there is room.
func (d drawing) Wide() int { return d.Width * 5 / 4 }

// Left, Top and Base are where the shape and its letter begin.
func (s shape) Left() int { return s.X - 8 }
func (s shape) Top() int  { return s.Y - 8 }
func (s shape) Base() int { return s.Y + 4 }

// The measures of a drawing, in its own units: about a pixel on a wide screen.
const (
	drawHead  = 26 // height of the head
	drawRow   = 22
	drawOffer = 84  // where the second column begins
	drawOrder = 158 // the third
	drawLanes = 222 // the middle of the first lane
	drawLane  = 24  // from lane to lane
)

func draw(t timeline) drawing {
	d := drawing{
		Number: t.Number, Title: t.Title, Summary: t.Summary,
		Width: drawLanes + drawLane*len(t.Lanes), Height: drawHead + drawRow*len(t.Rows),
		Words: []word{{0, 17, "name", t.TimeName}, {drawOffer, 17, "name", t.OfferName}, {drawOrder, 17, "name", t.OrderName}},
	}
	for i, l := range t.Lanes {
		x := drawLanes + i*drawLane
		d.Lines = append(d.Lines, segment{x, drawHead, x, d.Height, "rail"})
		d.Words = append(d.Words, word{x, 17, "lane", l.Name})
	}
	last := ""
	for i, m := range t.Rows {
		y := drawHead + i*drawRow
		middle := y + drawRow/2
		if m.Withheld {
			d.Stripes = append(d.Stripes, stripe{y, d.Width, drawRow})
		}
		if i > 0 && m.Order != last {
			d.Lines = append(d.Lines, segment{drawOrder, y, d.Width, y, "turn"})
		}
		last = m.Order
		d.Words = append(d.Words, word{0, middle + 4, "word", m.Time}, word{drawOffer, middle + 4, "word", m.Offer}, word{drawOrder, middle + 4, "word", m.Order})
		for j, e := range m.Cells {
			if e != nothing {
				d.Events = append(d.Events, shape{drawLanes + j*drawLane, middle, e.Class(), e.Sign()})
			}
		}
	}
	return d
}
