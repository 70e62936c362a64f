package check

// Outcome is an answer. The zero value means that the question does not arise.
type Outcome string

// The values of Outcome.
const (
	Yes      Outcome = "yes"
	No       Outcome = "no"
	Untested Outcome = "untested" // could not be tested: not a failure
)

// Result is an answer with its reason.
type Result struct {
	Outcome Outcome `json:"outcome,omitempty"`
	Why     string  `json:"why,omitempty"` // one line; set for No and Untested
}

// Pass answers yes.
func Pass() Result { return Result{Outcome: Yes} }

// Fail answers no.
func Fail(why string) Result { return Result{Outcome: No, Why: why} }

// Skip says that it could not be tested.
func Skip(why string) Result { return Result{Outcome: Untested, Why: why} }

// OK reports whether the answer is yes.
func (r Result) OK() bool { return r.Outcome == Yes }

// Failed reports whether the answer is no.
func (r Result) Failed() bool { return r.Outcome == No }

// Worst returns the answer for a whole: no if one part fails, else untested if
// one part is, else yes; the zero Result if no question arose.
func Worst(parts ...Result) Result {
	var out Result
	for _, p := range parts {
		switch {
		case p.Outcome == "" || out.Failed():
		case p.Failed(), p.Outcome == Untested && out.Outcome != Untested, out.Outcome == "":
			out = p
		}
	}
	return out
}
