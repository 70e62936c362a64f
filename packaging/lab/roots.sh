#!/bin/sh
# Ask Pebble for its root certificate, which it makes anew at each start: the
# sink and the senders trust it as others trust the public CAs.
#
#	LAB    folder that all share (default /lab)
#	PEBBLE    host and port of Pebble's management interface
set -eu
lab=${LAB:-/lab}
pebble=${PEBBLE:-192.0.2.14:15000}

until curl --silent --fail --output "$lab/roots.new" --max-time 5 --cacert "$lab/pebble.pem" "https://$pebble/roots/0"; do
	sleep 1
done
mv "$lab/roots.new" "$lab/roots.pem"
echo "lab: the CA is ready"
