#!/bin/bash
# sampler --edf: recordings as they should be, and as they are.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
PATH=$SHMKIT_DEMOS:$PATH
file=$scratch/recording

recording() {
    "$SHMKIT_TESTDIR/cli/recording" "$@" >"$file"
}

# play SIGNALS [OPTION...]: into a new stream, fast.
played=0
play() {
    played=$((played + 1))
    exits 0 sampler --edf "$file" --signal "$1" --rate 10000 "${@:2}" "$segment/$played"
}

# The stream that was played last has these samples, each a word with commas between its channels.
has() {
    local n
    n=$(shmctl show -r -n -o POSITION "$segment/$played")
    test "$n" = $# || fail "$n samples, not $#"
    shmctl stream read --latest "$n" "$segment/$played" | tr ' ' ',' |
        diff - <(printf '%s\n' "$@") || fail 'not the samples of the recording'
}

# The sampler has said this; else nothing but what it says of each run.
said() {
    grep -qF -- "$1" "$err" || fail "'$(cat "$err")' does not say '$1'"
}
said_nothing() {
    ! grep -v 'samples in\|held up' "$err" || fail 'it has something to say'
}

# A recording that cannot be played: says why, and makes no stream.
refused() { # STATUS SIGNALS SENTENCE
    exits "$1" sampler --edf "$file" --signal "$2" "$segment/refused"
    said "$3"
    ! shmctl show "$segment/refused" >"$scratch/refused" 2>&1 || fail 'it has made a stream'
}

oz='10 10.1 10.2 10.3 10.4 10.5 10.6 10.7'

# ---- as they should be ----

for format in edf bdf; do
    recording format=$format
    play 'EEG Oz'
    has $oz
    said_nothing
    play 3
    has 30 30.1 30.2 30.3 30.4 30.5 30.6 30.7
    recording format=$format kind=${format^^}+C pmin=0 pmax=2000 dmin=-1000 dmax=1000
    play ECG
    has 1200 1201 1202 1203
done
recording pmin=100 pmax=-100 # a signal that is upside down
play ECG
has -20 -20.1 -20.2 -20.3
claim 'EDF and BDF: the values of a signal, by its label or its number'

recording
for signals in 'EEG Oz,EEG Pz' 1,3 'EEG Oz, 3'; do
    play "$signals" --stamped
    has 10,30 10.1,30.1 10.2,30.2 10.3,30.3 10.4,30.4 10.5,30.5 10.6,30.6 10.7,30.7
    test "$(shmctl show -r -n -o CHANNELS,RATE,STAMPED "$segment/$played")" = '2 10000 yes' ||
        fail 'not a stream of two channels'
done
recording samples=2
play all
has 10,20,30 10.1,20.1,30.1 10.2,20.2,30.2 10.3,20.3,30.3
recording
exits 0 sampler --edf "$file" --signal ECG "$segment/ecg"
test "$(shmctl show -r -n -o RATE "$segment/ecg")" = 4 || fail 'not the rate of the recording'
refused 2 all "signal 2 'ECG': it has 4 samples a second, not 8: a stream has one rate; --signal"
refused 2 Oz "there is no signal 'Oz'; there are:"
said "  1  'EEG Oz'  8 samples a second, -100 to 100 uV"
said "  2  'ECG'  4 samples a second, -100 to 100 uV"
refused 2 1,4 "there is no signal '4'"
refused 2 1,,3 "there is no signal ''"
exits 2 sampler --edf "$file" "$segment/refused"
said '--signal must say which'
exits 2 sampler --edf "$file" --signal 1,3 --channels 3 "$segment/refused"
exits 2 sampler --follow "$segment/refused"
said '--follow is for --edf'
claim 'several signals are the channels of a stream; they must have one rate'

# ---- as they are: played ----

recording records=-1 written=3
play ECG
has 20 20.1 20.2 20.3 20.4 20.5
said 'it is unfinished: the number of its records is not known; 3 are there, and are played'
recording records=-1 written=3 cut=5
play ECG
has 20 20.1 20.2 20.3
said '15 bytes behind the last record are left out'
recording records='' written=2
play ECG
has 20 20.1 20.2 20.3
said 'it is unfinished'
recording records=5 cut=1
play ECG
has 20 20.1
said 'it is cut: 1 of 5 records are there, and are played'
recording records=2 written=3 extra=7
play ECG
has 20 20.1 20.2 20.3
said '27 bytes behind the last record are left out'
claim 'a recording that is unfinished, cut or too long is played as far as it goes'

recording labels=$'T\xe9l\xe9;ECG;T\xe9l\xe9' units=$'\xb5V'
play Télé
has $oz
said "signal 3 'Télé': there is another one of this label, which is taken: 1"
play 3
has 30 30.1 30.2 30.3 30.4 30.5 30.6 30.7
exits 2 sampler --edf "$file" "$segment/refused"
said "'Télé'  8 samples a second, -100 to 100 µV"
recording labels='Fp1,A2;;ECG' samples=2
play Fp1,A2 # a label with a comma
has 10 10.1 10.2 10.3
play 2
has 20 20.1 20.2 20.3
claim 'labels in Latin-1, of several signals, with a comma, or none'

recording records=0002 duration='  +0.50' number=003 pmin='-100,00' pmax=1e2 dmin=-01000 \
    samples='+4;02;4' size=garbage date=31.02.zz
play ECG
has 20 20.1 20.2 20.3
said_nothing
recording size=1280 # the size of the file says what is right
play ECG
has 20 20.1 20.2 20.3
recording version=$'0' date='1.1.1 ' kind='something else'
play 1
has $oz
claim 'numbers that are padded, and dates that are none, do no harm'

recording pmin='0;-100' pmax='0;100' dmin='0;-1000' dmax='0;1000'
play 1
has 0 0 0 0 0 0 0 0
said "signal 1 'EEG Oz': its physical minimum and maximum are both 0: it is flat"
play ECG
has 20 20.1 20.2 20.3
said_nothing
recording dmin='0;-1000' dmax='0;1000'
refused 1 1 "signal 1 'EEG Oz': its digital minimum and maximum are both 0, so that"
play ECG
has 20 20.1 20.2 20.3
recording pmin='x;-100'
refused 1 1 "signal 1 'EEG Oz': its physical minimum is 'x', not a number"
play ECG
has 20 20.1 20.2 20.3
recording samples='0;2;4'
refused 1 1 "signal 1 'EEG Oz': it has no samples"
play ECG
has 20 20.1 20.2 20.3
claim 'what is wrong with one signal does not concern the others'

recording onsets='0;0.5;1' written=3
play ECG
has 20 20.1 20.2 20.3 20.4 20.5
said_nothing
recording onsets='100.25;101.5;102.0000001' written=3
play ECG # 0.75 s are 3 samples
has 20 20.1 nan nan nan 20.2 20.3 20.4 20.5
said 'it has 1 gap, of 0.75 s in all: samples there are no number (nan)'
play 1,3 --count 10
has 10,30 10.1,30.1 10.2,30.2 10.3,30.3 nan,nan nan,nan nan,nan nan,nan nan,nan nan,nan
recording format=bdf onsets='0;1' labels='EEG Oz'
play 1
has 10 10.1 10.2 10.3 nan nan nan nan 10.4 10.5 10.6 10.7
recording onsets='0;0.1'
refused 1 ECG 'record 2 begins at 0.1 s, before the one before it ends, at 0.5 s'
recording onsets='0;x'
refused 1 ECG 'record 2 does not say when it begins'
recording kind=EDF+D
refused 1 ECG "there is no signal 'EDF Annotations' that tells them"
recording onsets='0;5' kind=EDF+C # which has none, whatever is written in it
play ECG
has 20 20.1 20.2 20.3
claim 'EDF+D is played with its gaps'

recording duration=0
exits 2 sampler --edf "$file" --signal ECG "$segment/refused"
said 'its records have no duration, and so no rate: --rate says one'
play ECG
has 20 20.1 20.2 20.3
claim 'a recording without a rate is played at one that is given'

# ---- what cannot be played ----

recording labels='' onsets='0;0.5'
refused 1 all 'it has annotations only, and no signal: there is nothing to play'
: >"$file"
refused 1 ECG 'it is empty'
recording cut=900
refused 1 ECG 'it is cut in its header: '
printf 'PK\3\4, a file of another kind%300s' '' >"$file"
refused 1 ECG "it begins with 'PK"
said 'it is no recording in EDF or BDF'
recording number=x
refused 1 ECG "its number of signals is 'x', not a number from 1 to 4096"
recording number=0
refused 1 ECG "its number of signals is '0', not"
recording duration=-1
refused 1 ECG "its duration of a record is '-1', not a number of seconds"
recording duration=1:00
refused 1 ECG "its duration of a record is '1:00', not a number of seconds"
recording samples='4;2.5;4'
refused 1 ECG "signal 2 'ECG': its samples in a record is '2.5', not a number of samples"
recording samples=0
refused 1 ECG 'its records are empty'
recording size=1536 extra=3
refused 1 ECG 'where the data begin cannot be told'
rm "$file"
refused 1 ECG 'No such file or directory'
exits 1 sampler --edf "$scratch" --signal ECG "$segment/refused"
claim 'a recording that cannot be played: one sentence names what was found'

# ---- one that is still being written ----

recording records=-1 written=1
cp "$file" "$scratch/growing"
sampler --edf "$scratch/growing" --signal ECG --follow --rate 1000 "$segment/growing" 2>"$err" &
sampler=$!
has_samples() {
    test "$(shmctl show -r -n -o POSITION "$segment/growing" 2>/dev/null)" = "$1"
}
await has_samples 2
recording records=-1 written=2 cut=7 # the second record is not whole yet
tail -c +$(($(stat -c %s "$scratch/growing") + 1)) "$file" >>"$scratch/growing"
sleep 0.3
has_samples 2 || fail 'a record that is not whole was played'
recording records=-1 written=3
tail -c +$(($(stat -c %s "$scratch/growing") + 1)) "$file" >>"$scratch/growing"
await has_samples 6
kill -0 $sampler || fail 'it has not waited for more'
printf '3       ' | dd of="$scratch/growing" bs=1 seek=236 conv=notrunc status=none
ends 0 $sampler
grep -q 'held up' "$err" && fail 'waiting for the recorder is no delay'
recording records=-1
sampler --edf "$file" --signal ECG --follow "$segment/more" 2>"$err" &
sampler=$!
has_begun() {
    shmctl show "$segment/more" >/dev/null 2>&1
}
await has_begun
kill -INT $sampler
ends 130 $sampler
claim 'with --follow a recording is played while it is written, until it is complete'
