#!/bin/sh
# Make what the others share, once: the certificate of Pebble's own HTTPS
# server, which the sink and the senders are told to trust.
#
#	LAB    folder that all share (default /lab)
set -eu
lab=${LAB:-/lab}

if [ ! -s "$lab/pebble.pem" ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
		-subj /CN=pebble -addext subjectAltName=DNS:localhost,IP:192.0.2.14 \
		-keyout "$lab/pebble.key" -out "$lab/pebble.new" 2>/dev/null
	mv "$lab/pebble.new" "$lab/pebble.pem"
fi
echo "lab: everything is prepared"
