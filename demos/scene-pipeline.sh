#!/bin/sh
# A pipeline over queues that ends by itself, as one of pipes does: its parts are separate programs,
# with roles. It comes to its end; its reader is killed; its writer is killed.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"

words=$segment/words
lines=$segment/lines

# The parts: words are put, made capital letters, and read at the other end. Each is started by
# itself, and has its process ids and exit statuses by itself.
write_from() {
    shmctl --name writer put --stdin --producer "$words" <"$1" 2>"$scratch/writer-says" &
    writer=$!
}
filter() {
    {
        shmctl --name filter-in get --follow --consumer "$words" | sed -u 's/.*/[&]/' |
            shmctl --name filter-out put --stdin --producer "$lines"
    } 2>"$scratch/filter-says" &
    filter=$!
}
read_to() {
    shmctl --name reader get --follow --consumer "$lines" >"$1" 2>"$scratch/reader-says" &
    reader=$!
}
show_parts() {
    echo "\$ shmctl ps -o NAME,ROLES $segment"
    shmctl ps -o NAME,ROLES "$segment"
}
roles() {
    test "$(shmctl show --raw --noheadings -o PRODUCERS,CONSUMERS "$1" 2>/dev/null)" = '1 1'
}
# ends_with PROCESS STATUS NAME
ends_with() {
    wait "$1"
    status=$?
    echo "$3 has ended with status $status"
    test "$status" = "$2" || fail "$3 ought to have ended with status $2"
}
# Words for ever, ten a second at least.
words_for_ever() {
    while echo word; do sleep 0.02; done 2>/dev/null
}

type_in shmctl create queue "$words" --capacity 100
type_in shmctl create queue "$lines" --capacity 100

note "Three parts, started one by one: a writer, a filter and a reader." \
    "The writer comes to the end of its input, and the others to theirs:"
seq 1000 >"$scratch/in"
echo "\$ seq 1000 | shmctl put --stdin --producer $words &"
echo "\$ shmctl get --follow --consumer $words | sed -u 's/.*/[&]/' |"
echo "      shmctl put --stdin --producer $lines &"
echo "\$ shmctl get --follow --consumer $lines >out &"
read_to "$scratch/out"
filter
write_from "$scratch/in"
ends_with "$writer" 0 "the writer"
ends_with "$filter" 0 "the filter"
ends_with "$reader" 0 "the reader"
sed 's/.*/[&]/' "$scratch/in" | cmp - "$scratch/out" || fail "not all has come"
echo "all 1000 lines have come, in order"

note "The same with a writer that has words for ever. The reader is killed:"
mkfifo "$scratch/words"
words_for_ever >"$scratch/words" &
read_to "$scratch/out"
filter
write_from "$scratch/words"
await grep -q '\[word\]' "$scratch/out"
await roles "$words"
await roles "$lines"
show_parts
echo "\$ kill -KILL $reader"
kill -KILL "$reader"
wait "$reader" 2>/dev/null
ends_with "$filter" 5 "the filter"
ends_with "$writer" 5 "the writer"
cat "$scratch/filter-says" "$scratch/writer-says"

note "And now the writer is killed:"
words_for_ever >"$scratch/words" &
shmctl rm "$words"
shmctl rm "$lines"
shmctl create queue "$words" --capacity 100
shmctl create queue "$lines" --capacity 100
: >"$scratch/out" # it has words of the one before
read_to "$scratch/out"
filter
write_from "$scratch/words"
await grep -q '\[word\]' "$scratch/out"
echo "\$ kill -KILL $writer"
kill -KILL "$writer"
wait "$writer" 2>/dev/null
wait "$filter"
ends_with "$reader" 0 "the reader"
cat "$scratch/filter-says"

passed "a pipeline of separate programs ends by itself, whichever part is killed"
