#!/bin/sh
# A list that processes share: append, pop and len. It is a queue whose last item comes out first.
# One of the processes that append is killed at it, and nothing is lost.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"

list=$segment/arr

len() {
    shmctl show --raw --noheadings -o ITEMS "$list"
}

# ---- 1: by hand ----

note "A list: the last that was appended is popped first, and it has no limit."
type_in shmctl create queue "$list" --order lifo
echo "\$ shmctl put $list 0.25 0.5 0.75      # arr.append(0.25), and so on"
shmctl put "$list" 0.25 0.5 0.75 || fail "put ended with status $?"
echo "\$ shmctl show -o ITEMS $list          # len(arr)"
len
test "$(len)" = 3 || fail "len is not 3"
for item in 0.75 0.5 0.25; do
    echo "\$ shmctl get $list                    # arr.pop()"
    shmctl get "$list" | tee "$scratch/popped"
    test "$(cat "$scratch/popped")" = $item || fail "$item ought to have been popped"
done
echo "\$ shmctl get $list --nowait           # from an empty list"
shmctl get "$list" --nowait 2>&1
test $? = 3 || fail "there was something to pop"

# ---- 2: the article's two threads ----

# Each number begins with its place, so that the order can be seen afterwards.
numbers() {
    LC_ALL=C awk -v from="$1" -v to="$2" \
        'BEGIN { srand(7 + from); for (i = from; i <= to; i++) printf "%05d %.6f\n", i, rand() }'
}
numbers 1 90000 >"$scratch/first" # more than it will come to
numbers 90001 92000 >"$scratch/second"

note "As in the article: one process appends a random number each millisecond," \
    "another prints len(arr) and pops. It is the slower one, so the list grows:"
echo "\$ shmctl demo producer $list --stdin --interval 1ms <numbers &"
producer "$list" --stdin --interval 1ms --name append <"$scratch/first" &
append=$!
: >"$scratch/early"
appended() {
    test "$(len)" -ge "$1"
}
for round in 1 2 3 4 5; do
    await appended $((round * 20))
    length=$(len)
    shmctl get "$list" >"$scratch/popped" || fail "pop ended with status $?"
    cat "$scratch/popped" >>"$scratch/early"
    printf 'len(arr) is %3d, arr.pop() is %s\n' "$length" "$(cut -d ' ' -f 2 "$scratch/popped")"
done

note "The one that appends is killed in the middle, and another goes on:"
echo "\$ kill -KILL $append"
kill -KILL $append || fail "it had come to its end already"
wait $append 2>/dev/null
whole=$(($(len) + 5))
echo "$whole were appended, 5 popped: len(arr) is $(len)"
echo "\$ shmctl demo producer $list --stdin <more"
producer "$list" --stdin --name append <"$scratch/second" ||
    fail "the second producer ended with status $?"
echo "len(arr) is $(len)"
shmctl get "$list" --count "$(len)" >"$scratch/late" || fail "pop ended with status $?"
test "$(len)" = 0 || fail "it is not empty"

# All that was appended came out once, what came last first.
head -n $whole "$scratch/first" | LC_ALL=C sort - "$scratch/second" >"$scratch/in"
LC_ALL=C sort "$scratch/early" "$scratch/late" | cmp - "$scratch/in" ||
    fail "something is lost, or came twice"
LC_ALL=C sort -r "$scratch/late" | cmp - "$scratch/late" || fail "that is not the order of a list"
echo "and all of them are popped, the last one first:"
head -n 2 "$scratch/late"
echo ...
tail -n 1 "$scratch/late"
passed "append, pop and len; what two processes appended, one of them killed at it," \
    "came out whole: each number once, the last one first"
