#!/bin/sh
# An account that machines share, carried by three servers of etcd, which this scene starts on
# loopback: three depositors, each as if on a machine of its own, and a drawer take turns. The
# server that leads is killed in the middle and started again; the account still balances.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"
bank=etcd:bank
account=$bank/account
lines=$scratch/lines
deposits=20 # of each

command -v etcd >/dev/null ||
    fail "there is no etcd here: './bootstrap cluster' installs it," \
        "or 'apt-get install etcd-server'"
! ETCDCTL_ENDPOINTS=, shmctl ls etcd: 2>&1 | grep -q libshmkit-etcd ||
    fail "there is no libshmkit-etcd here: './bootstrap cluster' builds it"

# What the user has set for etcd is about other servers.
for variable in $(env | sed -n 's/^\(ETCD[A-Z]*_[A-Z_]*\)=.*/\1/p') http_proxy HTTP_PROXY \
    all_proxy ALL_PROXY; do
    unset "$variable"
done

# ---- the servers ----

# serve N: starts server N with what it has on its disk.
serve() {
    etcd --name "server$1" --data-dir "$scratch/server$1" --logger zap --log-level error \
        --listen-client-urls "$(url "$1")" --advertise-client-urls "$(url "$1")" \
        --listen-peer-urls "$(url $(($1 + 3)))" --initial-advertise-peer-urls "$(url $(($1 + 3)))" \
        --initial-cluster "$cluster" --initial-cluster-token "$scratch" \
        --auto-compaction-mode revision --auto-compaction-retention 10000 \
        >>"$scratch/server$1.log" 2>&1 &
    echo $! >"$scratch/server$1.pid"
}

# The URL of the N-th of six ports.
url() {
    echo "http://127.0.0.1:$(sed -n "$1p" "$scratch/ports")"
}

lives() {
    kill -0 "$(cat "$scratch/server$1.pid")" 2>/dev/null
}

# A port may be taken: then a server ends, and others are tried.
start_servers() {
    shuf -i 20000-32000 -n 6 >"$scratch/ports"
    cluster="server1=$(url 4),server2=$(url 5),server3=$(url 6)"
    ETCDCTL_ENDPOINTS=$(url 1),$(url 2),$(url 3)
    export ETCDCTL_ENDPOINTS
    for server in 1 2 3; do
        serve $server
    done
    until shmctl ls etcd: >/dev/null 2>&1; do
        lives 1 && lives 2 && lives 3 || return 1
    done
    lives 1 && lives 2 && lives 3
}

tries=0
until start_servers; do
    for server in 1 2 3; do
        kill -KILL "$(cat "$scratch/server$server.pid")" 2>/dev/null
        wait "$(cat "$scratch/server$server.pid")" 2>/dev/null
        cat "$scratch/server$server.log" >>"$scratch/log"
        rm -rf "$scratch/server$server" "$scratch/server$server.log"
    done
    test $((tries += 1)) -lt 5 || fail "etcd does not start: $(tail -n 1 "$scratch/log")"
done

# The number of the server that leads; "" while none does.
leader() {
    shmctl doctor --raw --noheadings -o ABOUT,FINDING etcd: 2>/dev/null |
        sed -n 's/^[^ ]*(server\([123]\)) leads,.*/\1/p'
}

note "Three servers of etcd, each with its own files, as on three machines:"
await test "$(leader)"
type_in shmctl doctor etcd:

# ---- the account ----

# on MACHINE COMMAND...: types and starts it, as on another machine.
on() {
    machine=$1
    shift
    echo "$machine\$ shmctl demo $* &"
    SHMKIT_ETCD_MACHINE=$machine "$@" >>"$lines" &
    echo $! >>"$scratch/pids"
}

more_than() {
    test "$(wc -l <"$lines")" -gt "$1"
}

note "An account on these servers. Three depositors, which say that they are on three" \
    "machines, pay in, and a drawer draws:"
: >"$lines"
on north depositor "$account" --name 存款者甲 --times $deposits
on south depositor "$account" --name 存款者乙 --times $deposits
on west depositor "$account" --name 存款者丙 --times $deposits
on east drawer "$account" --name 取钱者 --times $((3 * deposits))
await more_than 40
head -n 8 "$lines"
echo ...
type_in shmctl ps -o MACHINE,PID,COMMAND,NAME,HOLDS,WAITS,FOR $bank

# ---- the leader is killed ----

leader=$(leader)
while test -z "$leader"; do
    sleep 0.1
    leader=$(leader)
done
note "The server that leads is killed. The others choose another one, and all go on:"
echo "\$ kill -KILL $(cat "$scratch/server$leader.pid")"
kill -KILL "$(cat "$scratch/server$leader.pid")"
wait "$(cat "$scratch/server$leader.pid")" 2>/dev/null
killed=$(date +%s%N)
before=$(wc -l <"$lines")
await more_than $((before + 7)) # what was on its way is among the first of them
gap=$((($(date +%s%N) - killed) / 100000000))
tail -n 4 "$lines"
echo "So far $((before / 2)) transactions; two more after another leader was chosen: within" \
    "$((gap / 10)).$((gap % 10)) s."
type_in shmctl doctor etcd: >"$scratch/doctor"
grep -A 1 'does not answer' "$scratch/doctor" || fail "doctor does not see that a server is away"
grep '^ok .* majority' "$scratch/doctor" || fail "doctor sees no majority"

note "It is started again, with what it has on its disk, and has all that it missed:"
echo "\$ etcd --name server$leader ... &"
serve "$leader"
while read -r pid; do
    join "$pid" || fail "a depositor or the drawer ended with status $?"
done <"$scratch/pids"
answers() {
    shmctl doctor --raw --noheadings -o ABOUT,FINDING etcd: 2>/dev/null |
        grep -q "(server$leader) follows,\|(server$leader) leads,"
}
await answers
type_in shmctl ls $bank

LC_ALL=C awk -v deposits=$((3 * deposits)) '
    NR % 4 == 1 && /^存款者(甲|乙|丙) 存款:800$/ { paid_in++; next }
    NR % 4 == 2 && /^账户余额为：800$/ { next }
    NR % 4 == 3 && /^取钱者 +取钱:800$/ { drawn++; next }
    NR % 4 == 0 && /^账户余额为：0$/ { next }
    { print "line " NR " is out of turn: " $0; wrong = 1; exit }
    END { exit wrong || paid_in != deposits || drawn != deposits }
' "$lines" || fail "the lines are not $((3 * deposits)) deposits and as many draws, in turn"
passed "$((3 * deposits)) deposits and $((3 * deposits)) draws in turn, 800 after each deposit" \
    "and 0 after each draw, though the leader of the servers was killed in the middle"
