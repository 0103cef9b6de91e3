#!/bin/bash
# sampler and plotter: what is appended, how fast, what is shown, and that no reader is in the
# sampler's way.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
PATH=$SHMKIT_DEMOS:$PATH

# The samples of a stream that are there.
numbers() {
    "$SHMKIT_TESTDIR/cli/numbers" "$segment" "$1"
}

# Say what is left out, and why, where a person sees it.
leave_out() {
    echo "SKIPPED test-plot.sh: $*" | tee /dev/fd/9 2>/dev/null
}

await() {
    local tries=600
    until "$@"; do
        tries=$((tries - 1))
        test $tries -gt 0 || fail "waited in vain for: $*"
        sleep 0.1
    done
}

is_member() {
    shmctl ps --raw --noheadings -o NAME "$segment" 2>/dev/null | grep -qx "$1"
}

# Are there at least $2 samples in the stream?
has_samples() {
    test "$(numbers "$1" 2>/dev/null | wc -l)" -ge "$2"
}

# ---- options ----

for program in sampler plotter; do
    exits 0 $program --help
    test ! -s "$err" || fail "$program --help complains"
    test "$(LC_ALL=C.UTF-8 wc -L <"$out")" -le 80 || fail "$program --help is too wide"
    exits 0 $program --version
    exits 2 $program
    complains "^$program: .* is missing"
    exits 2 $program --nonsense a/b
    exits 2 $program nowhere --count 1 --output x.svg
done
exits 2 sampler a/b c/d
complains '^sampler: too many arguments'
exits 2 sampler --random --eeg "$segment/x"
complains 'only one of'
exits 2 sampler --signal x "$segment/x"
exits 2 sampler --stdin --rate 5 "$segment/x"
exits 2 sampler --rate 0 "$segment/x"
exits 2 plotter --output x.bmp "$segment/x"
complains "'x.bmp': a picture is a .png, .svg or .pdf"
exits 2 plotter --window 1 "$segment/x"
exits 2 plotter "$segment/x"
complains 'this is no terminal'
test ! -e "/dev/shm/$segment" || fail 'wrong usage has made a segment'
claim 'options, and the exit code for wrong ones'

# ---- what is appended ----

exits 0 sampler --count 2000 --rate 1000000 "$segment/random"
numbers random |
    awk '$1 < 0 || $1 >= 1 { exit 1 }
        { sum += $1 }
        END { exit !(NR == 2000 && sum > 900 && sum < 1100) }' ||
    fail 'not 2000 random numbers from 0 to 1'
for n in 1 2; do
    exits 0 sampler --eeg --seed 7 --rate 1000 --count 1500 "$segment/eeg$n"
done
numbers eeg1 >"$scratch/eeg"
numbers eeg2 | cmp - "$scratch/eeg" || fail 'a seed does not give the same EEG'
awk '$1 > most { most = $1 }
    $1 < least { least = $1 }
    END { exit !(NR == 1500 && most > 60 && most < 400 && least < -10 && least > -300) }
' "$scratch/eeg" || fail 'that is no EEG'
exits 0 sampler --eeg --seed 8 --rate 1000000 --count 1500 "$segment/eeg3"
numbers eeg3 | cmp -s - "$scratch/eeg" && fail 'another seed gives the same EEG'
exits 0 sampler --eeg --seed 7 --rate 1000 --count 1500 --channels 3 --stamped "$segment/eeg-3"
test "$(shmctl show -r -n -o CHANNELS,RATE,STAMPED "$segment/eeg-3")" = '3 1000 yes' ||
    fail "$(shmctl show "$segment/eeg-3")"
shmctl stream read --latest 1500 "$segment/eeg-3" >"$scratch/eeg-3"
cut -d' ' -f1 "$scratch/eeg-3" | awk 'NR == FNR { eeg[FNR] = $1; next }
    eeg[FNR] - $1 > 1e-9 || $1 - eeg[FNR] > 1e-9 { exit 1 }' - "$scratch/eeg" ||
    fail 'the first channel is not the EEG of the seed'
awk '$1 == $2 || $2 == $3 || NF != 3 { exit 1 }' "$scratch/eeg-3" || fail 'channels are the same'
exits 1 sampler --eeg --count 3 "$segment/eeg-3"
complains 'eeg-3 is a stream of 3 channels$'
claim 'random numbers, and an EEG that is the same for a seed, of several channels'

printf '1\n -2.5 \n1e3\n0.1\n-0\r\n7' >"$scratch/lines"
input=$scratch/lines exits 0 sampler --stdin "$segment/lines"
numbers lines | diff - <(printf '1\n-2.5\n1000\n0.1\n-0\n7\n') ||
    fail 'the numbers did not come through'
complains '^sampler: 6 samples'
for bad in x '' 1x nan inf '1 2' "$(printf '%01001d' 0)"; do
    printf '8\n9\n%s\n10\n' "$bad" >"$scratch/lines"
    input=$scratch/lines exits 1 sampler --stdin "$segment/bad"
    complains '^sampler: standard input: line 3'
done
test "$(numbers bad | tail -n 2 | tr '\n' ' ')" = '8 9 ' ||
    fail 'those before the bad line are missing'
printf '8\n%s\nx\n\n 9 \n%s' "$(printf '%0200000d' 0)" "$(printf '%01001d' 0)" >"$scratch/lines"
input=$scratch/lines exits 0 sampler --stdin --gaps --verbose "$segment/gaps"
test "$(numbers gaps | tr '\n' ' ')" = '8 nan nan nan 9 nan ' || fail "$(numbers gaps)"
complains '^sampler: standard input: line 2 is longer than 1000 bytes, .*; such lines are gaps$'
complains '^sampler: 4 of them are gaps: their lines were no samples$'
complains '^sampler: 6 samples'
printf '1 2\n1,2\n 3\t,4 \r\n5 6 7\n8\n9,\n,1\n' >"$scratch/lines"
input=$scratch/lines exits 0 sampler --stdin --gaps --channels 2 "$segment/pairs"
exits 0 shmctl stream read --latest 9 "$segment/pairs"
prints '1 2' '1 2' '3 4' 'nan nan' 'nan nan' 'nan nan' 'nan nan'
input=$scratch/lines exits 1 sampler --stdin --channels 2 "$segment/pairs"
complains "^sampler: standard input: line 4: '5 6 7' is not 2 numbers$"
exits 2 sampler --gaps "$segment/pairs"
complains '^sampler: --gaps is for --stdin$'
mkfifo "$scratch/fifo"
sampler --stdin --count 2 "$segment/live" <"$scratch/fifo" 2>"$scratch/said" &
sampler=$!
exec 5>"$scratch/fifo"
echo 1 >&5
await has_samples live 1
echo 2 >&5
wait $sampler || fail "sampler --stdin --count exits with $?"
exec 5>&-
claim 'numbers of standard input arrive as they come, and a bad line is named'

exits 0 sampler --count 3 --history 50 "$segment/fifty"
exits 0 sampler --count 3 --history 50 "$segment/fifty"
exits 0 sampler --count 3 "$segment/fifty"
exits 1 sampler --count 3 --history 51 "$segment/fifty"
exits 0 shmctl create lock "$segment/lock"
exits 1 sampler --count 3 "$segment/lock"
complains "^sampler: $segment/lock: ."
claim 'a stream that is there is taken as it is, unless that is not what was asked for'

# ---- the rate ----

# 2000 samples at 1000 a second take 1.999 s, and no less; more only if the machine has no time for
# it.
exits 0 sampler --rate 1000 --count 2000 --verbose "$segment/paced"
complains '^sampler: [0-9]* samples, [0-9.]* a second$'
complains '^sampler: 2000 samples in [0-9.]* s, [0-9.]* a second$'
sed -n 's/.*2000 samples in \([0-9.]*\) s, \([0-9.]*\) .*/\1 \2/p' "$err" >"$scratch/rate"
if ! grep -q 'held up' "$err"; then
    awk '{ exit !($1 >= 1.998 && $1 < 3.5 && $2 <= 1000.5 && $2 > 550) }' "$scratch/rate" ||
        fail "the rate is wrong: $(cat "$err")"
fi
for signal in INT TERM; do
    sampler --name 采样者 "$segment/paced" 2>"$err" &
    sampler=$!
    await is_member 采样者
    kill -$signal $sampler
    wait $sampler
    status=$?
    test $status = $((128 + $(kill -l $signal))) ||
        fail "SIG$signal: the sampler exits with $status"
    complains '^sampler: [0-9]* samples'
    is_member 采样者 && fail 'it is still a member'
done
claim 'the rate is kept, and reported, also when it is interrupted'

# ---- pictures ----

if ! command -v gnuplot >/dev/null; then
    leave_out 'pictures: there is no gnuplot'
else
    # The longest path of an SVG, in points.
    points() {
        awk '/<path/ { n = 0; inside = 1 } inside { n += gsub(/[ML ][-0-9.]+,[-0-9.]+/, "&") }
             />/ { if (n > most) most = n; inside = 0 } END { print most + 0 }' "$1"
    }
    exits 0 plotter "$segment/random" --window 500 --unit "µV 'x' \"y\"" --output "$scratch/a.svg"
    test "$(points "$scratch/a.svg")" = 500 ||
        fail "the curve has $(points "$scratch/a.svg") points"
    grep -qF "µV 'x' &quot;y&quot;" "$scratch/a.svg" || grep -qF "µV 'x' \"y\"" "$scratch/a.svg" ||
        fail 'the unit is not there'
    exits 0 plotter "$segment/random" "$segment/eeg1" --output "$scratch/a.png"
    od -An -tx1 -N24 "$scratch/a.png" | tr -d ' \n' |
        grep -q '^89504e470d0a1a0a0000000d49484452000003e8000002ee$' ||
        fail 'not a PNG of 1000 by 750'
    grep -q '>seconds<' "$scratch/a.svg" || fail 'the axis is not in seconds'
    exits 0 plotter "$segment/eeg-3" "$segment/lines" --window 6 --output "$scratch/3.svg"
    for unit in seconds samples; do
        test "$(grep -c ">$unit<" "$scratch/3.svg")" = 1 || fail "not one axis in $unit"
    done
    grep -q 'height="1050"' "$scratch/3.svg" || fail 'not four strips'
    exits 0 plotter "$segment/random" --output "$scratch/a.pdf"
    test "$(head -c 5 "$scratch/a.pdf")" = %PDF- || fail 'not a PDF'
    exits 0 sampler --stdin "$segment/empty" # which has no samples
    exits 3 plotter "$segment/empty" --timeout 0.1 --output "$scratch/b.svg"
    complains "^plotter: $segment/empty: no sample after 0.1s"
    exits 0 plotter "$segment/fifty" --timeout 0.1 --output "$scratch/b.svg"
    test "$(points "$scratch/b.svg")" -ge 9 || fail 'a window that is not full is not shown'
    exits 1 plotter "$segment/random" --output "$scratch/absent/a.svg"
    complains 'No such file or directory'
    plotter "$segment/waited" --window 20 --name 等 --output "$scratch/c.svg" &
    plotter=$!
    await is_member 等
    test ! -e "$scratch/c.svg" || fail 'a picture of nothing'
    exits 0 sampler "$segment/waited" --count 30 --rate 1000
    wait $plotter || fail "a plotter that waited exits with $?"
    test "$(points "$scratch/c.svg")" = 20 || fail 'not the window that was waited for'
    claim 'pictures in three formats, as soon as there are samples enough'

    exits 3 plotter "$segment/empty" --output "$scratch/never.svg"
    complains "^plotter: $segment/empty: it has no samples, and none has come for 10s$"
    exits 3 plotter "$segment/fifty" --output "$scratch/never.svg"
    complains "^plotter: $segment/fifty: it has 9 of 100 samples, and no other has come for 10s; "
    complains '; the stream keeps the last 50'
    complains "^plotter: --window 9 "
    plotter "$segment/ends" --window 20 --name 等 --output "$scratch/never.svg" 2>"$err" &
    plotter=$!
    await is_member 等
    exits 0 sampler "$segment/ends" --count 7 --rate 1000
    wait $plotter
    test $? = 3 || fail 'a window that will not become full'
    sampler "$segment/ends" --rate 100 2>"$scratch/said" &
    sampler=$!
    plotter "$segment/ends" --window 9000 --timeout 300 --output "$scratch/e.svg" 2>"$err" &
    plotter=$!
    await has_samples ends 10
    kill -KILL $sampler
    wait $plotter || fail "a plotter whose sampler was killed exits with $?: $(cat "$err")"
    test "$(points "$scratch/e.svg")" -ge 9 || fail 'what there was is not shown'
    # longer than plotter waits for one sample, but they come
    sampler "$segment/slow" --rate 10 --count 105 2>"$scratch/said" &
    sampler=$!
    exits 0 plotter "$segment/slow" --window 105 --output "$scratch/d.svg"
    wait $sampler
    test "$(points "$scratch/d.svg")" = 105 || fail 'not the window that was waited for'
    claim 'a window that cannot become full is not waited for, and what is missing is said'

    exits 0 shmctl create stream "$segment/nan"
    for sample in nan nan inf -inf; do
        exits 0 shmctl stream append "$segment/nan" -- $sample
    done
    exits 1 plotter "$segment/nan" --window 4 --output "$scratch/never.svg"
    complains \
        "^plotter: $scratch/never.svg: $segment/nan: none of the last 4 samples is a finite number$"
    exits 0 shmctl stream append "$segment/nan" -- 5 6
    exits 0 plotter "$segment/nan" --window 6 --output "$scratch/d.svg"
    printf '1 nan\n2 nan\n3 nan\n' >"$scratch/lines"
    exits 0 shmctl create stream "$segment/open" --channels 2
    input=$scratch/lines exits 0 shmctl stream append --stdin "$segment/open"
    exits 0 plotter "$segment/open" --window 3 --output "$scratch/d.svg"
    claim 'a window without a number is told as that, and a channel without one is empty'
fi

# A gnuplot of our own: it reads some frames, then its window is closed.
mkdir "$scratch/bin"
cat >"$scratch/bin/gnuplot" <<'END'
#!/bin/sh
head -n 2000 >"$(dirname "$0")/../frames"
END
chmod +x "$scratch/bin/gnuplot"
sampler "$segment/framed" 2>"$scratch/said" &
sampler=$!
DISPLAY=:0 PATH=$scratch/bin:$PATH exits 0 plotter --window-system "$segment/framed"
DISPLAY='' WAYLAND_DISPLAY='' exits 2 plotter --window-system "$segment/framed"
complains '^plotter: --window-system: there is none here'
printf '#!/bin/sh\nhead -n 1\necho "no such display" >&2\nexit 1\n' >"$scratch/bin/gnuplot"
DISPLAY=:0 PATH=$scratch/bin:$PATH exits 1 plotter --window-system "$segment/framed"
grep -q '^plotter: no window: ' "$err" || fail "it says: $(cat "$err")"
kill $sampler
wait $sampler
test "$(grep -c 'unset multiplot' "$scratch/frames")" -ge 5 || fail 'no frames'
printf '#!/bin/sh\necho >&2\necho "no such luck" >&2\nexit 1\n' >"$scratch/bin/gnuplot"
PATH=$scratch/bin:$PATH exits 1 plotter "$segment/random" --output "$scratch/never.svg"
complains 'never.svg: gnuplot has failed: no such luck'
cat >"$scratch/bin/gnuplot" <<'END'
#!/bin/sh
printf "\ngnuplot> plot x\n         ^\n         line 3: no such luck\n" >&2
exit 1
END
PATH=$scratch/bin:$PATH exits 1 plotter "$segment/random" --output "$scratch/never.svg"
complains 'never.svg: gnuplot has failed: no such luck'
rm "$scratch/bin/gnuplot"
real=$SHMKIT_DEMOS/.libs/plotter # in the build tree, plotter itself is a script that needs PATH
test -x "$real" || real=$SHMKIT_DEMOS/plotter
exits 1 env PATH="$scratch/bin" LD_LIBRARY_PATH="$SHMKIT_DEMOS/../.libs" "$real" "$segment/random" \
    --output "$scratch/never.svg"
complains 'never.svg: gnuplot is not there (Debian package: gnuplot-nox)'
ls "$scratch"/never.svg* 2>/dev/null && fail 'something is left of a picture that was not made'
claim 'a window of gnuplot gets frames until it is closed; a gnuplot that fails is quoted'

# ---- a stream that is not there ----

before=$(shmctl ls -r -n -o NAME "$segment" | sort)
exits 4 plotter "$segment/mistyped" --timeout 0 --output "$scratch/never.svg"
complains "^plotter: $segment/mistyped: the stream is not there; there are: .*random"
exits 4 plotter "$segment-absent/x" --timeout 1.2 --output "$scratch/never.svg"
complains \
    "^plotter: $segment-absent/x: waiting for the stream, which is not there, nor is the segment$"
complains "^plotter: $segment-absent/x: the stream is not there, nor is the segment$"
test "$(shmctl ls -r -n -o NAME "$segment" | sort)" = "$before" || fail 'a stream was made'
test ! -e "/dev/shm/$segment-absent" || fail 'a segment was made'
exits 1 plotter "$segment/lock" --timeout 0 --output "$scratch/never.svg"
plotter "$segment-later/x" --window 2 --timeout 300 --output "$scratch/e.svg" 2>"$err" &
plotter=$!
await grep -q waiting "$err"
exits 0 sampler "$segment-later/x" --count 3
wait $plotter || { command -v gnuplot >/dev/null &&
    fail "a plotter that came before the segment exits with $?"; }
claim 'a reader makes no stream: it waits for one, and says which there are'

# ---- the terminal ----

# on_terminal COLUMNS ROWS PLOTTER-ARGUMENT...: in a terminal of that size, which takes keys from
# descriptor 6.
on_terminal() {
    local size="stty cols $1 rows $2"
    shift 2
    TERM=xterm TMPDIR=$scratch timeout 120 script -qefc "$size; cd '$scratch'; exec plotter $*" \
        /dev/null <"$scratch/keys" >"$scratch/screen" 2>&1
}
shows() {
    grep -qaF -- "$1" "$scratch/screen"
}

sampler "$segment/shown" --name 采样者 2>"$scratch/said" &
sampler=$!
if ! script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    leave_out 'the terminal: script(1) is not there, or cannot make one'
else
    mkfifo "$scratch/keys"
    on_terminal 80 24 --unit µV "$segment/shown" "$segment/eeg1" &
    terminal=$!
    exec 6>"$scratch/keys"
    says_something() {
        shows "$segment/shown" || shows 'built without ncurses'
    }
    await says_something
    if shows 'built without ncurses'; then
        leave_out 'the terminal: plotter was built without ncurses'
        wait $terminal
        test $? = 1 || fail 'without ncurses, that is a failure'
    else
        for text in "$segment/eeg1" '[µV]' 'samples/s' 'dropped 0' 'window 100 ' '-0.05' '0 s' \
            '1.0' ⣿; do
            await shows "$text"
        done
        printf + >&6
        await shows '-0.15'
        printf ' ' >&6
        await shows FROZEN
        printf ' -' >&6
        if command -v gnuplot >/dev/null; then
            printf s >&6
            await shows 'saved shown-'
            test "$(points "$scratch"/shown-*.svg)" = 100 ||
                fail 'the saved picture is not that of the window'
        fi
        printf q >&6
        wait $terminal || fail "q: the plotter exits with $?"
        claim 'the terminal: titles, numbers, dots, and keys'

        : >"$scratch/screen"
        on_terminal 80 24 "$segment/eeg-3" &
        terminal=$!
        exec 6>"$scratch/keys"
        for text in "$segment/eeg-3" '0 s' 'q quit'; do
            await shows "$text"
        done
        exits 0 sampler --count 3 --channels 3 --stamped "$segment/eeg-3"
        await shows 'the writer has ended'
        test "$(sed 's/\x1b[^A-Za-z]*[A-Za-z]/\n/g' "$scratch/screen" | grep -acx '[123]')" -ge 3 ||
            fail 'not three strips'
        printf q >&6
        wait $terminal || fail "q: the plotter exits with $?"
        claim 'the terminal: a strip for each channel'

        on_terminal 12 5 --name 小 "$segment/shown" &
        terminal=$!
        exec 6>"$scratch/keys"
        await is_member 小
        await shows 'The terminal'
        kill -KILL "$(shmctl ps --raw --noheadings -o PID,NAME "$segment" | sed -n 's/ 小$//p')"
        wait $terminal
        claim 'a terminal that is too small says so'

        script -qec "TERM=dumb plotter $segment/shown" /dev/null </dev/null >"$scratch/screen" 2>&1
        test $? = 1 && shows "a terminal of the type 'dumb' cannot place its cursor" ||
            fail "TERM=dumb: $(cat "$scratch/screen")"
        claim 'a terminal without a cursor is sent nothing'
    fi
    exec 6>&-
fi

# ---- no reader is in the sampler's way ----

for _ in 1 2 3 4 5 6; do
    plotter "$segment/shown" --window 100000 --output "$scratch/never.svg" --name 看 &
    plotter=$!
    await is_member 看
    kill -KILL $plotter
    wait $plotter
done 2>/dev/null
before=$(shmctl ps --raw --noheadings -o NAME "$segment" | grep -cx 采样者)
test "$before" = 1 || fail 'the sampler has gone'
kill -INT $sampler
wait $sampler
test $? = 130 || fail "the sampler was disturbed: $(cat "$scratch/said")"
grep -q '^sampler: [0-9]* samples in .* a second$' "$scratch/said" ||
    fail "it says: $(cat "$scratch/said")"
claim 'plotters come, are killed and go, and the sampler does not notice'

exits 0 sampler --stdin "$segment/removed"
plotter "$segment/removed" --timeout 300 --output "$scratch/never.svg" --name 等 2>"$err" &
plotter=$!
await is_member 等
exits 0 shmctl rm "$segment"
wait $plotter
test $? = 4 || fail 'the segment is removed, and the plotter goes on'
claim 'the segment is removed beneath a plotter'
