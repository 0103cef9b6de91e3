#!/bin/sh
# Two workers wait for an event. Setting it releases both, and so does setting and clearing it at
# once.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"
event=$segment/event

note "Two workers start, and wait:"
worker "$event" --name 甲 >"$scratch/甲" &
first=$!
worker "$event" --name 乙 >"$scratch/乙" &
second=$!
await asleep 2 'set event'
cat "$scratch/甲" "$scratch/乙"
test "$(cat "$scratch/甲" "$scratch/乙" | wc -l)" = 4 || fail "a worker did not wait"
type_in shmctl ps -o PID,COMMAND,NAME,HOLDS,WAITS,FOR "$segment"

echo ------------------
echo 主进程发出事件
type_in shmctl event set "$event"
for worker in "$first" "$second"; do
    join "$worker" || fail "a worker ended with status $?"
done
for name in 甲 乙; do
    tail -n 2 "$scratch/$name"
    printf "$name %s\n" 启动 准备开始计算状态 收到通知了. 正式开始计算！ | cmp - "$scratch/$name" ||
        fail "$name did not say what it should"
done

note "The event is still set: a worker that comes now need not wait."
worker "$event" --name 丙 --timeout 0 || fail "it had to wait"

note "Cleared, and two workers wait again. They are stopped, so that they cannot" \
    "run while the event is set and cleared at once:"
type_in shmctl event clear "$event"
worker "$event" --name 甲 >"$scratch/甲" &
first=$!
worker "$event" --name 乙 >"$scratch/乙" &
second=$!
await asleep 2 'set event'
kill -STOP "$first" "$second"
type_in shmctl event set "$event"
type_in shmctl event clear "$event"
kill -CONT "$first" "$second"
for worker in "$first" "$second"; do
    join "$worker" || fail "a worker ended with status $?"
done
tail -n 2 "$scratch/甲"
tail -n 2 "$scratch/乙"
shmctl event is-set "$event" && fail "the event is set"
passed "setting the event released both workers," "and so did setting and clearing it at once"
