package acme_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeCA is a small ACME server without a network: an http.RoundTripper. It
// checks nonces, signatures and TXT records; what else goes wrong is what the
// test puts into its fields.
type fakeCA struct {
	host   string
	lookup func(fqdn string) []string // TXT

	mu       sync.Mutex
	log      []string // endpoints asked, in order
	faults   map[string][]fault
	nonces   map[string]bool
	accounts map[string]*fakeAccount
	orders   []*fakeOrder
	authzs   []*fakeAuthz
	reuse    bool // valid authorizations count for later orders
	share    bool // pending ones, too
	eab      bool // required
	noARI    bool
	stuck    bool              // authorizations stay pending
	refusal  *problem          // of every validation
	header   map[string]string // of every answer about an authorization, or an order
	latency  time.Duration     // of every answer
	delay    time.Duration     // of every validation
	twice    bool              // each name has two authorizations
	running  int               // requests
	most     int               // requests that ran at a time
	window   [2]time.Time
	serial   int64
	issued   []*x509.Certificate
	issue    func(*x509.Certificate) // changes what is issued
	anyKey   bool                    // for a key that nobody asked for

	root, sub       *x509.Certificate
	above           []*x509.Certificate // of the chain, below the leaf
	rootKey, subKey *ecdsa.PrivateKey
}

type fakeAccount struct {
	id, status string
	contact    []string
	key        *ecdsa.PublicKey
	thumbprint string
}

type fakeOrder struct {
	id, status, cert, replaces string
	names                      []string
	authzs                     []*fakeAuthz
	problem                    *problem
	account                    *fakeAccount
}

type fakeAuthz struct {
	id, name, token, status string
	problem                 *problem
	account                 *fakeAccount
}

type problem struct {
	Type     string `json:"type,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Status   int    `json:"status,omitempty"`
	Instance string `json:"instance,omitempty"`
}

// fault is an answer in place of the right one.
type fault struct {
	problem *problem
	header  map[string]string
	status  int
	body    string
	err     error // no answer at all
}

const ns = "urn:ietf:params:acme:error:"

func refuse(status int, kind, detail string) fault {
	return fault{problem: &problem{Type: ns + kind, Detail: detail, Status: status}}
}

func (f fault) with(field, value string) fault {
	f.header = map[string]string{field: value}
	return f
}

func newFakeCA(t *testing.T, lookup func(string) []string) *fakeCA {
	t.Helper()
	// The library keeps directories by URL for all tests.
	ca := &fakeCA{
		host: strings.ToLower(rand.Text()) + ".test", lookup: lookup, faults: make(map[string][]fault),
		nonces: make(map[string]bool), accounts: make(map[string]*fakeAccount), serial: 1000,
	}
	ca.rootKey, ca.root = authority(t, "Fake Root", nil, nil)
	ca.newSub(t, "Fake Intermediate")
	return ca
}

// newSub makes another intermediate certificate.
func (ca *fakeCA) newSub(t *testing.T, name string) {
	t.Helper()
	ca.subKey, ca.sub = authority(t, name, ca.root, ca.rootKey)
	ca.above = []*x509.Certificate{ca.sub, ca.root}
}

func authority(t *testing.T, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(20, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}

func (ca *fakeCA) url(path string) string { return "https://" + ca.host + path }
func (ca *fakeCA) directory() string      { return ca.url("/directory") }

// fail makes the next answers of an endpoint faults.
func (ca *fakeCA) fail(endpoint string, faults ...fault) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.faults[endpoint] = append(ca.faults[endpoint], faults...)
}

// always makes every answer of an endpoint a fault; none: no longer.
func (ca *fakeCA) always(endpoint string, faults ...fault) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	delete(ca.faults, endpoint)
	for range 1000 {
		ca.faults[endpoint] = append(ca.faults[endpoint], faults...)
	}
}

// asked returns how often an endpoint was asked; "" counts all.
func (ca *fakeCA) asked(endpoint string) int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	n := 0
	for _, e := range ca.log {
		if endpoint == "" || e == endpoint {
			n++
		}
	}
	return n
}

// RoundTrip implements http.RoundTripper.
func (ca *fakeCA) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	ca.answerLater()
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.running--
	endpoint, _, _ := strings.Cut(strings.Trim(req.URL.Path, "/"), "/")
	ca.log = append(ca.log, endpoint)
	w := httptest.NewRecorder()
	if endpoint != "directory" && endpoint != "renewal" {
		nonce := rand.Text()
		ca.nonces[nonce] = true
		w.Header().Set("Replay-Nonce", nonce)
	}
	if list := ca.faults[endpoint]; len(list) > 0 {
		ca.faults[endpoint] = list[1:]
		if f := list[0]; f.err != nil || f.problem != nil || f.status != 0 {
			if f.err == nil {
				f.write(w)
			}
			return w.Result(), f.err
		}
	}
	ca.serve(w, req, endpoint)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func (ca *fakeCA) answerLater() {
	ca.mu.Lock()
	ca.running++
	ca.most = max(ca.most, ca.running)
	ca.mu.Unlock()
	time.Sleep(ca.latency)
}

func (f fault) write(w http.ResponseWriter) {
	for field, value := range f.header {
		w.Header().Set(field, value)
	}
	if f.problem != nil {
		f.problem.write(w)
		return
	}
	w.WriteHeader(f.status)
	fmt.Fprint(w, f.body)
}

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // a recorder
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // a recorder
}

func (ca *fakeCA) serve(w http.ResponseWriter, req *http.Request, endpoint string) {
	switch endpoint {
	case "directory":
		dir := map[string]any{
			"newNonce": ca.url("/nonce"), "newAccount": ca.url("/account"), "newOrder": ca.url("/order"),
			"meta": map[string]any{"termsOfService": ca.url("/terms"), "externalAccountRequired": ca.eab, "caaIdentities": []string{"fake.test"}},
		}
		if !ca.noARI {
			dir["renewalInfo"] = ca.url("/renewal")
		}
		reply(w, 200, dir)
		return
	case "nonce":
		return
	case "renewal":
		w.Header().Set("Retry-After", "21600")
		reply(w, 200, map[string]any{"suggestedWindow": map[string]any{"start": ca.window[0], "end": ca.window[1]}})
		return
	}
	j, p := ca.verify(req)
	if p != nil {
		p.write(w)
		return
	}
	handlers := map[string]func(http.ResponseWriter, *jws, string) *problem{
		"account": ca.account, "order": ca.order, "authz": ca.authz, "challenge": ca.challenge, "finalize": ca.finalize, "certificate": ca.certificate,
	}
	id := strings.TrimPrefix(strings.Trim(req.URL.Path, "/"), endpoint)
	if p := handlers[endpoint](w, j, strings.Trim(id, "/")); p != nil {
		p.write(w)
	}
}

func (ca *fakeCA) account(w http.ResponseWriter, j *jws, _ string) *problem {
	var in struct {
		Contact                []string
		TermsOfServiceAgreed   bool
		OnlyReturnExisting     bool
		ExternalAccountBinding json.RawMessage
	}
	if err := json.Unmarshal(j.payload, &in); err != nil {
		return &problem{ns + "malformed", err.Error(), 400, ""}
	}
	a, status := j.account, 200
	if a == nil {
		a = ca.accounts[j.thumb]
	}
	switch {
	case a == nil && in.OnlyReturnExisting:
		return &problem{ns + "accountDoesNotExist", "no such account", 400, ""}
	case a == nil && !in.TermsOfServiceAgreed:
		return &problem{ns + "userActionRequired", "must agree to terms", 403, ""}
	case a == nil && ca.eab && in.ExternalAccountBinding == nil:
		return &problem{ns + "externalAccountRequired", "no binding", 403, ""}
	case a == nil:
		a = &fakeAccount{id: fmt.Sprint("a", len(ca.accounts)), status: "valid", contact: in.Contact, key: j.key, thumbprint: j.thumb}
		ca.accounts[j.thumb], status = a, 201
	case a.status != "valid":
		return &problem{ns + "unauthorized", "account is " + a.status, 403, ""}
	case j.account != nil:
		a.contact = in.Contact
	}
	w.Header().Set("Location", ca.url("/account/"+a.id))
	reply(w, status, map[string]any{"status": a.status, "contact": a.contact})
	return nil
}

func (ca *fakeCA) order(w http.ResponseWriter, j *jws, id string) *problem {
	if id != "" {
		o := ca.orders[number(id)]
		o.update()
		ca.show(w, o, 200)
		return nil
	}
	var in struct {
		Identifiers []struct{ Type, Value string }
		Replaces    string
	}
	if err := json.Unmarshal(j.payload, &in); err != nil {
		return &problem{ns + "malformed", err.Error(), 400, ""}
	}
	o := &fakeOrder{id: fmt.Sprint(len(ca.orders)), status: "pending", account: j.account, replaces: in.Replaces}
	for _, id := range in.Identifiers {
		o.names = append(o.names, id.Value)
		o.authzs = append(o.authzs, ca.authzFor(id.Value, j.account))
		if ca.twice {
			o.authzs = append(o.authzs, ca.authzFor(id.Value, j.account))
		}
	}
	o.update()
	ca.orders = append(ca.orders, o)
	w.Header().Set("Location", ca.url("/order/"+o.id))
	ca.show(w, o, 201)
	return nil
}

func (ca *fakeCA) authzFor(name string, account *fakeAccount) *fakeAuthz {
	for _, z := range ca.authzs {
		if z.name == name && z.account == account && (ca.reuse && z.status == "valid" || ca.share && z.status == "pending") {
			return z
		}
	}
	z := &fakeAuthz{id: fmt.Sprint(len(ca.authzs)), name: name, token: rand.Text(), status: "pending", account: account}
	ca.authzs = append(ca.authzs, z)
	return z
}

func (o *fakeOrder) update() {
	if o.status != "pending" {
		return
	}
	o.status = "ready"
	for _, z := range o.authzs {
		switch {
		case z.status == "invalid":
			o.status, o.problem = "invalid", z.problem
			return
		case z.status != "valid":
			o.status = "pending"
		}
	}
}

func (ca *fakeCA) show(w http.ResponseWriter, o *fakeOrder, status int) {
	var ids []map[string]string
	var authzs []string
	for _, name := range o.names {
		ids = append(ids, map[string]string{"type": "dns", "value": name})
	}
	for _, z := range o.authzs {
		authzs = append(authzs, ca.url("/authz/"+z.id))
	}
	for field, value := range ca.header {
		w.Header().Set(field, value)
	}
	out := map[string]any{"status": o.status, "identifiers": ids, "authorizations": authzs, "finalize": ca.url("/finalize/" + o.id)}
	if o.problem != nil {
		out["error"] = o.problem
	}
	if o.cert != "" {
		out["certificate"] = o.cert
	}
	reply(w, status, out)
}

func (ca *fakeCA) authz(w http.ResponseWriter, _ *jws, id string) *problem {
	z := ca.authzs[number(id)]
	dns := map[string]any{"type": "dns-01", "url": ca.url("/challenge/" + z.id), "token": z.token, "status": z.status}
	if z.problem != nil {
		dns["error"] = z.problem
	}
	for field, value := range ca.header {
		w.Header().Set(field, value)
	}
	reply(w, 200, map[string]any{
		"status": z.status, "identifier": map[string]string{"type": "dns", "value": z.name},
		"challenges": []any{map[string]any{"type": "http-01", "url": ca.url("/challenge/x"), "token": "x", "status": "pending"}, dns},
	})
	return nil
}

func (ca *fakeCA) challenge(w http.ResponseWriter, _ *jws, id string) *problem {
	z := ca.authzs[number(id)]
	if ca.delay > 0 {
		time.AfterFunc(ca.delay, func() {
			ca.mu.Lock()
			defer ca.mu.Unlock()
			ca.validate(z)
		})
	} else {
		ca.validate(z)
	}
	reply(w, 200, map[string]any{"type": "dns-01", "status": "processing", "url": ca.url("/challenge/" + id), "token": z.token})
	return nil
}

// validate looks for the TXT record of z.
func (ca *fakeCA) validate(z *fakeAuthz) {
	sum := sha256.Sum256([]byte(z.token + "." + z.account.thumbprint))
	z.status = "valid"
	if ca.refusal != nil {
		z.status, z.problem = "invalid", ca.refusal
	} else if ca.stuck {
		z.status = "pending"
	} else if !slices.Contains(ca.lookup("_acme-challenge."+z.name), base64.RawURLEncoding.EncodeToString(sum[:])) {
		z.status, z.problem = "invalid", &problem{ns + "unauthorized", "Incorrect TXT record found at _acme-challenge." + z.name, 403, ""}
	}
}

func (ca *fakeCA) finalize(w http.ResponseWriter, j *jws, id string) *problem {
	o := ca.orders[number(id)]
	if o.update(); o.status != "ready" {
		return &problem{ns + "orderNotReady", "order is " + o.status, 403, ""}
	}
	var in struct{ CSR string }
	if err := json.Unmarshal(j.payload, &in); err != nil {
		return &problem{ns + "malformed", err.Error(), 400, ""}
	}
	csr, err := x509.ParseCertificateRequest(unb64(in.CSR))
	if err != nil || csr.CheckSignature() != nil || !slices.Equal(csr.DNSNames, o.names) {
		return &problem{ns + "badCSR", "the CSR is not of this order", 400, ""}
	}
	ca.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial), DNSNames: csr.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ca.issue != nil {
		ca.issue(template)
	}
	pub := csr.PublicKey
	if ca.anyKey {
		pub = ca.rootKey.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.sub, pub, ca.subKey)
	if err != nil {
		return &problem{ns + "serverInternal", err.Error(), 500, ""}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return &problem{ns + "serverInternal", err.Error(), 500, ""}
	}
	ca.issued = append(ca.issued, leaf)
	o.status, o.cert = "valid", ca.url(fmt.Sprint("/certificate/", len(ca.issued)-1))
	ca.show(w, o, 200)
	return nil
}

func (ca *fakeCA) certificate(w http.ResponseWriter, _ *jws, id string) *problem {
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	w.Header().Add("Link", `<`+ca.url("/certificate/"+id)+`>;rel="up"`) // without end, if followed
	var out bytes.Buffer
	for _, c := range slices.Concat(ca.issued[number(id):number(id)+1], ca.above) {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return &problem{ns + "serverInternal", err.Error(), 500, ""}
		}
	}
	w.Write(out.Bytes()) //nolint:errcheck // a recorder
	return nil
}

func number(id string) int {
	var n int
	fmt.Sscan(id, &n) //nolint:errcheck // 0 will do for nonsense
	return n
}
