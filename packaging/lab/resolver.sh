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

mkdir -p "$work"
echo "lab: wait for the zone $zone at $sink"
until dig +noall +answer +time=1 +tries=1 "@$sink" "$zone" DNSKEY >"$work/anchors" && grep -q DNSKEY "$work/anchors"; do
	sleep 1
done
cat >"$work/unbound.conf" <<-EOT
	server:
		directory: "$work"
		trust-anchor-file: "$work/anchors"
	include: "$here/unbound.conf"
EOT
echo "lab: resolve and validate $zone"
exec unbound -d -c "$work/unbound.conf"
