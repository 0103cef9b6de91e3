#!/bin/bash
# The demo programs: options, exit codes, what they print, which program is first, Ctrl-C, and
# deaths.
set -u
. "$SHMKIT_SRCDIR/demos/scene.sh"
export LC_ALL=C # the programs are to know UTF-8 all the same
programs='producer consumer depositor drawer worker'
out=$scratch/out
err=$scratch/err

# Run a command, with its input from $input and its output to $out and $err: it must end with that
# exit code.
input=/dev/null
exits() {
    local wanted=$1
    shift
    timeout 300 "$@" <"$input" >"$out" 2>"$err"
    local status=$?
    test $status = "$wanted" || fail "'$*' exits with $status, not $wanted: $(cat "$err")"
}

# What the last command said on standard error.
complains() {
    grep -q -- "$1" "$err" || fail "'$(cat "$err")' does not say '$1'"
}

prints() {
    printf '%s\n' "$@" | cmp - "$out" || fail "not what should be printed: $(cat "$out")"
}

claim() {
    echo "ok: $*"
}

# Does NAME hold the account's lock?
holds() {
    shmctl ps --raw --noheadings -o NAME,HOLDS "$segment" | grep -q "^$1 .*\(changed\|lock\)"
}

# Does NAME wait, as WHY says it?
waits() {
    shmctl ps --raw --noheadings -o NAME,WAITS "$segment" | grep -q "^$1 ${2% *}.*${2#* }\$"
}

is_member() {
    shmctl ps --raw --noheadings -o NAME "$segment" | grep -qx "$1"
}

# ---- options ----

for program in $programs; do
    exits 0 $program --help
    test ! -s "$err" || fail "$program --help complains"
    for option in --name --timeout --help --version; do
        grep -q -- "$option" "$out" || fail "$program --help does not tell $option"
    done
    test "$(LC_ALL=C.UTF-8 wc -L <"$out")" -le 80 || fail "$program --help is too wide"
    exits 0 $program --version
    grep -q "^$program (shmkit) [0-9]" "$out" || fail "$program --version says $(cat "$out")"
    exits 2 $program
    complains "^$program: .* is missing"
    exits 2 $program a/b c/d
    complains "^$program: too many arguments"
    exits 2 $program --nonsense a/b
    complains "^$program: .*nonsense"
    exits 2 $program --timeout 1h30 a/b
    complains "'1h30' is not a duration"
    exits 2 $program nowhere
    complains "^$program: nowhere: not of the form SEGMENT/OBJECT"
    exits 2 $program nowhere/
    exits 2 $program /
    exits 2 $program ''
    exits 2 $program "$segment/x" --name $'\t'
    complains "^$program: $segment/x: ."
    exits 2 $program "$segment/x" --name "$(printf '%064d' 0)"
    exits 2 $program .hidden/x
done
exits 2 producer --count 0 a/b
complains '^producer: --count: 0 is less than 1'
exits 2 producer --capacity 2147483649 a/b
complains 'is more than 2147483648'
exits 2 producer --capacity 99999999999999999999 a/b
complains 'is more than 2147483648'
exits 2 depositor --times 1x a/b
complains "'1x' is not a whole number"
for duration in '' . 1.2.3 -1 0x10 1e3 nan 1d 99999999999; do
    exits 2 consumer --timeout "$duration" a/b
done
for duration in 0 0.001 .001 1ms 1000us 0.001s; do
    exits 3 consumer --raw --timeout "$duration" "$segment/empty"
    complains "^consumer: $segment/empty: ."
done
claim 'options, and the exit code for wrong ones'

# ---- queues ----

printf 'Python\n\n  存款者甲 \n%5000s\n\0\001\377\nlast' x >"$scratch/lines"
exits 0 shmctl create queue "$segment/pipe" --capacity 3 --item-size 5000
consumer --raw "$segment/pipe" >"$scratch/copy" &
input=$scratch/lines exits 0 producer --stdin --shutdown "$segment/pipe"
test ! -s "$out" || fail "producer --stdin says something"
join $! || fail "consumer --raw exits with $?"
(cat "$scratch/lines" && echo) | cmp - "$scratch/copy" || fail 'the lines did not come through'
exits 5 producer "$segment/pipe" --count 1 --interval 0
complains "^producer: $segment/pipe: ."
exits 0 consumer "$segment/pipe" --raw
exits 5 consumer "$segment/pipe" --raw --count 1
claim 'lines of standard input come through byte for byte, and the end does'

exits 0 shmctl create queue "$segment/short" --capacity 9 --item-size 10
printf 'one\n0123456789\n0123456789a\nfour\n' >"$scratch/lines"
input=$scratch/lines exits 1 producer --stdin "$segment/short"
complains 'line 3 has 11 bytes, the longest item of this queue 10'
exits 0 consumer --raw --count 2 "$segment/short"
prints one 0123456789
exits 3 consumer --raw --timeout 0 "$segment/short"
input=/dev/zero exits 1 producer --stdin "$segment/short"
complains 'line 1 has at least [0-9]* bytes'
claim 'a line that is too long is named, and those before it arrive'

exits 3 consumer --timeout 0.01 --interval 0 "$segment/first"
exits 0 producer --count 1 --interval 0 --name 甲 "$segment/first"
prints '甲       生产者准备生产元组元素！' '甲       生产者生产元组元素完成！'
exits 3 producer --count 1 --interval 0 --timeout 0.01 "$segment/first"
exits 0 producer --stdin --capacity 1 "$segment/first"
exits 1 producer --stdin --capacity 2 "$segment/first"
complains "^producer: $segment/first: ."
exits 1 consumer --raw --item-size 4095 "$segment/first"
exits 0 consumer --count 1 --interval 0 --name 存款者甲 "$segment/first"
prints '存款者甲 消费者准备消费元组元素！' '存款者甲 消费者消费[ Python ]元素完成！'
exits 0 shmctl put "$segment/first" $'a\nb\e[1m存\xff'
exits 0 consumer --count 1 --interval 0 "$segment/first"
grep -q '消费者消费\[ a?b?\[1m存? \]元素完成！$' "$out" || fail "printed as $(cat "$out")"
claim 'a consumer may be first; it makes a queue of one place; geometry that differs is refused'

for program in producer consumer; do
    exits 2 $program --order upside-down a/b
    complains "^$program: --order: there is no order 'upside-down'"
done
exits 2 producer --priority -9223372036854775809 a/b
complains 'is less than'
got_in_order() {
    exits 0 consumer --raw --count 3 "$segment/$1"
    prints "${@:2}"
}
for order in fifo lifo priority; do
    exits 0 producer --order $order --capacity 0 --count 3 --interval 0 "$segment/$order"
    exits 1 consumer --raw --capacity 1 "$segment/$order"
    complains \
        "^consumer: $segment/$order: it is a queue without a limit, for items of at most 4096 bytes"
done
exits 1 consumer --raw --order priority "$segment/lifo"
complains "^consumer: $segment/lifo: "
got_in_order fifo Python Kotlin Swift
got_in_order lifo Swift Kotlin Python
got_in_order priority Kotlin Python Swift
printf 'b\n存款\n\n' |
    (input=/dev/stdin exits 0 producer --stdin --order priority "$segment/priority") || exit 1
got_in_order priority '' b 存款
exits 0 producer --count 1 --interval 0 --priority 5 "$segment/priority"
exits 0 producer --count 2 --interval 0 --priority -5 "$segment/priority"
got_in_order priority Python Kotlin Python
exits 1 producer --count 1 --interval 0 --priority 5 "$segment/fifo"
complains "^producer: $segment/fifo: .*priority"
exits 3 consumer --raw --timeout 0 --order lifo --capacity 0 --item-size 4096 "$segment/lifo"
exits 1 consumer --raw --timeout 0 --item-size 4095 "$segment/lifo"
claim 'each order, with its priorities, and without a limit'

exits 1 worker "$segment/first" --timeout 0
complains "^worker: $segment/first: ."
exits 1 depositor "$segment/first" --timeout 0
claim 'an object of another kind is refused'

mkfifo "$scratch/fifo"
for n in 1 2 3 4 5 6; do
    producer "$segment/many" --capacity 2 --name "$n" --count 30 --interval 0 >"$scratch/fifo" &
done
consumer "$segment/many" --capacity 2 --count 180 --interval 0 >"$scratch/fifo" &
timeout 300 cat "$scratch/fifo" >"$out"
test "$(grep -cE '^[1-6] {7} 生产者(准备生产元组元素|生产元组元素完成)！$' "$out")" = 360 ||
    fail 'lines of producers are not whole'
test "$(grep -cE '消费者(准备消费元组元素|消费\[ (Python|Kotlin|Swift) \]元素完成)！$' "$out")" = 360 ||
    fail 'lines of the consumer are not whole'
claim 'lines stay whole when seven processes share a pipe'

# ---- the account ----

# An output that takes nothing more: a process that prints into it stands still in the middle of a
# transaction.
mkfifo "$scratch/stuck"
exec 4<>"$scratch/stuck"
dd if=/dev/zero of="$scratch/stuck" bs=4096 oflag=nonblock 2>"$err" && fail 'a pipe never fills up'

# Each of these begins and ends with an account that is empty. $way is nothing or --event.

transactions() {
    exits 0 depositor $way "$account" --times 1
    prints '存款者   存款:800' '账户余额为：800'
    exits 3 depositor $way "$account" --times 1 --timeout 0
    complains "^depositor: $account: ."
    exits 3 depositor $way "$account" --timeout 0.05
    exits 0 drawer $way "$account" --times 1 --amount 801 --name 丁
    prints '丁       取钱:801' '账户余额为：-1'
    exits 3 drawer $way "$account" --times 1 --timeout 0.05
    exits 0 depositor $way "$account" --times 1 --amount 801 --name 存款者甲乙
    prints '存款者甲乙 存款:801' '账户余额为：800'
    exits 0 depositor $way "$account" --times 0
    test ! -s "$out" || fail 'no times, and yet a deposit'
    exits 0 drawer $way "$account" --times 1
    prints '取钱者   取钱:800' '账户余额为：0'
    claim "account $way: one side at a time, and the balance after it"
}

other_way() {
    case $way in
    '') exits 1 depositor --event "$account" && complains 'without --event' ;;
    *) exits 1 drawer "$account" && complains 'with --event' ;;
    esac
    claim "account $way: all must wait in the same way"
}

attempts() {
    exits 0 depositor $way "$account" --attempts --times 1
    prints '存款者   存款:800' '账户余额为：800'
    depositor $way "$account" --attempts --times 2 --name 存款者乙 >"$scratch/attempts" &
    await waits 存款者乙 "$deposits"
    exits 0 drawer $way "$account" --times 1
    join $! || fail "depositor --attempts exits with $?"
    printf '存款者乙 存款:800\n账户余额为：800\n' | cmp - "$scratch/attempts" || fail 'a wait is no attempt'
    exits 0 drawer $way "$account" --times 1
    claim "account $way: with --attempts a wait is an attempt"
}

full_output() {
    depositor $way "$account" --times 1 2>"$err" >/dev/full
    test $? = 1 || fail 'what could not be printed was no failure'
    complains '^depositor: standard output: '
    exits 0 depositor $way "$account" --times 1
    exits 0 drawer $way "$account" --times 1
    claim "account $way: a deposit that could not be printed was not made"
}

# Killed in the middle of a deposit, and of a draw, while others wait for the lock: they are told,
# and carry on.
killed_in_the_middle() {
    depositor $way "$account" --name 存款者甲 >"$scratch/stuck" &
    stuck=$!
    await holds 存款者甲
    depositor $way "$account" --name 存款者乙 --times 1 >"$out" 2>"$err" &
    next=$!
    await waits 存款者乙 "$lock"
    kill -KILL $stuck
    join $next || fail "the next depositor exits with $?"
    complains '存款者甲 died in the middle of a deposit of 800, which does not count; the balance is 0'
    prints '存款者乙 存款:800' '账户余额为：800'

    drawer $way "$account" --name 取钱者甲 >"$scratch/stuck" &
    stuck=$!
    await holds 取钱者甲
    drawer $way "$account" --name 取钱者乙 --times 1 >"$out" 2>"$err" &
    next=$!
    await waits 取钱者乙 "$lock"
    kill -KILL $stuck
    join $next || fail "the next drawer exits with $?"
    complains '取钱者甲 died in the middle of a draw of 800, which does not count; the balance is 800'
    prints '取钱者乙 取钱:800' '账户余额为：0'
    claim "account $way: killed in the middle of a transaction, and the next one carries on"
}

# Killed while it waits for its turn, and killed in the middle while others wait for theirs.
killed_asleep() {
    exits 0 depositor $way "$account" --times 1
    depositor $way "$account" --name 存款者甲 >"$scratch/first" &
    first=$!
    await waits 存款者甲 "$deposits"
    : >"$err"
    depositor $way "$account" --name 存款者乙 --times 1 >"$out" 2>>"$err" &
    next=$!
    await waits 存款者乙 "$deposits"
    kill -KILL $first
    drawer $way "$account" --name 取钱者甲 >"$scratch/stuck" &
    stuck=$!
    await holds 取钱者甲
    kill -KILL $stuck
    await ended $stuck
    drawer $way "$account" --name 取钱者乙 --times 1 >"$scratch/drawn" 2>>"$err" ||
        fail "the next drawer exits with $?"
    join $next || fail "the depositor that was asleep exits with $?"
    complains '取钱者甲 died in the middle of a draw of 800, which does not count; the balance is 800'
    prints '存款者乙 存款:800' '账户余额为：800'
    exits 0 drawer $way "$account" --times 1
    claim "account $way: killed asleep, and those behind it carry on"
}

# Press Ctrl-C once more.
insist() {
    kill -INT "$1" 2>/dev/null
    ended "$1"
}

# One is told to end in the middle of a transaction, another while it waits for the lock, a third
# while it waits for its turn. A fourth has been woken for its turn and waits for the lock: a
# condition insists on that, a second Ctrl-C does more.
interrupted() {
    drawer $way "$account" --name 取钱者 2>"$err" &
    first=$!
    await waits 取钱者 "$draws"
    drawer $way "$account" --name 取钱者乙 2>>"$err" &
    fourth=$!
    await waits 取钱者乙 "$draws"
    depositor $way "$account" --name 存款者甲 >"$scratch/stuck" 2>>"$err" &
    stuck=$!
    await holds 存款者甲
    depositor $way "$account" --name 存款者乙 >"$out" 2>>"$err" &
    second=$!
    await waits 存款者乙 "$lock"
    kill -INT $second
    join $second
    test $? = 130 || fail 'Ctrl-C does not end a waiter for the lock'
    await waits 取钱者乙 "$lock"
    await insist $fourth
    join $fourth
    test $? = 130 || fail 'Ctrl-C twice does not end a waiter that was woken'
    kill -TERM $stuck
    join $stuck
    test $? = 143 || fail 'SIGTERM does not end a process that cannot print'
    kill -INT $first
    join $first
    test $? = 130 || fail 'Ctrl-C does not end a waiter for its turn'
    test ! -s "$err" || fail "interrupted, they say: $(cat "$err")"
    test ! -s "$out" || fail "interrupted, it has deposited: $(cat "$out")"
    exits 0 depositor $way "$account" --times 1
    exits 0 drawer $way "$account" --times 1
    test ! -s "$err" || fail "after an orderly end, the next one says: $(cat "$err")"
    claim "account $way: Ctrl-C ends it, whatever it waits for, and takes nothing along"
}

# Six of them, killed at random and replaced. If one is killed between its count and its lines, its
# lines are missing, and the next one says that it died. Nothing else may be out of turn.
storm() {
    lines=$scratch/lines
    said=$scratch/said
    : >"$said"
    # a kill does not cut a write to a pipe short, as it can one to a file
    cat "$scratch/fifo" >"$lines" &
    cat=$!
    exec 6>"$scratch/fifo"
    for n in 0 1 2 3 4 5; do
        pids[n]=0
    done
    for _ in {1..60}; do
        n=$((RANDOM % 6))
        if test "${pids[n]}" != 0; then
            kill -KILL "${pids[n]}"
            wait "${pids[n]}"
        fi
        case $n in
        [012]) depositor $way "$account" --interval 0 --times 1000000 \
            --name "存款者$n" >&6 2>>"$said" & ;;
        *) drawer $way "$account" --interval 0 --times 1000000 --name "取钱者$n" >&6 2>>"$said" & ;;
        esac
        pids[n]=$!
        sleep 0.0$((RANDOM % 10))
    done 2>/dev/null
    depositor $way "$account" --times 10 >&6 2>>"$said" &
    pids[6]=$!
    drawer $way "$account" --times 10 >&6 2>>"$said" &
    pids[7]=$!
    for n in 6 7; do
        join "${pids[n]}" || fail "after the storm, a process exits with $?"
    done
    for n in 0 1 2 3 4 5; do
        kill -KILL "${pids[n]}"
        wait "${pids[n]}"
    done 2>/dev/null
    depositor $way "$account" --timeout 0 --times 2 >&6 2>>"$said"
    test $? = 3 || fail 'it ought to be a turn to draw'
    drawer $way "$account" --times 1 >&6 2>>"$said" || fail "in the end, the drawer exits with $?"
    exec 6>&-
    join "$cat"
    LC_ALL=C awk -v died="$(grep -c ', which counts' "$said")" '
        NR % 2 == 1 && /^存款者[0-5 ]  ?存款:800$/ || /^取钱者[0-5 ]  ?取钱:800$/ {
            twice += $2 == last
            last = $2
            next
        }
        NR % 2 == 0 && $0 == (last ~ /^存/ ? "账户余额为：800" : "账户余额为：0") { next }
        { print "line " NR ": " $0; wrong = 1; exit }
        END {
            if (wrong || twice > died)
                exit 1
            print "  " NR / 2 " transactions, " twice + 0 " not printed, " died \
                " deaths in the middle of one that counts"
        }
    ' "$lines" || fail "lines out of turn; they said: $(cat "$said")"
    claim "account $way: a storm of kills, and it is balanced"
}

for way in '' --event; do
    account=$segment/account$way
    if test -z "$way"; then
        deposits='notify account.changed' draws='notify account.changed' \
            lock='acquire account.changed'
    else
        deposits='set account--event.drawn' draws='set account--event.paid-in' \
            lock='acquire account--event.lock'
    fi
    transactions
    other_way
    attempts
    full_output
    killed_in_the_middle
    killed_asleep
    interrupted
    storm
done

# ---- events, Ctrl-C, removal ----

exits 3 worker "$segment/go" --name 甲 --timeout 0.01
prints '甲 启动' '甲 准备开始计算状态'
exits 0 shmctl event set "$segment/go"
exits 0 worker "$segment/go" --name 甲
prints '甲 启动' '甲 准备开始计算状态' '甲 收到通知了.' '甲 正式开始计算！'
exits 0 worker "$segment/go" --timeout 0
grep -qE '^process-[0-9]+ 启动$' "$out" || fail "without a name it is $(head -n 1 "$out")"
exits 0 env LC_ALL=zh_CN.UTF-8 worker "$segment/go" --timeout 0
grep -qE '^进程-[0-9]+ 启动$' "$out" || fail "without a name it is $(head -n 1 "$out") in Chinese"
exits 0 shmctl event clear "$segment/go"
claim 'a worker waits for the event, if it has to'

# interrupt STATE PROGRAM ...: start it, wait for the state, send each signal: it dies of that, and
# says nothing.
interrupt() {
    local state=$1 signal
    shift
    for signal in 2 15; do
        "$@" --name 被中断者 <"$scratch/silent" >"$out" 2>"$err" &
        await $state
        kill -$signal $!
        join $!
        test $? = $((128 + signal)) || fail "signal $signal does not end '$*'"
        test ! -s "$err" || fail "signal $signal makes '$*' say: $(cat "$err")"
        is_member 被中断者 && fail "'$*' is still a member"
    done
}
waits_to_get() { waits 被中断者 'get nothing'; }
waits_to_put() { waits 被中断者 'put full'; }
waits_for_go() { waits 被中断者 'set go'; }
is_in() { is_member 被中断者; }
mkfifo "$scratch/silent"
exec 5<>"$scratch/silent"
exits 0 producer --count 1 --interval 0 "$segment/full"
interrupt waits_to_get consumer --raw "$segment/nothing"
interrupt waits_to_put producer --interval 0 "$segment/full"
interrupt waits_for_go worker "$segment/go"
interrupt is_in consumer --interval 100 "$segment/nothing"
interrupt is_in producer --interval 100 "$segment/nothing"
interrupt is_in producer --stdin "$segment/nothing"
claim 'Ctrl-C and SIGTERM end each of them wherever it waits'

worker "$segment/go" --name 甲 >"$out" 2>"$err" &
await waits 甲 'set go'
exits 0 shmctl rm "$segment"
join $!
test $? = 4 || fail 'removed beneath it, the worker goes on'
claim 'the segment is removed beneath a worker'

# ---- which program is first ----

for _ in 1 2 3 4 5 6; do
    pids=()
    consumer "$segment/q" --count 4 --interval 0 >"$scratch/1" & pids+=($!)
    producer "$segment/q" --count 2 --interval 0 >"$scratch/2" & pids+=($!)
    producer "$segment/q" --count 2 --interval 0 >"$scratch/3" & pids+=($!)
    depositor "$segment/a" --times 5 >"$scratch/4" & pids+=($!)
    drawer "$segment/a" --times 5 >"$scratch/5" & pids+=($!)
    depositor "$segment/b" --event --times 5 >"$scratch/6" & pids+=($!)
    drawer "$segment/b" --event --times 5 >"$scratch/7" & pids+=($!)
    for pid in "${pids[@]}"; do
        join "$pid" || fail "one of those that came at the same time exits with $?"
    done
    exits 0 shmctl rm "$segment"
done
claim 'seven programs that start at the same moment make one segment and find each other'
