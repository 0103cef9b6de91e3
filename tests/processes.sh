# shellcheck shell=bash
# What scripts ask of /proc themselves: pgrep(1), ps(1) and kill(1) are in a package that is not
# everywhere.

# The children of process $1; with $2, those of that name.
children() {
    local file line
    for file in /proc/[0-9]*/stat; do
        { read -r line <"$file"; } 2>/dev/null || continue
        # The name may contain anything, and ends there; then come the state and the parent.
        set -- "$1" "${2-}" ${line##*) }
        test "$4" = "$1" || continue
        line=${line#*(}
        file=${file#/proc/}
        test -n "$2" && test "${line%)*}" != "$2" || echo "${file%/stat}"
    done
}

# This user's files in /dev/shm that tests and scenes make, but for those of a run that goes on,
# sorted.
list_segments() {
    local file number
    for file in /dev/shm/{shmkit-,test-,scene-,run-,picture-}*; do
        number=${file##*/}
        number=${number#"${number%%[0-9]*}"}
        number=${number%%[!0-9]*}
        test -O "$file" && test -n "$number" && test ! -e "/proc/$number" && echo "${file##*/}"
    done | LC_ALL=C sort
}
