#!/bin/bash
# The demo programs at objects on etcd.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"
PATH=$SHMKIT_DEMOS:$PATH
start_etcd
on_etcd=etcd:$segment
export SHMKIT_ETCD_TTL=2

waits_so() { # NAME WAITS
    shmctl ps -n -r -o NAME,WAITS "$on_etcd" 2>/dev/null | grep -qx -- "$1 ${2// /\\\\x20}"
}

# ---- producer and consumer ----

exits 0 producer "$on_etcd/words" --count 3 --interval 0 --name 生产者甲 --capacity 10
test "$(grep -c '^生产者甲 *生产者生产元组元素完成！$' "$out")" = 3 || fail "$(cat "$out")"
exits 0 shmctl peek "$on_etcd/words"
prints Python Kotlin Swift
shmctl shutdown "$on_etcd/words"
exits 0 consumer "$on_etcd/words" --interval 0 --name 消费者
test "$(grep -c '^消费者 *消费者消费\[ [KPS][a-z]* \]元素完成！$' "$out")" = 3 || fail "$(cat "$out")"
exits 0 shmctl reopen "$on_etcd/words"
consumer "$on_etcd/words" --raw --name taker >"$scratch/taken" &
consumer=$!
await waits_so taker 'get words'
seq 1 120 >"$scratch/lines"
input=$scratch/lines
exits 0 producer "$on_etcd/words" --stdin --shutdown
input=/dev/null
ends 0 $consumer
seq 1 120 | diff - "$scratch/taken" || fail 'not the lines that were put'
exits 0 shmctl reopen "$on_etcd/words"
exits 0 producer "$on_etcd/soon" --count 3 --interval 0 --order priority --capacity 10
exits 0 shmctl get -c 3 "$on_etcd/soon"
prints Kotlin Python Swift
exits 3 consumer "$on_etcd/words" --timeout 0.2 --count 1
exits 0 producer "$on_etcd/full" --capacity 1 --count 1 --interval 0
exits 3 producer "$on_etcd/full" --timeout 0.2 --count 1 --interval 0
claim 'producer and consumer'

# One is killed while it waits; another one is stopped for longer than its lease.
consumer "$on_etcd/words" --raw --name lost >/dev/null &
lost=$!
await waits_so lost 'get words'
kill -KILL $lost
wait $lost 2>/dev/null
consumer "$on_etcd/words" --raw --name stopped >"$scratch/taken" &
stopped=$!
await waits_so stopped 'get words'
kill -STOP $stopped
is_away() {
    not shmctl ps -n -r -o NAME "$on_etcd" | grep -q stopped
}
await is_away
exits 0 shmctl put "$on_etcd/words" one
kill -CONT $stopped
await grep -qx one "$scratch/taken"
kill $stopped
ends 143 $stopped
claim 'a consumer that is killed, and one that is stopped for longer than its lease'

# ---- depositor and drawer ----

depositor "$on_etcd/account" --name 甲 --times 5 >"$scratch/paid" &
depositor=$!
exits 0 drawer "$on_etcd/account" --name 取 --times 5
ends 0 $depositor
test "$(grep -c '存款:800$' "$scratch/paid")" = 5 || fail "$(cat "$scratch/paid")"
claim 'depositor and drawer'

# ---- worker ----

worker "$on_etcd/go" --name 工人 >"$scratch/worked" &
worker=$!
await waits_so 工人 'set go'
exits 0 shmctl event set "$on_etcd/go"
ends 0 $worker
printf '%s\n' '工人 启动' '工人 准备开始计算状态' '工人 收到通知了.' '工人 正式开始计算！' |
    diff - "$scratch/worked" || fail 'not what a worker says'
exits 0 shmctl event clear "$on_etcd/go"
exits 3 worker "$on_etcd/go" --timeout 0.2
claim 'worker'

# ---- plotter ----

if command -v gnuplot >/dev/null; then
    seq 1 200 | shmctl stream append --stdin "$on_etcd/signal" || fail 'append'
    exits 0 plotter "$on_etcd/signal" --window 100 --output "$scratch/plot.svg"
    grep -q '<svg' "$scratch/plot.svg" || fail 'there is no picture'
    claim 'plotter'
fi

kill_etcd
exits 1 producer "$on_etcd/words" --count 1 --interval 0
complains 'no majority of etcd answers'
claim 'without a server'
