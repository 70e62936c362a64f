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

download() {
	apt-get -qq -y -o Acquire::Retries=3 -o Dir::Cache::archives="$dir" "$@"
}

# One at a time: these conflict with one another, too.
for package in exim4-daemon-light chasquid; do
	download --download-only --no-install-recommends install "$package"
done

# The OpenSMTPD of Debian 12 fails in every TLS handshake (OpenSMTPD #1239).
lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT
chmod 755 "$lists" # apt downloads as a user of its own
cat >"$lists/backports.sources" <<'END'
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
mkdir -p "$lists/lists/partial"
set -- -o Dir::Etc::sourcelist="$lists/backports.sources" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$lists/lists"
download "$@" update
cd "$dir"
rm -f opensmtpd_*.deb
download "$@" -o APT::Sandbox::User=root download opensmtpd
