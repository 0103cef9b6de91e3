#!/bin/sh
# A signal of 1000 random samples a second, and a plot of the last 100. In a terminal the plot is
# live, until q; elsewhere two pictures are made, by gnuplot. Arguments are those of 'shmctl demo
# sampler', such as --eeg.
set -u
arguments='[SAMPLER-OPTION...]'
. "$(dirname "$0")/scene.sh"

signal=$segment/signal

if test -t 0 && test -t 1; then
    sampler "$signal" "$@" 2>"$scratch/rate" &
    sampler=$!
    plotter "$signal" || fail "the plotter ended with status $?"
    kill -INT "$sampler"
    join "$sampler"
    test "$?" = 130 || fail "the sampler was disturbed: $(cat "$scratch/rate")"
    cat "$scratch/rate"
    passed "the plot came and went, and the sampler did not notice"
    exit 0
fi

command -v gnuplot >/dev/null ||
    fail "gnuplot is not there, which makes pictures (Debian package: gnuplot-nox)"

note "A signal of 1000 samples a second, for three seconds:"
echo "\$ shmctl demo sampler $signal --count 3000 $* &"
sampler "$signal" --count 3000 "$@" 2>"$scratch/rate" &
sampler=$!

note "Pictures of its last 100 samples, while it goes on:"
type_in plotter "$signal" --output "$scratch/plot.svg" || fail "the plotter ended with status $?"
type_in plotter "$signal" --output "$scratch/plot.png" || fail "the plotter ended with status $?"

# The curve is the path that consists of more pieces than any grid or frame.
points=$(awk '
    /<path/ { n = 0; inside = 1 }
    inside { n += gsub(/[ML ][-0-9.]+,[-0-9.]+/, "&") }
    />/ { if (n > most) most = n; inside = 0 }
    END { print most + 0 }
' "$scratch/plot.svg")
grep -q '<svg' "$scratch/plot.svg" && grep -q 'width="1000" height="500"' "$scratch/plot.svg" ||
    fail "not an SVG of 1000 by 500"
test "$points" -ge 100 || fail "the curve has $points points"
# A PNG's signature, then its header, which begins with its width and height.
header=$(od -An -tx1 -N24 "$scratch/plot.png" | tr -d ' \n')
test "$header" = 89504e470d0a1a0a0000000d49484452000003e8000001f4 || fail "not a PNG of 1000 by 500"
echo "an SVG of 1000 by 500 with a curve of $points points," \
    "a PNG of $(wc -c <"$scratch/plot.png") bytes"

note "One more plotter, which is killed; the sampler does not notice:"
echo "\$ shmctl demo plotter $signal --window 100000 --output never.svg &"
plotter "$signal" --window 100000 --output "$scratch/never.svg" --name killed &
plotter=$!
has_joined() {
    shmctl ps --raw --noheadings -o NAME "$segment" | grep -qx killed
}
await has_joined
kill -KILL $plotter
join "$sampler" || fail "the sampler ended with status $?: $(cat "$scratch/rate")"
cat "$scratch/rate"
grep -q '^sampler: 3000 samples' "$scratch/rate" || fail "not 3000 samples"
passed "two pictures of the signal while it came in, and a killed plotter, which disturbed no other"
