#!/bin/sh
# Download the mail servers of the lab that cannot be installed beside Postfix:
#
#	lab/servers.sh DIR
#	TLSINK_LAB=1 TLSINK_LAB_SERVERS=DIR go test -v ./lab
#
# DIR then holds Debian packages with those that they need and that are not
# installed here. Nothing is installed or removed; the lab unpacks them for
# itself. Run "apt-get update" first if the lists are old.
set -eu

if [ $# -ne 1 ]; then
	echo "usage: $0 DIR" >&2
	exit 2
fi
mkdir -p "$1/partial"
dir=$(cd "$1" && pwd)

# One at a time: these conflict with one another, too.
for package in exim4-daemon-light chasquid; do
	apt-get -qq -y -o Acquire::Retries=3 -o Dir::Cache::archives="$dir" \
		--download-only --no-install-recommends install "$package"
done
