#!/bin/bash
# Ordering labels, such as EC1: two letters and a number. The letters say in which file the protocol
# is described, so that a label means one thing, and it stands at both ends of what it orders:
#
#   * the file that the table names has it in its account of the protocol;
#   * it stands at one other place in lib/ at least, which may be in the same file;
#   * models and tests name only labels that lib/ has;
#   * none has one letter only, as all had once. (W1 to W9 are rows of the bench, as "row L3" is.)
set -u
cd "${SHMKIT_SRCDIR:-$(dirname "$0")/..}" || exit 1
if ! command -v perl >/dev/null; then
    echo "SKIPPED: there is no perl"
    exit 77
fi

# The letters; the file with the account of the protocol, or files of which one has it; what it is.
table() {
    cat <<'TABLE'
RQ  lib/queue/ring.h,lib/queue/ring.c,lib/queue/layout.h        ring: bounded FIFO
CH  lib/queue/log.h,lib/queue/chunks.c                          chunks: FIFO at its length
BY  lib/queue/place.h                                           items at their length
OR  lib/queue/ordered.h,lib/queue/ordered.c                     LIFO, PRIORITY
SD  lib/queue/state.h                                            shutdown of a queue
LS  lib/queue/lease_records.h                                   leased items
TK  lib/queue/tasks.h,lib/queue/tasks.c                         tasks and join
BL  lib/sync/biased.h,lib/queue/state.h,lib/queue/state.c       biased lock
EC  lib/sync/eventcount.h                                       eventcount
WL  lib/sync/waitlist.h                                         waitlist
LF  lib/sync/leader.h                                           leader and followers
SM  lib/object/semaphore.c,lib/object/holdings.h                semaphore
EV  lib/object/broadcast.h                                      broadcast, event
VA  lib/object/value.h                                          value
RW  lib/object/rwlock.c                                         rwlock
ON  lib/object/once.c                                           once
ST  lib/object/stream.h                                         stream
PW  lib/object/watch.h                                          poll, wait_any
CD  lib/object/cond.c                                           condition
LK  lib/object/lock.c,lib/base/robust.h                         lock
DE  lib/segment/directory.h                                     directory entries
ME  lib/segment/member.h                                        a member joins, leaves
NM  lib/segment/member.h,lib/segment/layout.h                   names of members
WT  lib/segment/member.h,lib/segment/layout.h                   what a member waits for
RT  lib/segment/retire.h                                        retirement
PR  lib/segment/process.h                                       processes
PB  lib/segment/blocks.h                                        pool of blocks
RO  lib/segment/presence.h                                          roles: lines that end
TABLE
}

find lib tests tools -type f \( -name '*.[ch]' -o -name '*.pml' -o -path tests/model/run.sh \) |
    sort |
    TABLE=$(table) perl -e '
        for (split /\n/, $ENV{TABLE}) {
            my ($letters, $files) = split / +/;
            $account{$letters} = {map { $_ => 1 } split /,/, $files};
        }
        sub wrong { print "$_[0]\n"; $wrong++ }
        while (my $file = <STDIN>) {
            chomp $file;
            my $text = do { local (@ARGV, $/) = $file; <> };
            my $line = 0;
            for (split /\n/, $text) {
                $line++;
                while (/(?<!\w)(?<!-D)(?:NO_)?([A-Z]{2}\d+)(?!\w)/g) {
                    next unless $account{substr $1, 0, 2} || $file =~ /^lib/;
                    push @{$seen{$1}}, [$file, $line];
                }
                if ($file =~ m{^lib/|^tests/model/}) {
                    while (/(?<![\w+-])(?<!row )([A-BD-VX-Z]\d)(?!\w)/g) {
                        wrong("$file:$line: $1: a label has two letters");
                    }
                }
            }
        }
        for my $label (sort keys %seen) {
            my @places = @{$seen{$label}};
            my $first = "$places[0][0]:$places[0][1]: $label";
            my @in_lib = grep { $_->[0] =~ /^lib/ } @places;
            my $files = $account{substr $label, 0, 2};
            if (!$files) { wrong("$first: the table in tests/labels.sh does not have its letters") }
            elsif (!@in_lib) { wrong("$first: lib/ does not have it") }
            elsif (!grep { $files->{$_->[0]} } @in_lib) {
                my $account = join " or ", sort keys %$files;
                wrong("$first: is not in the account of its protocol, $account");
            }
            elsif (@in_lib < 2) { wrong("$first: has one end only") }
            $labels++;
        }
        print $labels + 0, " labels, ", $wrong + 0, " faults\n";
        exit($wrong || !$labels ? 1 : 0);
    '
