// Package api is the HTTP API: start a test, follow it, fetch what was found.
//
//	POST /api/v1/tests                        a test, with addresses of its own
//	GET  /api/v1/tests/{capability}           how it stands; waits for a change if asked to
//	GET  /api/v1/tests/{capability}/events    the same, as a stream
//	GET  /api/v1/tests/{capability}/report    everything, once a mail has come
//	…
//
// openapi.yaml is the description of all of it; a test holds every route and
// every answer against it. Who knows the capability of a test sees the test:
// it stands in the path, is never logged, and what does not exist looks the
// same whatever was asked for. There is no CORS: a web page of somebody else
// cannot start tests with its visitors' addresses.
//
// Standards: RFC 9110 (HTTP), RFC 9457 (problem details), the event stream of
// the HTML standard.
package api
