#!/bin/sh
# The validating resolver of the laboratory. It knows where the sink's zone is,
# and takes the key that the zone has when it is first asked as its trust anchor:
# on the Internet, the DS record at the parent says it.
#
#	WORK    folder for itself (default /var/lib/tlsink-lab)
#	ZONE, SINK    the sink's zone and address
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-/var/lib/tlsink-lab}
zone=${ZONE:-sink.example}
sink=${SINK:-192.0.2.25}

configure() {
	cat >"$work/unbound.conf" <<-EOT
		server:
			directory: "$work"
			$1
		include: "$here/unbound.conf"
	EOT
}

# Pebble asks it as soon as the sink runs: it answers without an anchor, too.
mkdir -p "$work"
configure ""
unbound -d -c "$work/unbound.conf" &
unbound=$!
trap 'kill "$unbound"' TERM INT

echo "lab: wait for the zone $zone at $sink"
until dig +noall +answer +time=1 +tries=1 "@$sink" "$zone" DNSKEY >"$work/anchors" && grep -q DNSKEY "$work/anchors"; do
	sleep 1
done
configure "trust-anchor-file: \"$work/anchors\""
kill -HUP "$unbound"
echo "lab: resolve and validate $zone"
while kill -0 "$unbound" 2>/dev/null; do
	wait "$unbound" || true
done
