package acme_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
)

// jws is a request after its checks.
type jws struct {
	payload []byte
	account *fakeAccount // nil for newAccount
	key     *ecdsa.PublicKey
	thumb   string
}

// verify checks nonce and signature (RFC 8555 §6.2, §6.5).
func (ca *fakeCA) verify(req *http.Request) (*jws, *problem) {
	var in struct{ Protected, Payload, Signature string }
	var head struct {
		Nonce, URL, Kid string
		JWK             *struct{ Crv, Kty, X, Y string }
	}
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return nil, &problem{ns + "malformed", err.Error(), 400, ""}
	}
	if err := json.Unmarshal(unb64(in.Protected), &head); err != nil || head.URL != req.URL.String() {
		return nil, &problem{ns + "malformed", "bad header", 400, ""}
	}
	if !ca.nonces[head.Nonce] {
		return nil, &problem{ns + "badNonce", "nonce not known", 400, ""}
	}
	delete(ca.nonces, head.Nonce)
	j := &jws{payload: unb64(in.Payload)}
	if head.JWK != nil {
		var err error
		if j.key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, unb64(head.JWK.X), unb64(head.JWK.Y))); err != nil {
			return nil, &problem{ns + "badPublicKey", err.Error(), 400, ""}
		}
		sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, head.JWK.Crv, head.JWK.Kty, head.JWK.X, head.JWK.Y))
		j.thumb = base64.RawURLEncoding.EncodeToString(sum[:])
	} else {
		for _, a := range ca.accounts {
			if ca.url("/account/"+a.id) == head.Kid {
				j.account, j.key = a, a.key
			}
		}
		if j.account == nil {
			return nil, &problem{ns + "accountDoesNotExist", "no such account", 400, ""}
		}
		if j.account.status != "valid" {
			return nil, &problem{ns + "unauthorized", "account is " + j.account.status, 403, ""}
		}
	}
	hash := sha256.Sum256([]byte(in.Protected + "." + in.Payload))
	sig := unb64(in.Signature)
	if len(sig) != 64 || !ecdsa.Verify(j.key, hash[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, &problem{ns + "malformed", "bad signature", 400, ""}
	}
	return j, nil
}

func unb64(s string) []byte {
	b, _ := base64.RawURLEncoding.DecodeString(s) // what is not base64 fails the next check
	return b
}
