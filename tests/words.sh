#!/bin/bash
# A retired word stays retired: prints file:line:word for each that is back, and what to say.
#
#     tests/words.sh [-c] [FILE-OR-FOLDER...]      -c: only how many there are in each file
set -u
cd "${SHMKIT_SRCDIR:-$(dirname "$0")/..}" || exit 1
if ! command -v perl >/dev/null; then
    echo "SKIPPED: there is no perl"
    exit 77
fi

# What is searched for: Perl expressions without regard to case, with no letter before and after (so
# `gate` and put_gate are found, "propagate" is not); then what to say.
# Public names that have such a word in them are a contract and stay.
table() {
    cat <<'TABLE'
gates?                          put lock, get lock; producer side, consumer side
tenants?                        bias owner
beds?                           eventcount
favou?r(s|ed|ing|ites?)?        handoff target, handoff request
st(an|oo)ds?[ _-]back           yield to the handoff
pass(ed|es)?[ _]over            barged past, starving
heirs?                          new owner
(?<!\.)(?<!priority )inherit(s|ed|ing|ance|or)?  recover, owner died, comes from
bury|buried|buries|burying      reap
chas(e|es|ed|ing)               slip
heels                           too close
habits?                         adaptive state
patience                        deadline
owed                            yield debt
glanc(e|es|ed|ing)              short spin
hands?_over                     demote_line
fetch_to_write                  prefetch_write
keepers?                        refs
lets?_go                        unref
membership                      member
at[ _]stake                     reserved_bytes, batch_items
notified_before                 notify_bound
manieth                         arrival index
who(ever|m|mever)?              a role: producer, consumer, waiter, owner, notifier
(some|no|any)body               a role; no member
(?<!\w)(?!test_)[a-z]\w*_(usually|otherwise|slowly)(?!_)    _fast, _slow, or nothing
(?<!\w)(?!test_)[a-z]\w*_(anyhow|inside|at_once)(?!_)     _fast, _slow, or nothing
shki_reader                     shki_image
shki_line_?                     shki_waitlist_shared
(?<!time )(?<!shell )slices?    recheck interval, SHKI_RECHECK
sleep_a_slice                   the recheck interval is the deadline's
shki_orphaned                   SHKI_OWNER_DIED
shki_repairs\(                  shki_repair_enabled(
TABLE
}
public='waiters[ _-]buried|shm(ki)?t?_orphaned'

count=0
if test "${1-}" = -c; then
    count=1
    shift
fi
test $# -gt 0 ||
    set -- lib tools demos tests README.md HACKING bootstrap Makefile.am configure.ac
find "$@" -type f \( -name '*.[ch137]' -o -name '*.cc' -o -name '*.sh' -o -name '*.pml' -o \
    -name '*.md' -o -name '*.am' -o -name '*.ac' -o -name '*.map' -o -name '*.py' -o \
    -name '*.txt' -o -name HACKING -o -name bootstrap -o -path '*/completion/*' \) \
    ! -name words.sh ! -name '*.mod.c' | sort |
    TABLE=$(table) PUBLIC=$public COUNT=$count perl -e '
        for (split /\n/, $ENV{TABLE}) {
            my ($what, $say) = split /  +/, $_, 2;
            push @rules, [qr/(?<![A-Za-z])(?:$what)(?![A-Za-z])/i, $say];
        }
        while (my $file = <STDIN>) {
            chomp $file;
            open my $in, "<", $file or die "$file: $!\n";
            my $here = 0;
            while (my $line = <$in>) {
                $line =~ s/\b(?:$ENV{PUBLIC})\b//gi;
                for (@rules) {
                    my ($what, $say) = @$_;
                    while ($line =~ /$what/g) {
                        print "$file:$.:$&   (say: $say)\n" unless $ENV{COUNT};
                        $here++;
                    }
                }
            }
            print "$here $file\n" if $ENV{COUNT} && $here;
            $all += $here;
            $files++;
        }
        print $all + 0, " retired words in $files files\n";
        exit($files < 1 || $all ? 1 : 0);
    '
