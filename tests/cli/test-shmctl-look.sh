#!/bin/bash
# shmctl ls, show and ps: what they print, for people, scripts and programs.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

# Is there this line in what a verb lists?
lists() {
    local line=$1
    shift
    shmctl "$@" -r -n | grep -qx -- "$line"
}

# ---- a segment with one of each, and a process at work ----

exits 4 shmctl ls "$segment"
complains "^shmctl: $segment[: ]"
exits 4 shmctl ps "$segment"
exits 4 shmctl show "$segment/till"
exits 0 shmctl create segment "$segment" --segment-size 64M
exits 0 shmctl ls "$segment"
prints_nothing
exits 0 shmctl ps "$segment"
prints_nothing
exits 0 shmctl ps "$segment" --json
prints '{' '   "members": []' '}'
exits 0 shmctl create lock "$segment/till"
exits 0 shmctl create cond "$segment/changed"
exits 0 shmctl create cond "$segment/counted" --lock till
exits 0 shmctl create event "$segment/go"
exits 0 shmctl create queue "$segment/工作" --capacity 3
exits 0 shmctl create region "$segment/account" --size 24
exits 0 shmctl put "$segment/工作" 1 2 3
exits 4 shmctl show "$segment/none"
complains "^shmctl: $segment/none[: ]"

mkfifo "$scratch/fifo"
shmctl lock "$segment/changed" -- shmctl lock "$segment/till" -- sh \
    -c "read line <'$scratch/fifo'" &
exec 3>"$scratch/fifo" # which waits until it holds both
shmctl lock "$segment/till" -- true &
await waits 'acquire till'
shmctl put "$segment/工作" 4 &
await waits 'put 工作'
shmctl event wait "$segment/go" --timeout 1h &
await waits 'set go'
for line in 'account 0' 'changed 0' 'counted 0' 'go 1' 'till 1' '工作 1'; do
    await lists "$line" ls -o NAME,WAITERS "$segment"
done

exits 0 shmctl ls "$segment"
sed -i -E '2,$s/ [0-9.]+K?$/ BYTES/' "$out" # they depend on the machine
as_expected objects.txt
exits 0 shmctl ls "$segment" --json
as_expected objects.json
exits 0 shmctl ps "$segment"
sed -i -E 's/^([^ ]+ +)[0-9]+/\1PID/; s/ [0-9.]+(ms|s|m[0-9]+s)\b/ TIME/g' "$out"
as_expected members.txt
exits 0 shmctl ps "$segment" --json
as_expected members.json
objects="$segment/till $segment/changed $segment/counted $segment/go $segment/工作 $segment/account"
exits 0 bash -c "for path in $objects /$segment; do shmctl show \$path || exit; echo; done"
as_expected show.txt
exits 0 bash -c "for path in $objects /$segment; do shmctl show \$path --json || exit; done"
as_expected show.json
claim 'ls, ps and show tell holders and waiters'

for command in "ls" "ls $segment" "ps" "ps $segment" "show $segment" "show $segment/till"; do
    exits 0 shmctl $command --json
    if command -v python3 >/dev/null; then
        python3 -m json.tool <"$out" >/dev/null || fail "shmctl $command --json is no JSON"
    fi
    for column in $(shmctl ${command%% *} --help | sed -n 's/^  \([A-Z][A-Z-]*\) .*/\1/p'); do
        case "$command $column" in
        ls\ "$segment"\ * | show\ "$segment/till"\ *)
            known=$(shmctl show --help |
                sed -n '/Columns of objects/,$s/^  \([A-Z][A-Z-]*\) .*/\1/p')
            ;;
        ls\ * | show\ *)
            known=$(shmctl show --help |
                sed -n '/Columns of segments/,/^$/s/^  \([A-Z][A-Z-]*\) .*/\1/p')
            ;;
        *) known=$column ;;
        esac
        wanted=0
        echo "$known" | grep -qx -- "$column" || wanted=2
        exits $wanted shmctl $command -o "$column"
    done
done
claim 'every column that --help names can be asked for'

# ---- all of it in one table ----

exits 0 shmctl create event "$segment-2/go"
head -c 8192 "/dev/shm/$segment" >"/dev/shm/$segment-1"
exits 0 shmctl ls -R -r -n -o PATH,KIND,STATE
grep "^$segment" "$out" | grep -v '/till\|/changed' >"$scratch/rows"
sed -i -E "s/^($segment-1 segment) .*/\1 PROBLEM/" "$scratch/rows"
printf '%s\n' "$segment segment good" "$segment/account region 24\\x20bytes" \
    "$segment/counted cond with\\x20lock\\x20till" "$segment/go event clear" \
    "$segment/工作 queue 3/3\\x20items" "$segment-1 segment PROBLEM" "$segment-2 segment good" \
    "$segment-2/go event clear" | diff - "$scratch/rows" || fail 'ls -R'
exits 0 shmctl ls -R -r -n -o PATH,WAITERS,USERS "$segment"
grep -qx "$segment 3 5" "$out" || fail "ls -R prints $(cat "$out")"
not grep -q "^$segment-" "$out" || fail "ls -R prints $(cat "$out")"
rm -f "/dev/shm/$segment-1" "/dev/shm/$segment-2"
claim 'ls -R lists segments and their objects'

# ---- as they come and go ----

exits 0 shmctl create event "$segment-3/go"
shmctl event wait "$segment-3/go" &
shmctl ps --follow -i 50ms -r -o EVENT,PID,ALIVE "$segment-3" >"$scratch/followed" &
follower=$!
await grep -q '^\(present\|joined\) ' "$scratch/followed"
shmctl event wait "$segment-3/go" --timeout 1h 2>/dev/null &
comes=$!
await grep -qx "joined $comes yes" "$scratch/followed"
kill -KILL $comes
ends 137 $comes
await grep -qx "died $comes no" "$scratch/followed"
shmctl event wait "$segment-3/go" --timeout 1h 2>/dev/null &
comes=$!
await grep -qx "joined $comes yes" "$scratch/followed"
kill -TERM $comes
ends 143 $comes
await grep -qx "left $comes yes" "$scratch/followed"
kill -TERM $follower
ends 143 $follower
test "$(grep -c '^EVENT PID ALIVE$' "$scratch/followed")" = 1 || fail 'headings again'
claim 'ps --follow tells of members that join, leave and die'

# ---- for scripts ----

exits 0 shmctl ls "$segment" -o kind,NAME --raw
prints 'KIND NAME' 'region account' 'cond changed' 'cond counted' 'event go' 'lock till' 'queue 工作'
exits 0 shmctl ls "$segment" -o NAME,ITEMS,CAPACITY -r -n
prints 'account - -' 'changed - -' 'counted - -' 'go - -' 'till - -' '工作 3 3'
exits 0 shmctl ls "$segment" -o STATE -r -n
sed -i 's/(.*)/(PID)/; s/x20[0-9.m]*[0-9]m\?s$/x20TIME/' "$out"
held="held\x20by\x20$script\x20(PID)\x20for\x20TIME"
prints '24\x20bytes' "$held" 'with\x20lock\x20till' clear "$held" '3/3\x20items'
exits 0 shmctl ls "$segment" -n -o +SERIAL
awk '{ print NF > "/dev/stderr" } $1 == "go" && $NF != 4 { exit 1 }' "$out" 2>/dev/null ||
    fail "+SERIAL: $(cat "$out")"
exits 0 shmctl show "$segment/工作" -n -o ITEMS,CAPACITY
prints 3 3
exits 0 shmctl show "$segment/工作" -o ITEM-SIZE,HOLDER
prints 'Item size  1K' 'Holder     '
exits 0 shmctl show "$segment/工作" -b -n -o ITEM-SIZE
prints 1024
exits 0 shmctl ls -b -r -n -o NAME,SIZE
grep -qx "$segment 67108864" "$out" || fail "ls -b prints $(cat "$out")"
exits 0 shmctl ls -o NAME,SIZE,OBJECTS,MEMBERS,DEAD -r -n
grep -qx "$segment 64M 6 5 0" "$out" || fail "ls prints $(cat "$out")"
exits 2 shmctl ls -o NAME,NONSENSE
complains "no column 'NONSENSE'; the columns of segments are NAME,OWNER,GROUP,"
exits 2 shmctl ls "$segment" -o +hold
complains "no column 'hold'; the columns of objects are NAME,PATH,.*,HOLDER,"
exits 2 shmctl ps -o hold
complains "no column 'hold'; the columns of members are SEGMENT,.*,HOLDS,"
exits 2 shmctl ls -o NAME,,SIZE
exits 2 shmctl ls --json --raw
claim 'scripts get the columns that they ask for, and no empty field'

exits 0 shmctl ls "$segment" -r -o NAME,kind,Name
grep -qx 'NAME KIND' "$out" || fail "a column asked for twice: $(cat "$out")"
exits 0 shmctl ls "$segment" --json -o +NAME,SERIAL,SIZE
test "$(grep -c '"name": "till"\|"size"' "$out")" = 7 || fail "a key twice in JSON: $(cat "$out")"
exits 0 shmctl show "$segment/till" -o KIND,NAME,KIND
prints 'Kind  lock' 'Name  till'
claim 'a column that is asked for twice is printed once'

exits 0 shmctl ps "$segment" -r -n -o ALIVE,HOLDS,WAITS,ON
sort -o "$out" "$out"
prints 'yes - acquire\x20till till' 'yes - put\x20工作 工作' 'yes - set\x20go go' 'yes changed - -' \
    'yes till - -'
exits 0 shmctl ps -r -n -o SEGMENT,HOLDS
grep -qx "$segment changed" "$out" || fail "ps prints $(cat "$out")"
echo >&3
await lists 'till 0' ls -o NAME,WAITERS "$segment"
await lists "$segment 2 0" ls -o NAME,MEMBERS,DEAD
kill -KILL "$(shmctl ps "$segment" -r -n -o PID,WAITS | sed -n 's/ put.*//p')"
await lists "$segment 1 1" ls -o NAME,MEMBERS,DEAD
exits 0 shmctl ps "$segment" -r -n -o ALIVE,WAITS,FOR
grep -qx 'no - -' "$out" || fail "the dead: $(cat "$out")"
claim 'ps shows a dead member as dead'

# ---- at a terminal ----

name=$segment-很长的名字
exits 0 shmctl create lock "$name/till"
shmctl lock "$name/till" -- sleep 1h &
long=存款者甲存款者乙存款者丙存款者丁存款者戊
exits 0 shmctl create event "$name/$long"
shmctl event wait "$name/$long" &
await lists "till 0 1" ls -o NAME,WAITERS,USERS "$name"
await lists "$long 1 1" ls -o NAME,WAITERS,USERS "$name"
: >"/dev/shm/$segment-empty"
columns=NAME,MODE,SIZE,OBJECTS,STATE,PROBLEM
for width in 80 200; do
    for command in "ls --all -o $columns" "ps $name" "ls $name"; do
        on_terminal $width shmctl $command >"$scratch/screen"
        test "$(grep "$segment" "$scratch/screen" | LC_ALL=C.UTF-8 wc -L)" -le $width ||
            fail "shmctl $command is too wide for $width columns: $(cat "$scratch/screen")"
    done
done
exits 0 shmctl ls --all -o $columns
problem=$(grep "^$segment-empty " "$out" | sed 's/.*foreign *//')
test ${#problem} -ge 30 || fail "cut, though it goes into a file: $(cat "$out")"
on_terminal 200 shmctl ls --all -o $columns | grep -q "$problem" || fail 'cut without need'
on_terminal 80 shmctl ls --all -o $columns >"$scratch/screen"
not grep -q "$problem" "$scratch/screen" || fail "not cut: $(cat "$scratch/screen")"
grep -q "^$name " "$scratch/screen" || fail "the name is cut: $(cat "$scratch/screen")"
claim 'sentences are cut to fit a terminal, names are not, and in a file nothing is'

# Whatever the width, the pid of the holder is there as a whole or not at all, and where something
# is missing there is a mark.
holder=$(shmctl ls "$name" -r -n -o STATE | sed -n 's/.*(\([0-9]*\)).*/\1/p')
states="$(shmctl ls "$name" -n -o STATE | sed 's/ for .*//')"
for width in {12..60}; do
    on_terminal $width shmctl ls "$name" -n -o STATE,WAITERS >"$scratch/screen"
    while read -r line; do
        state=$(sed 's/ *[0-9]*$//' <<<"$line")
        number=$(sed 's/ for .*//' <<<"$state" | tr -dc 0-9)
        test -z "$number" -o "$number" = "$holder" ||
            fail "at $width columns half a number is shown: $line"
        [[ $state == *… ]] || grep -qxF -- "${state% for *}" <<<"$states" ||
            fail "at $width columns it is cut without a mark: $line"
    done <"$scratch/screen"
done
claim 'what is cut ends in an ellipsis, and never inside a number'

# ---- by which name ----

exits 0 shmctl rm "$segment" "$name"
for lock in a b c d e f; do
    exits 0 shmctl create lock "$segment/$lock"
done
# A script of that name holds a lock: the rest of its words are the interpreter's.
holds() {
    local lock=$1
    shift
    "$@" &
    await lists "$lock 1" ls -o NAME,USERS "$segment"
}
cat >"$scratch/备份 backup.sh" <<'END'
#!/bin/bash
shmctl lock "$1" -- sleep 1h
true
END
chmod +x "$scratch/备份 backup.sh"
holds a "$scratch/备份 backup.sh" "$segment/a"
holds b bash -eo pipefail "$scratch/备份 backup.sh" "$segment/b"
holds c bash -ec "shmctl lock '$segment/c' -- sleep 1h; true"
holds d sh "$scratch/备份 backup.sh" "$segment/d"
holds e shmctl --name 夜班 lock "$segment/e" -- sleep 1h
holds f timeout 1h shmctl lock "$segment/f" -- sleep 1h
exits 0 shmctl ps "$segment" -r -n -o HOLDS,COMMAND,NAME
sort -o "$out" "$out"
prints 'a shmctl 备份\x20backup.sh' 'b shmctl 备份\x20backup.sh' 'c shmctl bash' \
    'd shmctl 备份\x20backup.sh' \
    'e shmctl 夜班' "f shmctl $script"
exits 0 shmctl --name=夜班 event --help
exits 2 shmctl --name '' ls
exits 2 shmctl --name "$(printf %64d 0)" ls
exits 2 shmctl --name $'a\nb' lock "$segment/a" --nowait -- true
await lists "$segment 6 0" ls -o NAME,MEMBERS,DEAD
claim 'a member is called like the script that runs shmctl, or as --name says'

held_for() {
    shmctl show "$segment/$1" -b -r -n -o HELD
}
longer_than() {
    awk -v held="$(held_for "$1")" -v least="$2" 'BEGIN { exit !(held + 0 > least && held < 600) }'
}
await longer_than e 0.3
await longer_than f 0.01
exits 0 shmctl ps "$segment" -b -r -n -o HOLDS,HELD
awk '$2 !~ /^[0-9]+\.[0-9]+$/ { exit 1 }' "$out" || fail "since when they hold: $(cat "$out")"
exits 0 shmctl ls "$segment"
grep -q "^e  *lock  *held by 夜班 ([0-9]*) for [0-9.ms]* " "$out" || fail "since when: $(cat "$out")"
claim 'it is told how long a lock has been held'
kill $(shmctl ps "$segment" -r -n -o PID)
await lists "$segment 0 0" ls -o NAME,MEMBERS,DEAD
