package report

import "testing"

func TestDeliveryInGerman(t *testing.T) {
	for _, tt := range []struct{ why, want string }{
		{
			"given up after 12 attempts: could not be delivered because of the DANE or MTA-STS policy of the domain (mx1.example: no TLSA record matches)",
			"nach 12 Versuchen aufgegeben: nicht zustellbar wegen der DANE- oder MTA-STS-Vorgaben der Domain (mx1.example: no TLSA record matches)",
		},
		{"SPF fail; no DKIM signature", "SPF fail; keine DKIM-Signatur"},
		{"not sent: limit of 5 reports a day to this address reached", "nicht verschickt: Die Obergrenze für Berichte an einem Tag ist erreicht"},
		{"451 4.7.1 Greylisted; try again", "451 4.7.1 Greylisted; try again"},
		{"", ""},
	} {
		if got := deliveryText(tt.why, German); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.why, got, tt.want)
		}
		if got := deliveryText(tt.why, English); got != tt.why {
			t.Errorf("English: %q, want %q", got, tt.why)
		}
	}
}
