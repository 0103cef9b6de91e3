#!/bin/bash
# Two libraries side by side, by one bench: what a change has cost, row by row.
#
#     tests/bench/sides.sh BENCH BEFORE AFTER SECONDS [BENCH-OPTION...]
#
# BENCH is tests/bench/bench of a build tree; BEFORE and AFTER are folders with a libshmkit.so.0.
# The interface is a contract, so one program runs with both: they take turns, a round each, for
# SECONDS.
# Printed for each row: both medians, the median of the turns' own ratios (after to before), how
# many turns there were, and between which ratios the middle half of them lies.
#
# BENCH-OPTION: --filter=W1/8 --seconds=0.05
set -u
test $# -ge 4 || { sed -n '4p' "$0" >&2 && exit 2; }
# shellcheck disable=SC2034 # before and after are read by their names
bench=$1 before=$2 after=$3 seconds=$4
shift 4
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
end=$((SECONDS + seconds)) turn=0
while ((SECONDS < end)); do
    turn=$((turn + 1))
    # The one that comes first changes: the first of two is slower where the machine gets warm.
    sides=(before after)
    ((turn % 2)) || sides=(after before)
    for side in "${sides[@]}"; do
        LD_LIBRARY_PATH=${!side} "$bench" --ours --rounds=1 "$@" \
            --json="$work/$side.$turn" >/dev/null 2>"$work/err" ||
            { cat "$work/err" && exit 1; }
    done
done
python3 - "$work" "$turn" <<'PYTHON'
import json, statistics, sys

work, turns = sys.argv[1], int(sys.argv[2])
figures = {}
for turn in range(1, turns + 1):
    for side in "before", "after":
        with open(f"{work}/{side}.{turn}") as file:
            for row in json.load(file)["results"]:
                unit, values = next((k, v) for k, v in row.items() if isinstance(v, list))
                if values and None not in values:
                    key = (row["workload"], row["row"], row["place"], row["subject"], unit)
                    figures.setdefault(key, {}).setdefault(turn, {})[side] = statistics.median(
                        values)
print("| row | before | after | after / before | turns | middle half |")
print("| --- | ---: | ---: | ---: | ---: | --- |")
for (workload, row, place, subject, unit), of in figures.items():
    both = [t for t in of.values() if len(t) == 2 and t["before"]]
    if not both:
        continue
    ratios = sorted(t["after"] / t["before"] for t in both)
    quarter = len(ratios) // 4
    print(f"| {workload} {row}, {place}: {subject}, {unit} "
          f"| {statistics.median(t['before'] for t in both):.4g} "
          f"| {statistics.median(t['after'] for t in both):.4g} "
          f"| {statistics.median(ratios):.3f} | {len(ratios)} "
          f"| {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f} |")
PYTHON
