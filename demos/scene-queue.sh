#!/bin/sh
# Queues: the third put into one of two places blocks; the three orders, first in first out, last in
# first out and by priority; three producers and one consumer; three real text files.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"

# ---- 1: Queue(2) ----

words=$segment/words
note "A queue of two places takes two items; the third put blocks:"
type_in shmctl create queue "$words" --capacity 2
type_in shmctl put "$words" Python
type_in shmctl put "$words" Python
echo 1111111111
echo "\$ shmctl put $words Python &"
shmctl put "$words" Python &
third=$!
await asleep 1 'put words'
type_in shmctl ps -o PID,COMMAND,NAME,HOLDS,WAITS,FOR "$segment"

note "A consumer gets an item, and the third put is done:"
type_in shmctl get "$words"
join "$third" || fail "the third put ended with status $?"
echo 2222222222

# ---- 2: the three classes ----

note "Queue, LifoQueue and PriorityQueue, side by side. Into each, of three places," \
    "a producer puts Python, Kotlin, Swift and Python; the fourth put waits:"
for order in fifo lifo priority; do
    echo "\$ shmctl demo producer $segment/$order --order $order --capacity 3 --count 4 &"
    producer "$segment/$order" --order $order --capacity 3 --count 4 --name $order \
        --interval 0 >"$scratch/said-$order" &
    echo $! >"$scratch/$order.pid"
done
for order in fifo lifo priority; do
    await asleep 1 "put $order"
done
type_in shmctl ls -o PATH,ORDER,CAPACITY,ITEMS,WAITERS "$segment"
for order in fifo lifo priority; do
    consumer "$segment/$order" --raw --count 1 >"$scratch/got-$order" ||
        fail "a consumer ended with status $?"
    join "$(cat "$scratch/$order.pid")" || fail "the producer of $order ended with status $?"
    test "$(grep -c '生产者生产元组元素完成！$' "$scratch/said-$order")" = 4 || fail "it has not put four items"
    consumer "$segment/$order" --raw --count 3 >>"$scratch/got-$order" ||
        fail "a consumer ended with status $?"
done

note "What a consumer gets: one item, and when the fourth put is done, the others:"
{
    echo 'Queue LifoQueue PriorityQueue'
    echo '----- --------- -------------'
    paste -d ' ' "$scratch/got-fifo" "$scratch/got-lifo" "$scratch/got-priority"
} | while read -r first second third; do
    printf '%-16s%-16s%s\n' "$first" "$second" "$third"
done | tee "$scratch/classes"
cmp - "$scratch/classes" <<'END' || fail "that is another order"
Queue           LifoQueue       PriorityQueue
-----           ---------       -------------
Python          Swift           Kotlin
Kotlin          Python          Python
Swift           Kotlin          Python
Python          Python          Swift
END

# ---- 3: capacity 1 ----

one=$segment/one
note "Three producers of three items each, and one consumer, at one place:"
mkfifo "$scratch/pipe"
tee "$scratch/lines" <"$scratch/pipe" &
tee=$!
exec 3>"$scratch/pipe"
producer "$one" --name 甲 --count 3 >&3 &
first=$!
producer "$one" --name 乙 --count 3 >&3 &
second=$!
producer "$one" --name 丙 --count 3 >&3 &
third=$!
consumer "$one" --name 丁 --count 9 >&3 &
consumer=$!
exec 3>&-
for process in "$first" "$second" "$third" "$consumer" "$tee"; do
    join "$process" || fail "a process ended with status $?"
done
# Each line is whole, and everything that was put has been got.
LC_ALL=C awk '
    /^(甲|乙|丙) +生产者(准备生产元组元素|生产元组元素完成)！$/ { produced++; next }
    /^丁 +消费者准备消费元组元素！$/ { next }
    /^丁 +消费者消费\[ (Python|Kotlin|Swift) \]元素完成！$/ { consumed[$3]++; next }
    { print "not a line of theirs: " $0; wrong = 1; exit }
    END {
        exit wrong || produced != 18 ||
            consumed["Python"] != 3 || consumed["Kotlin"] != 3 || consumed["Swift"] != 3
    }
' "$scratch/lines" || fail "not three times Python, Kotlin and Swift"

# ---- 4: real input ----

# Names of text files: of this repository where that can be found, of Debian's licences elsewhere.
texts() {
    source=${SHMKIT_SRCDIR:-$here/..}
    if test -f "$source/lib/shmkit.h"; then
        find "$source/lib" "$source/tools" "$source/demos" "$source/tests" -name '*.[ch]' \
            -o -name '*.sh' -o -name '*.1'
    else
        find /usr/share/common-licenses/ /usr/share/doc/bash /usr/share/doc/coreutils -type f ! \
            -name '*.gz'
    fi 2>/dev/null | LC_ALL=C sort
    ls "$here"/*.sh
}

# Every third of those files from the $1st on, again and again until there are 4,000 lines; after
# every 50th an empty line, after every 200th one of several KiB.
text() {
    while test "$(wc -l <"$scratch/raw")" -lt 4000; do
        texts | awk -v n="$1" 'NR % 3 == n % 3' |
            while read -r file; do cat "$file"; done >>"$scratch/raw"
    done
    LC_ALL=C awk '
        { print }
        NR % 50 == 0 { print "" }
        NR % 200 == 0 {
            for (line = ""; length(line) < 2000 + NR % 6000; )
                line = line "第" NR "行 存款者甲 取钱者 "
            print line
        }
    ' "$scratch/raw"
    : >"$scratch/raw"
}

note "Real input: three producers put the lines of three text files, and one" \
    "consumer writes them out:"
: >"$scratch/raw"
for n in 1 2 3; do
    text $n >"$scratch/text$n"
    sed "s/^/$n:/" "$scratch/text$n" >"$scratch/tagged$n"
done
for n in 1 2 3; do
    LC_ALL=C awk -v n=$n '
        { bytes += length + 1; empty += !length; if (length > longest) longest = length }
        END { printf "text %d: %d lines, %d of them empty, the longest of %d bytes; %d bytes\n",
                n, NR, empty, longest, bytes }
    ' "$scratch/text$n"
done

lines=$segment/lines
consumer "$lines" --raw --name 丁 --capacity 64 --item-size 16384 >"$scratch/out" &
consumer=$!
producer "$lines" --stdin --name 甲 --capacity 64 --item-size 16384 <"$scratch/tagged1" &
first=$!
producer "$lines" --stdin --name 乙 --capacity 64 --item-size 16384 <"$scratch/tagged2" &
second=$!
producer "$lines" --stdin --name 丙 --capacity 64 --item-size 16384 <"$scratch/tagged3" &
third=$!
for producer in "$first" "$second" "$third"; do
    join "$producer" || fail "a producer ended with status $?"
done
type_in shmctl shutdown "$lines"
join "$consumer" || fail "the consumer ended with status $?"

# Nothing lost, nothing twice, each file in its order, byte for byte.
for n in 1 2 3; do
    LC_ALL=C sed -n "s/^$n://p" "$scratch/out" | cmp - "$scratch/text$n" ||
        fail "text $n did not arrive as it was sent"
done
total=$(cat "$scratch"/text? | wc -l)
test "$(wc -l <"$scratch/out")" = "$total" || fail "there are lines that no producer sent"
test "$total" -ge 10000 || fail "only $total lines of text"
turns=$(LC_ALL=C awk -F: '$1 != last { last = $1; n++ } END { print n }' "$scratch/out")
echo "$total lines came out, $turns times from another file than the line before."
passed "the third put waited; three orders of the same items; three producers shared" \
    "one place; every line of three files arrived, in order, byte for byte"
