#!/usr/bin/env bash
# Measures letterbox beside Dovecot, and beside Postfix in front of Dovecot, in turns on this machine, and prints a Markdown table.
#
#   bash deploy/bench/compare.sh [ROW...]      rows: drain list login idle smtp mix; all when none is named
#
# It wants root, Debian 12's dovecot-pop3d, dovecot-lmtpd and postfix, and Go, or a binary of letterbox in $LETTERBOX. All three
# listen on free ports of 127.0.0.1 and live in one temporary folder, which is removed at the end. Nothing of the installed
# servers' own configuration is read or changed. All measurements are made by `letterbox bench`.
#
# Each server has what is best for it: Dovecot compares passwords in clear (letterbox's are hashed by Argon2id) and keeps its login
# processes (its high-performance mode); Postfix may start 1,200 processes. Both write to disk as their defaults say, and letterbox is
# as it comes.
#
# $TMPDIR: where the folder is made, on the disk that is meant.
# $ROUNDS (3): measurements of each, the median counts. $SECONDS_EACH (4): of one rate. $MESSAGES (10000): of a drain.
# $LARGE (100000): messages of the large maildrop. $SESSIONS (1000): idle ones.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-4} messages=${MESSAGES:-10000} large=${LARGE:-100000} sessions=${SESSIONS:-1000}
readonly domain=bench.test window=32
export LETTERBOX_BENCH_PASSWORD=secret
rows=("$@")
[ $# -gt 0 ] || rows=(drain list login idle smtp mix)

die() { printf 'compare: %s\n' "$*" >&2; exit 1; }
say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

[ "$(id -u)" = 0 ] || die "run this as root: Postfix and Dovecot start processes of other users"
for program in dovecot doveadm postfix postmap; do
  command -v "$program" >/dev/null || die "$program is not installed: apt-get install dovecot-pop3d dovecot-lmtpd postfix"
done
[[ $(dovecot --version) == 2.3.* ]] || die "this is Dovecot $(dovecot --version), and the configuration here is for 2.3 (Debian 12)"

ulimit -n 20000 # descriptors, for idle sessions on both sides
dir=$(mktemp -d)
chmod 755 "$dir"
letterbox_pid=
finish() {
  [ ! -e "$dir/postfix/main.cf" ] || postfix -c "$dir/postfix" stop 2>/dev/null || true
  [ ! -e "$dir/run/master.pid" ] || doveadm -c "$dir/dovecot.conf" stop || true
  [ -z "$letterbox_pid" ] || { kill "$letterbox_pid" && wait "$letterbox_pid"; } 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT

bin=${LETTERBOX:-$dir/letterbox}
[ -n "${LETTERBOX:-}" ] || CGO_ENABLED=0 go build -trimpath -o "$bin" ./cmd/letterbox

# free_port finds a port of 127.0.0.1 that nobody listens on.
free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

# wait_port waits until somebody listens on a port.
wait_port() {
  local i
  for ((i = 0; i < 300; i++)); do
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.1
  done
  die "nothing listens on port $1"
}

start_dovecot() {
  dovecot -c "$dir/dovecot.conf"
  wait_port "$dovecot_pop3"
  wait_port "$dovecot_lmtp"
  dovecot_pid=$(cat "$dir/run/master.pid")
}

configure_dovecot() {
  dovecot_pop3=$(free_port) dovecot_lmtp=$(free_port)
  mkdir -p "$dir/run" "$dir/mail"
  chown mail:mail "$dir/mail"
  local i
  for ((i = 0; i < users; i++)); do printf 'u%04d:{PLAIN}secret\n' "$i"; done >"$dir/users"
  cat >"$dir/dovecot.conf" <<CONF
base_dir = $dir/run
state_dir = $dir/run
log_path = $dir/dovecot.log
protocols = pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_username_format = %Ln
mail_location = maildir:~/Maildir
mail_home = $dir/mail/%n
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
mail_max_userip_connections = 0
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%n $dir/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$dir/mail/%n
}
service pop3-login {
  service_count = 0
  client_limit = 3000
  process_min_avail = 2
  inet_listener pop3 {
    address = 127.0.0.1
    port = $dovecot_pop3
  }
  inet_listener pop3s {
    port = 0
  }
}
service pop3 {
  process_limit = 3000
}
service lmtp {
  process_limit = 300
  inet_listener lmtp {
    address = 127.0.0.1
    port = $dovecot_lmtp
  }
}
service anvil {
  client_limit = 10000
}
service auth {
  client_limit = 10000
}
service stats {
  client_limit = 10000
}
CONF
}

start_postfix() {
  postfix_smtp=$(free_port)
  mkdir -p "$dir/postfix" "$dir/spool" "$dir/postfix-data"
  chown postfix "$dir/postfix-data"
  local i
  for ((i = 0; i < users; i++)); do printf 'u%04d@%s x\n' "$i" "$domain"; done >"$dir/postfix/users"
  cat >"$dir/postfix/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $dir/spool
data_directory = $dir/postfix-data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = $dir/postfix.log
maillog_file_prefixes = $dir
syslog_name = compare
myhostname = mx.bench.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
virtual_mailbox_domains = $domain
virtual_mailbox_maps = hash:$dir/postfix/users
virtual_transport = lmtp:inet:127.0.0.1:$dovecot_lmtp
alias_maps =
local_recipient_maps =
message_size_limit = 52428800
mailbox_size_limit = 0
default_process_limit = 1200
biff = no
smtpd_tls_security_level = none
CONF
  # Debian's own services, with smtpd on our port and nothing in a chroot.
  {
    echo "127.0.0.1:$postfix_smtp inet n - n - - smtpd"
    awk '/^(#|[[:space:]]|$)/ || $1 == "smtp" && $2 == "inet" { next } $2 ~ /^unix/ && $8 !~ /^(pipe|local|virtual)$/ { $5 = "n"; print }' \
      /usr/share/postfix/master.cf.dist
    echo "virtual unix - n n - - virtual"
    echo "local unix - n n - - local"
  } >"$dir/postfix/master.cf"
  postmap -c "$dir/postfix" "hash:$dir/postfix/users"
  postfix -c "$dir/postfix" start 2>"$dir/postfix.start" || die "Postfix does not start: $(cat "$dir/postfix.start")"
  wait_port "$postfix_smtp"
  postfix_pid=$(tr -dc 0-9 <"$dir/spool/pid/master.pid")
}

# start_letterbox makes the accounts at the first time.
start_letterbox() {
  local i create=
  for ((i = 0; i < users; i++)); do create+=$(printf ',u%04d@%s:secret' "$i" "$domain"); done
  : >"$dir/letterbox.log"
  LETTERBOX_CONFIG=/dev/null LETTERBOX_ACCOUNTS_CREATE=${create#,} "$bin" serve --data "$dir/letterbox-data" --hostname mx.bench.test \
    --smtp 127.0.0.1:0 --lmtp 127.0.0.1:0 --pop3 127.0.0.1:0 --pop3s off --metrics off --log-format json \
    --log-level info >/dev/null 2>"$dir/letterbox.log" &
  letterbox_pid=$!
  for ((i = 0; i < 3000; i++)); do
    letterbox_pop3=$(listener pop3) letterbox_smtp=$(listener smtp)
    [ -z "$letterbox_pop3" ] || [ -z "$letterbox_smtp" ] || return 0
    kill -0 "$letterbox_pid" 2>/dev/null || die "letterbox does not start: $(tail -1 "$dir/letterbox.log")"
    sleep 0.1
  done
  die "letterbox does not start: $(tail -1 "$dir/letterbox.log")"
}

# listener is the address that letterbox says it listens on.
listener() {
  sed -n '/"message":"listening"/s/.*"listener":"'"$1"'".*/&/p' "$dir/letterbox.log" | grep -o '127\.0\.0\.1:[0-9]*' | head -1 || true
}

# bench runs letterbox bench and prints its JSON. What failed counts only where nothing was done.
bench() {
  "$bin" bench "$@" --json --timeout 120s 2>>"$dir/bench.err" >"$dir/result" || {
    [ -s "$dir/result" ] && [ "$(field done <"$dir/result")" != 0 ] || die "bench $*: $(tail -1 "$dir/bench.err")"
    say "bench $*: $(tail -1 "$dir/bench.err"): $(grep -m1 '"example"' "$dir/result" || true)"
  }
  cat "$dir/result"
}

# field prints the value at a path of JSON that has one key a line.
field() {
  awk -v want="$1" '{
    match($0, /^ */); depth = RLENGTH / 2
    if (!match($0, /"[^"]*":/)) next
    path[depth] = substr($0, RSTART + 1, RLENGTH - 3); value = substr($0, RSTART + RLENGTH + 1); sub(/,$/, "", value)
    here = path[1]; for (i = 2; i <= depth; i++) here = here "." path[i]
    if (here == want) { print value; exit }
  }'
}

# note keeps one value: row, server (peer or letterbox), number.
note() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$dir/values"; }

# median prints the median of what was noted.
median() {
  awk -F'\t' -v row="$1" -v server="$2" '$1 == row && $2 == server { print $3 }' "$dir/values" | sort -g |
    awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'
}

# row prints a line of the table: title, key, unit, format, and which of the two is better: more or less.
row() {
  local peer own
  peer=$(median "$2" peer) own=$(median "$2" letterbox)
  [ -n "$peer" ] && [ -n "$own" ] || return 0
  awk -v title="$1" -v peer="$peer" -v own="$own" -v unit="$3" -v format="$4" -v better="$5" 'BEGIN {
    times = better == "more" ? own / peer : peer / own
    printf "| %s | " format " %s | " format " %s | %.3g × |\n", title, peer, unit, own, unit, times
  }'
}

# fill puts messages of 4 KiB into the maildrop of one user, or of as many from there on, by LMTP into Dovecot and by SMTP into letterbox.
fill() { # peer|letterbox USER COUNT [USERS]
  case $1 in
    peer) bench smtp --target "127.0.0.1:$dovecot_lmtp" --lmtp --first "$2" --users "${4:-1}" --connections 4 --messages "$3" --time 10m >/dev/null ;;
    letterbox) bench smtp --target "$letterbox_smtp" --first "$2" --users "${4:-1}" --connections 20 --messages "$3" --time 10m >/dev/null ;;
  esac
}

# fill_large makes the large maildrop. Dovecot's is written as its LMTP server names the files, which takes a second in place of many
# minutes; a first login lets it make its index.
fill_large() { # peer|letterbox USER
  case $1 in
    peer)
      perl -e '
        my ($dir, $n) = @ARGV;
        my $body = "From: a\@b.example\nTo: <x\@bench.test>\nSubject: seed\nMessage-ID: <s\@b.example>\n\n" . ("x" x 74 . "\n") x 52;
        my ($octets, $lines, $base) = (length($body), ($body =~ tr/\n//));
        mkdir "$dir$_" for "", "/Maildir", "/Maildir/tmp", "/Maildir/cur", "/Maildir/new";
        for my $i (0 .. $n - 1) {
          my $name = sprintf "%s/Maildir/new/%d.M%dP1.compare,S=%d,W=%d", $dir, 1700000000 + $i / 1000, $i, $octets, $octets + $lines;
          if ($i % 40000) { link $base, $name or die $! } else { $base = $name; open my $f, ">", $name or die $!; print $f $body; close $f }
        }' "$dir/mail/$(printf 'u%04d' "$2")" "$large"
      chown -R mail:mail "$dir/mail/$(printf 'u%04d' "$2")"
      bench pop3 list --target "127.0.0.1:$dovecot_pop3" --first "$2" --time 5m >/dev/null
      ;;
    letterbox) fill letterbox "$2" "$large" ;;
  esac
}

pop3_of() { [ "$1" = peer ] && echo "127.0.0.1:$dovecot_pop3" || echo "$letterbox_pop3"; }
pop3_pids() { [ "$1" = peer ] && echo "$dovecot_pid" || echo "$letterbox_pid"; }

measure_drain() {
  local width users server
  for width in 1 "$window"; do
    for users in 1 10; do
      for server in peer letterbox; do
        fill "$server" 30 "$messages" "$users"
        bench pop3 drain --target "$(pop3_of "$server")" --first 30 --users "$users" --connections "$users" --window "$width" --delete --time 5m \
          --pids "$(pop3_pids "$server")" >"$dir/drain"
        note "drain$width-$users" "$server" "$(field per_second <"$dir/drain")"
        note "drain$width-$users-cpu" "$server" "$(field server.cpu_seconds_per_1000 <"$dir/drain")"
        [ "$(field check.intact <"$dir/drain")" = "$messages" ] || die "$server: $(field check.intact <"$dir/drain") of $messages messages came out intact"
      done
    done
  done
}

# restart starts a server anew; between stop and start it calls what else is given.
restart() {
  case $1 in
    peer) doveadm -c "$dir/dovecot.conf" stop; while kill -0 "$dovecot_pid" 2>/dev/null; do sleep 0.1; done ;;
    letterbox) kill "$letterbox_pid"; wait "$letterbox_pid" || true ;;
  esac
  "${@:2}"
  case $1 in peer) start_dovecot ;; letterbox) start_letterbox ;; esac
}

# drop_cache drops what the system keeps of files, where it may be dropped.
drop_cache() {
  sync
  { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || say "the page cache can't be dropped here: cold is less cold"
}

measure_list() {
  local server state
  for server in peer letterbox; do
    [ -e "$dir/filled-$server" ] || fill_large "$server" 41
    : >"$dir/filled-$server"
    restart "$server" drop_cache
    for state in cold warm; do
      bench pop3 list --target "$(pop3_of "$server")" --first 41 --time 5m >"$dir/list"
      note "list-$state" "$server" "$(awk -v a="$(field latency.login.p50_ms <"$dir/list")" -v b="$(field latency.stat.p50_ms <"$dir/list")" \
        -v c="$(field latency.uidl.p50_ms <"$dir/list")" 'BEGIN { print a + b + c }')"
    done
  done
}

measure_login() {
  local server
  for server in peer letterbox; do
    bench pop3 login --target "$(pop3_of "$server")" --users 20 --connections 10 --time "${seconds}s" >"$dir/login"
    note login "$server" "$(field per_second <"$dir/login")"
  done
}

measure_idle() {
  local server
  for server in peer letterbox; do
    restart "$server"
    bench pop3 idle --target "$(pop3_of "$server")" --first 50 --users "$sessions" --connections "$sessions" --time 2m --hold 5s \
      --pids "$(pop3_pids "$server")" >"$dir/idle"
    [ "$(field done <"$dir/idle")" = "$sessions" ] || die "$server held $(field done <"$dir/idle") of $sessions sessions"
    note idle "$server" "$(field server.pss_bytes <"$dir/idle" | awk '{ print $1 / 1048576 }')"
    note idle-each "$server" "$(field server.pss_bytes_per_session <"$dir/idle" | awk '{ print $1 / 1024 }')"
  done
}

# measure_senders is one load of senders on both: a name for its rows, and flags.
measure_senders() {
  local name=$1 server smtp pids
  shift
  for server in peer letterbox; do
    smtp=$letterbox_smtp pids=$letterbox_pid
    [ "$server" = letterbox ] || smtp=127.0.0.1:$postfix_smtp pids=$postfix_pid,$dovecot_pid
    bench smtp --target "$smtp" --users 10 --connections 50 --messages 0 --time "${seconds}s" --retrievable "$(pop3_of "$server")" \
      --pids "$pids" "$@" >"$dir/smtp"
    note "$name-rate" "$server" "$(field retrievable_per_second <"$dir/smtp")"
    note "$name-p99" "$server" "$(field latency.message.p99_ms <"$dir/smtp")"
    note "$name-cpu" "$server" "$(field server.cpu_seconds_per_1000 <"$dir/smtp")"
    note "$name-octets" "$server" "$(awk -v n="$(field octets <"$dir/smtp")" -v s="$(field retrievable_seconds <"$dir/smtp")" 'BEGIN { print n / s / 1048576 }')"
    # What was accepted is drained, so that each round finds empty maildrops, and proves itself whole.
    bench pop3 drain --target "$(pop3_of "$server")" --users 10 --connections 4 --window "$window" --delete --time 5m >"$dir/drained"
    [ "$(field check.altered <"$dir/drained")" = 0 ] || die "$server altered messages"
  done
}

table() {
  echo "| what | Dovecot (Postfix + Dovecot for SMTP) | letterbox | letterbox is better by |"
  echo "| --- | --- | --- | --- |"
  row "POP3: drain of $messages messages of 4 KiB" drain1-1 "messages/s" "%.0f" more
  row "POP3: the same, $window commands pipelined" "drain$window-1" "messages/s" "%.0f" more
  row "POP3: CPU time for 1,000 of them, one command at a time" drain1-1-cpu s "%.3f" less
  row "POP3: CPU time for 1,000 of them, $window commands pipelined" "drain$window-1-cpu" s "%.3f" less
  row "POP3: drain of as many from 10 maildrops at once" drain1-10 "messages/s" "%.0f" more
  row "POP3: as many from 10, $window commands pipelined" "drain$window-10" "messages/s" "%.0f" more
  row "POP3: login, STAT and UIDL of $large messages, after a restart" list-cold ms "%.1f" less
  row "POP3: the same again" list-warm ms "%.1f" less
  row "POP3: repeated logins, 10 connections" login "logins/s" "%.0f" more
  row "POP3: memory with $sessions idle sessions" idle MiB "%.1f" less
  row "POP3: memory of each of them" idle-each KiB "%.1f" less
  row "SMTP: 4 KiB messages accepted and retrievable, 50 connections" smtp-rate "messages/s" "%.0f" more
  row "SMTP: 99th percentile of accepting one of them" smtp-p99 ms "%.1f" less
  row "SMTP: CPU time for 1,000 of them" smtp-cpu s "%.2f" less
  row "SMTP: mixed sizes accepted and retrievable, 50 connections" mix-octets "MiB/s" "%.1f" more
}

users=50
case " ${rows[*]} " in *" idle "*) users=$((50 + sessions)) ;; esac
: >"$dir/values"
say "starting, with $users accounts"
configure_dovecot
start_dovecot
case " ${rows[*]} " in *" smtp "* | *" mix "*) start_postfix ;; esac
start_letterbox
for ((round = 1; round <= rounds; round++)); do
  for name in "${rows[@]}"; do
    say "round $round of $rounds: $name"
    case $name in
      drain | list | login | idle) "measure_$name" ;;
      smtp) measure_senders smtp ;;
      mix) measure_senders mix --mix ;;
      *) die "there is no row $name; there are: drain list login idle smtp mix" ;;
    esac
  done
done
printf '%s, Dovecot %s, Postfix %s; %s processors, %s; the median of %s rounds, in turns.\n\n' "$("$bin" version | head -1)" \
  "$(dovecot --version | cut -d' ' -f1)" "$(postconf -h mail_version)" "$(nproc)" "$(stat -f -c %T "$dir")" "$rounds"
table
