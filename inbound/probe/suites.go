package probe

import "fmt"

// suite is one cipher suite that TLS 1.2 and older can choose.
type suite struct {
	id      uint16
	name    string // IANA
	forward bool   // (EC)DHE: forward secrecy
}

// suites13 are the suites of TLS 1.3, in the order in which they are offered.
// All have forward secrecy, as no session is resumed here.
func suites13() []suite {
	return []suite{
		{0x1301, "TLS_AES_128_GCM_SHA256", true},
		{0x1302, "TLS_AES_256_GCM_SHA384", true},
		{0x1303, "TLS_CHACHA20_POLY1305_SHA256", true},
		{0x1304, "TLS_AES_128_CCM_SHA256", true},
		{0x1305, "TLS_AES_128_CCM_8_SHA256", true},
	}
}

// forwardSuites are those with forward secrecy, for TLS 1.2 and older, good ones
// first. Anonymous ones are left out: a server that has them would choose them
// and show no certificate.
func forwardSuites() []suite {
	return []suite{
		{0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", true},
		{0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", true},
		{0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", true},
		{0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", true},
		{0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", true},
		{0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", true},
		{0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", true},
		{0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", true},
		{0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", true},
		{0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256", true},
		{0x00a3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384", true},
		{0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", true},
		{0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM", true},
		{0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", true},
		{0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", true},
		{0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM", true},
		{0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM", true},
		{0xc0a2, "TLS_DHE_RSA_WITH_AES_128_CCM_8", true},
		{0xc0a3, "TLS_DHE_RSA_WITH_AES_256_CCM_8", true},
		{0xc05c, "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256", true},
		{0xc05d, "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384", true},
		{0xc060, "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256", true},
		{0xc061, "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384", true},
		{0xc052, "TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256", true},
		{0xc053, "TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384", true},
		{0xc086, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_GCM_SHA256", true},
		{0xc087, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_GCM_SHA384", true},
		{0xc08a, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_GCM_SHA256", true},
		{0xc08b, "TLS_ECDHE_RSA_WITH_CAMELLIA_256_GCM_SHA384", true},
		{0xc07c, "TLS_DHE_RSA_WITH_CAMELLIA_128_GCM_SHA256", true},
		{0xc07d, "TLS_DHE_RSA_WITH_CAMELLIA_256_GCM_SHA384", true},
		{0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", true},
		{0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", true},
		{0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", true},
		{0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", true},
		{0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", true},
		{0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", true},
		{0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256", true},
		{0x006a, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256", true},
		{0xc072, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256", true},
		{0xc073, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384", true},
		{0xc076, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256", true},
		{0xc077, "TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384", true},
		{0x00be, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256", true},
		{0x00c4, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256", true},
		{0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", true},
		{0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", true},
		{0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", true},
		{0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", true},
		{0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", true},
		{0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", true},
		{0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA", true},
		{0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA", true},
		{0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", true},
		{0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA", true},
		{0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA", true},
		{0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", true},
		{0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", true},
		{0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", true},
		{0x0013, "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA", true},
		{0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", true},
		{0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA", true},
		{0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA", true},
		{0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", true},
	}
}

// staticSuites are those without forward secrecy, for TLS 1.2 and older, down to
// those that encrypt nothing.
func staticSuites() []suite {
	return []suite{
		{0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", false},
		{0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", false},
		{0xc09c, "TLS_RSA_WITH_AES_128_CCM", false},
		{0xc09d, "TLS_RSA_WITH_AES_256_CCM", false},
		{0xc0a0, "TLS_RSA_WITH_AES_128_CCM_8", false},
		{0xc0a1, "TLS_RSA_WITH_AES_256_CCM_8", false},
		{0xc050, "TLS_RSA_WITH_ARIA_128_GCM_SHA256", false},
		{0xc051, "TLS_RSA_WITH_ARIA_256_GCM_SHA384", false},
		{0xc07a, "TLS_RSA_WITH_CAMELLIA_128_GCM_SHA256", false},
		{0xc07b, "TLS_RSA_WITH_CAMELLIA_256_GCM_SHA384", false},
		{0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256", false},
		{0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256", false},
		{0x00ba, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256", false},
		{0x00c0, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256", false},
		{0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", false},
		{0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", false},
		{0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA", false},
		{0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA", false},
		{0x0096, "TLS_RSA_WITH_SEED_CBC_SHA", false},
		{0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA", false},
		{0xc02d, "TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256", false},
		{0xc02e, "TLS_ECDH_ECDSA_WITH_AES_256_GCM_SHA384", false},
		{0xc031, "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256", false},
		{0xc032, "TLS_ECDH_RSA_WITH_AES_256_GCM_SHA384", false},
		{0xc004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA", false},
		{0xc005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA", false},
		{0xc00e, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA", false},
		{0xc00f, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA", false},
		{0x0031, "TLS_DH_RSA_WITH_AES_128_CBC_SHA", false},
		{0x0037, "TLS_DH_RSA_WITH_AES_256_CBC_SHA", false},
		{0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", false},
		{0x0005, "TLS_RSA_WITH_RC4_128_SHA", false},
		{0x0004, "TLS_RSA_WITH_RC4_128_MD5", false},
		{0x0009, "TLS_RSA_WITH_DES_CBC_SHA", false},
		{0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", false},
		{0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5", false},
		{0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5", false},
		{0x003b, "TLS_RSA_WITH_NULL_SHA256", false},
		{0x0002, "TLS_RSA_WITH_NULL_SHA", false},
		{0x0001, "TLS_RSA_WITH_NULL_MD5", false},
	}
}

// suiteByID names a suite that a server chose; one that is unknown here is
// taken to have forward secrecy only if it belongs to TLS 1.3.
func suiteByID(id uint16) suite {
	for _, list := range [][]suite{suites13(), forwardSuites(), staticSuites()} {
		for _, s := range list {
			if s.id == id {
				return s
			}
		}
	}
	return suite{id: id, name: fmt.Sprintf("0x%04X", id)}
}
