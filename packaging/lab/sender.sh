#!/bin/sh
# A Postfix that enforces POLICY, sends a test mail to the sink, and waits for
# the report in its own mailbox. It ends with 0 if the verdict is POLICY.
#
#	POLICY    none, may, encrypt, verify, dane, dane-only or mta-sts
#	LAB    folder that all share (default /lab)
#	WORK    folder for itself (default /var/lib/tlsink-lab)
#	ZONE, RESOLVER    the sink's zone, the resolver's address
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=${LAB:-/lab}
work=${WORK:-/var/lib/tlsink-lab}
zone=${ZONE:-sink.example}
resolver=${RESOLVER:-192.0.2.53}
domain=$POLICY.example
daemon=

say() { echo "lab: $POLICY: $*"; }

finish() {
	status=$?
	trap - EXIT
	postfix -c "$work/etc" stop >/dev/null 2>&1 || true
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	exit "$status"
}

# Postfix trusts what the resolver says about DNSSEC only with trust-ad.
resolve_by_ours() {
	printf 'nameserver %s\noptions edns0 trust-ad\n' "$resolver" >/etc/resolv.conf
}

# The sink is ready when it has its certificates and its own checks pass: until
# then it puts off whoever asks, and suspends verdicts.
await_sink() {
	say "wait for the sink"
	until curl --silent --fail --max-time 5 --cacert "$lab/roots.pem" "https://$zone/status" >"$work/status" &&
		grep -q "<td>possible<" "$work/status" && grep -q "<td>verifies<" "$work/status" &&
		grep -q "<td>as they should be<" "$work/status"; do
		sleep 2
	done
}

configure() {
	cp "$here/master.cf" "$work/etc/master.cf"
	cat >"$work/etc/main.cf" <<-EOT
		compatibility_level = 3.6
		queue_directory = $work/spool
		data_directory = $work/state
		maillog_file = $work/postfix.log
		maillog_file_prefixes = $work
		myhostname = mx.$domain
		mydomain = $domain
		myorigin = $domain
		mydestination =
		mynetworks = 127.0.0.0/8
		inet_protocols = ipv4
		alias_maps =
		alias_database =
		virtual_mailbox_domains = $domain
		virtual_mailbox_base = $work/mail
		virtual_mailbox_maps = static:inbox/
		virtual_uid_maps = static:65534
		virtual_gid_maps = static:65534
		# Debian's intervals are minutes.
		queue_run_delay = 3s
		minimal_backoff_time = 3s
		maximal_backoff_time = 5s
		smtp_tls_CAfile = $lab/roots.pem
		smtp_tls_loglevel = 1
		# DANE asks once whether the resolver validates, of a zone that is signed here.
		dnssec_probe = ns:$zone
	EOT
	case $POLICY in
	mta-sts)
		cat >>"$work/etc/main.cf" <<-EOT
			smtp_tls_security_level = may
			smtp_tls_policy_maps = socketmap:inet:127.0.0.1:8461:postfix
		EOT
		SSL_CERT_FILE=$lab/roots.pem mta-sts-daemon -c "$here/mta-sts-daemon.yml" >"$work/mta-sts.log" 2>&1 &
		daemon=$!
		until grep -q "Server started" "$work/mta-sts.log"; do sleep 1; done
		;;
	dane*)
		cat >>"$work/etc/main.cf" <<-EOT
			smtp_tls_security_level = $POLICY
			smtp_dns_support_level = dnssec
		EOT
		;;
	*)
		echo "smtp_tls_security_level = $POLICY" >>"$work/etc/main.cf"
		;;
	esac
}

send() {
	sendmail -C "$work/etc" -i -f "tester@$domain" "en@et.$zone" "en@ut.$zone" <<-EOT
		From: Tester <tester@$domain>
		To: en@et.$zone, en@ut.$zone
		Subject: Which policy is it?
		Date: $(date -R)
		Message-ID: <$(date +%s).$$@$domain>

		My server says $POLICY.
	EOT
}

# The report names the verdict in a line such as "Result: dane (…".
await_report() {
	while :; do
		for mail in "$work"/mail/inbox/new/*; do
			if [ -f "$mail" ] && grep -q "^From: .*report@$zone" "$mail"; then
				report=$mail
				return
			fi
		done
		sleep 1
	done
}

trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
rm -rf "${work:?}/mail" "${work:?}/spool" "${work:?}/etc"
mkdir -p "$work/etc" "$work/spool" "$work/state" "$work/mail"
chown postfix "$work/state"
chown 65534:65534 "$work/mail"
resolve_by_ours
await_sink
configure
postfix -c "$work/etc" tls enable-server -a ecdsa "mx.$domain" >/dev/null 2>&1
postfix -c "$work/etc" start
send
say "sent a test mail, wait for the report"
await_report
sed "s/^/$POLICY| /" "$report"
verdict=$(sed -n 's/^Result: \([a-z+-]*\) .*/\1/p' "$report" | head -n 1)
if [ "$verdict" = "$POLICY" ]; then
	say "VERDICT $verdict, as it is configured"
else
	say "VERDICT ${verdict:-none found in the report}, but it is configured as $POLICY"
	exit 1
fi
