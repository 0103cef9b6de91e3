#!/bin/bash
# Each recipe of shmkit-recipes(7) prints what the page says.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
page=$SHMKIT_SRCDIR/tools/shmkit-recipes.7

# Each .SS is a recipe: recipe-N with its code, printed-N with what it prints (an example after a
# line that begins with "This prints", "These print" or "prints"), name-N. Of a line of crontab(5)
# the command counts.
awk -v to="$scratch" '
    /^\.S[SH] / { if ($1 == ".SS") { n++; print substr($0, 5) >(to "/name-" n) } }
    /^\.EX$/ { inside = 1; file = to (output ? "/printed-" : "/recipe-") n; next }
    /^\.EE$/ { inside = 0; output = 0; next }
    inside {
        gsub(/\\-/, "-")
        gsub(/\\e/, "\\")
        sub(/^0 \* \* \* \* /, "")
        print >file
    }
    !inside && /^[A-Za-z]/ { output = /^(This |These )?prints?([ ,]|$)/ }' "$page"

recipes=$(ls "$scratch"/name-* | wc -l)
test "$recipes" -ge 10 || fail "there are only $recipes recipes"
for ((n = 1; n <= recipes; n++)); do
    name=$(cat "$scratch/name-$n")
    mkdir "$scratch/here"
    cd "$scratch/here" || exit 1
    case $name in
    'A queue of jobs') echo a >a.txt && echo b >b.txt ;;
    'No overlap in cron') printf '#!/bin/sh\nexit 7\n' >backup && chmod +x backup ;;
    esac
    sed "s/\<yard\>/$segment-$n/g" "$scratch/recipe-$n" >"$scratch/code"
    timeout 120 bash "$scratch/code" >"$out" 2>"$err" </dev/null
    status=$?
    test -e "$scratch/printed-$n" || : >"$scratch/printed-$n"
    diff -b "$scratch/printed-$n" "$out" || fail "$name: it prints something else: $(cat "$err")"
    sed -i '/ Killed /,\|/dev/null$|d' "$err" # which bash says of what the recipe has killed
    test ! -s "$err" || fail "$name: it complains: $(cat "$err")"
    case $name in
    'No overlap in cron')
        test $status = 7 || fail "$name: it exits with $status"
        exits 0 shmctl lock "$segment-$n/backup" -- bash "$scratch/code"
        prints_nothing
        ;;
    *) test $status = 0 || fail "$name: it exits with $status" ;;
    esac
    cd / || exit 1
    rm -rf "$scratch/here"
    shmctl rm -f "$segment-$n"
    claim "$name"
done
