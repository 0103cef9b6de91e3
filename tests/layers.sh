#!/bin/bash
# What a file calls lies below it, as the built objects tell:
#
#   * no files of lib/, tools/ or demos/ call each other in a circle;
#   * a folder of lib/ calls itself and those below it;
#   * no file of lib/ is too long to be read.
set -u
source=$(cd "${SHMKIT_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 1
cd "${SHMKIT_TESTDIR:-$source/build/tests}/.." || exit 1
for tool in perl nm; do
    if ! command -v $tool >/dev/null; then
        echo "SKIPPED: there is no $tool"
        exit 77
    fi
done

# From below to above.
layers='lib/base lib/segment lib/sync lib/object lib/queue lib/kinds.c lib/poll lib/inspect'
layers+=' lib/python lib/etcd'
longest=500 # lines

failed=0
while read -r lines file; do
    if ((lines > longest)); then
        echo "$file has $lines lines, more than $longest"
        failed=1
    fi
done < <(cd "$source" && find lib -name '*.[ch]' -exec wc -l {} + | grep -v ' total$')

# Objects of files that are not there any more may be left in the build tree.
find lib tools demos -name '*.o' ! -name 'libshmkit_test*' | sort | xargs -r nm -A |
    SOURCE=$source LAYERS=$layers perl -ne '
        my ($object, $kind, $symbol) = /^(\S+?):\s*[0-9a-f]*\s+(\w) (\S+)$/ or next;
        my $file = $object;
        $file =~ s{/\.libs/}{/};
        $file =~ s{/(?:[^/-]+-)?([^/-]+)\.o$}{/$1.c};
        next unless -f "$ENV{SOURCE}/$file";
        $files{$file} = 1;
        if ($kind eq "U") { $uses{$file}{$symbol} = 1 }
        elsif ($kind =~ /[A-Z]/) { $defines{$symbol}{$file} = 1 }

        END {
            my $wrong = 0;
            my $place = 0;
            my %layer = map { $_ => $place++ } split / /, $ENV{LAYERS};
            sub layer_of { my ($f) = @_; $layer{$f} // $layer{$f =~ s{/[^/]*$}{}r} }
            for my $file (sort keys %uses) {
                for my $symbol (sort keys %{$uses{$file}}) {
                    my @where = keys %{$defines{$symbol} // {}};
                    next if @where != 1 || $where[0] eq $file; # main() is in several
                    $calls{$file}{$where[0]} //= $symbol;
                    my ($from, $to) = (layer_of($file), layer_of($where[0]));
                    if (defined $from && defined $to && $from < $to) {
                        print "$file calls upwards: $symbol of $where[0]\n";
                        $wrong++;
                    }
                    $calls++;
                }
            }
            for my $file (sort keys %files) {
                next if $file !~ /^lib/ || defined layer_of($file);
                print "$file: the list of layers does not have its folder\n";
                $wrong++;
            }

            # A circle is the shortest way from a file back to itself.
            my %said;
            for my $start (sort keys %files) {
                my %from;
                my @next = ($start);
                while (@next && !exists $from{$start}) {
                    my $file = shift @next;
                    for my $called (sort keys %{$calls{$file} // {}}) {
                        next if exists $from{$called};
                        $from{$called} = $file;
                        push @next, $called;
                    }
                }
                next unless exists $from{$start};
                my @circle = ($start);
                for (my $file = $from{$start}; $file ne $start; $file = $from{$file}) {
                    unshift @circle, $file;
                }
                next if $said{join " ", sort @circle}++;
                unshift @circle, $start;
                print "a circle: $start";
                for (1 .. $#circle) {
                    print "\n    calls $calls{$circle[$_ - 1]}{$circle[$_]} of $circle[$_]";
                }
                print "\n";
                $wrong++;
            }
            my $files = keys %files;
            print "$files files, $calls symbols of other files used, $wrong faults\n";
            exit($wrong || $files < 30 ? 1 : 0);
        }
    ' || failed=1
exit $failed
