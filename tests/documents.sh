#!/bin/bash
# The documents say what is there. The symbol map, that of the Debian package, the public headers
# and the man pages name the same functions; a page's synopsis declares what the header declares;
# links lead somewhere; README.md and README.zh.md have the same commands; HACKING's tree has each
# folder, and no file that does not exist.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$SHMKIT_SRCDIR" || exit 1
failed=0
pages=(lib/man/*.[37])

fail() {
    echo "FAILED: $*"
    failed=1
}

same() { # WHAT FILE WHAT FILE
    diff "$2" "$4" >"$work/diff" && return
    sed -n "s|^<|only $1:|p; s|^>|only $3:|p" "$work/diff"
    fail "$1 and $3 differ"
}

section() { # NAME PAGE
    awk -v name=".Sh $1" '/^\.Sh / { inside = $0 == name; next } inside' "$2"
}

# The functions: "name" of the map; "name" of each prototype; "name page" of each NAME section.
sed 's,/\*.*\*/,,' lib/shmkit.map | grep -oE '\<shk_[a-z0-9_]+' | sort >"$work/map"
uniq -d "$work/map" | while read -r name; do
    echo "FAILED: lib/shmkit.map names $name twice"
done | grep . && failed=1
cat lib/shmkit/*.h | sed -z 's,/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/,,g' | tr '\n' ' ' | tr ';' '\n' |
    sed -n 's/.*SHK_PUBLIC [^(]*\<\(shk_[a-z0-9_]*\)(.*/\1/p' | sort >"$work/headers"
for page in "${pages[@]}"; do
    section NAME "$page" | sed -n "s,^\.Nm \(shk_[a-z0-9_]*\).*,\1 $page,p"
done | sort >"$work/names"
cut -d' ' -f1 "$work/names" >"$work/pages"
test -s "$work/map" || fail "lib/shmkit.map names nothing"
same "in lib/shmkit.map" "$work/map" "in the headers" "$work/headers"
same "in lib/shmkit.map" "$work/map" "in the NAME sections of the pages" "$work/pages"

sed -n 's/^ \(shk_[a-z0-9_]*\)@.*/\1/p' debian/libshmkit0.symbols | sort >"$work/symbols"
same "in lib/shmkit.map" "$work/map" "in debian/libshmkit0.symbols" "$work/symbols"

# A synopsis as C, for the compiler to compare it with the header: .Ft type, .Fn name argument...,
# or .Fo, .Fa, .Fc.
prototypes() { # PAGE
    section SYNOPSIS "$1" | awk '
        function words(line,    n) { # into arguments[]: quoted, or single words
            count = 0
            while (match(line, /"[^"]*"|[^ "]+/)) {
                arguments[++count] = substr(line, RSTART, RLENGTH)
                gsub(/"/, "", arguments[count])
                line = substr(line, RSTART + RLENGTH)
            }
        }
        /^\.In / { print "#include <" $2 ">"; next }
        /^\.Bd / { skip = 1 }
        /^\.Ed/ { skip = 0 }
        skip { next }
        /^\.Ft / { sub(/^\.Ft /, ""); type = $0 }
        /^\.Fo / { printf "%s %s(", type, $2; separator = "" }
        /^\.Fa / { words(substr($0, 5)); printf "%s%s", separator, arguments[1]; separator = ", " }
        /^\.Fc/ { print ");" }
        /^\.Fn / {
            words(substr($0, 5))
            printf "%s %s(", type, arguments[1]
            for (i = 2; i <= count; i++)
                printf "%s%s", (i > 2 ? ", " : ""), arguments[i]
            print ");"
        }'
}

for page in "${pages[@]}"; do
    prototypes "$page" >"$work/synopsis.c"
    # CC may be several words
    $CC -std=c11 -D_DEFAULT_SOURCE -Wall -Werror -fsyntax-only -Ilib "$work/synopsis.c" ||
        fail "the SYNOPSIS of $page is not what the header declares"
    grep -o '\<shk_[a-z0-9_]*(' "$work/synopsis.c" | tr -d '(' | sort >"$work/declared"
    grep " $page\$" "$work/names" | cut -d' ' -f1 >"$work/named"
    same "in the SYNOPSIS of $page" "$work/declared" "in its NAME" "$work/named"

    # "make install" makes a page for each function that has none of its own.
    for name in $(sed -n 's/^\.Xr \(shk_[a-z0-9_]*\) 3.*/\1/p' "$page" | sort -u); do
        test -e "lib/man/$name.3" || grep -q "^$name " "$work/names" ||
            fail "$page refers to $name(3), which does not exist"
    done
    for name in $(sed -n 's/^\.F[no] \(shk_[a-z0-9_]*\).*/\1/p' "$page" | sort -u); do
        grep -qx "$name" "$work/map" || fail "$page names $name(), which does not exist"
    done
    grep -q " $page " <(tr '\n' ' ' <lib/Makemodule.am) ||
        fail "lib/Makemodule.am does not name $page"
done

if command -v mandoc >/dev/null; then
    mandoc -Tlint -Wwarning "${pages[@]}" >"$work/lint" ||
        { cat "$work/lint" && fail "mandoc -Tlint"; }
else
    echo "there is no mandoc: not asked"
fi

# What there is to type, or to compile, in a README: its code blocks without comments, which are
# translated.
commands() { # README
    awk '/^```/ { fenced = !fenced; next } fenced || /^    / { sub(/^    /, ""); print }' "$1" |
        sed 's,/\*.*\*/,,; s,[[:space:]]# .*,,; s,[[:space:]]*$,,' | grep .
}
names() { # README: what stands between backquotes
    awk '/^```/ { fenced = !fenced } !fenced' "$1" | grep -o '`[^`]*`' | sort -u
}
commands README.md >"$work/en"
commands README.zh.md >"$work/zh"
test -s "$work/en" || fail "README.md has no commands"
same "in README.md" "$work/en" "in README.zh.md" "$work/zh"
names README.md >"$work/en-names"
names README.zh.md >"$work/zh-names"
same "in README.md" "$work/en-names" "in README.zh.md" "$work/zh-names"
for readme in README.md README.zh.md; do
    for link in $(grep -o '](\([^)#]*\)' "$readme" | sed 's,^](,,' | grep -v '^https\?:'); do
        test -e "$link" || fail "$readme links to $link, which does not exist"
    done
done
for command in $(grep -ohE '\./bootstrap [a-z]+' README.md README.zh.md HACKING | sort -u |
    cut -d' ' -f2); do
    ./bootstrap --help | grep -q "^  $command " ||
        fail "./bootstrap $command is named, and does not exist"
done

# HACKING: in "The tree" a line begins with a folder, and words with a suffix are files in it.
awk '/^[^ ]/ { inside = $0 == "The tree" } inside && /^    [^ ]/ { print $1 }' HACKING |
    sort >"$work/tree"
find lib tools demos tests -type d -not -path '*/.*' | sed 's,$,/,' | sort >"$work/folders"
while read -r folder; do
    grep -qx "$folder" "$work/folders" || fail "HACKING: there is no folder $folder"
done <"$work/tree"
while read -r folder; do
    grep -qx "$folder" "$work/tree" || fail "HACKING's tree does not have $folder"
done <"$work/folders"
awk '
    /^[^ ]/ { inside = $0 == "The tree" }
    inside && /^    [^ ]/ { folder = $1 }
    inside {
        for (i = 1; i <= NF; i++) {
            gsub(/^[(]|[,.;:)]+$/, "", $i)
            if ($i ~ /^[a-z_\/-]+\.(c|h|sh|map|pml|7|md)$/)
                print folder, $i
        }
    }' HACKING >"$work/files"
test -s "$work/files" || fail "HACKING's tree names no file"
while read -r folder file; do
    test -e "$folder$file" || test -e "$file" || fail "HACKING: there is no $file in $folder"
done <"$work/files"

# The letters of the ordering labels are those that tests/labels.sh checks.
awk '/^[^ ]/ { inside = $0 == "Ordering labels" } inside' HACKING | grep -oE '\<[A-Z]{2} [a-z]' |
    cut -d' ' -f1 | sort >"$work/letters"
sed -n 's/^\([A-Z][A-Z]\)  lib.*/\1/p' tests/labels.sh | sort >"$work/checked"
same "in HACKING" "$work/letters" "in tests/labels.sh" "$work/checked"

echo "$(wc -l <"$work/map") functions, ${#pages[@]} pages," \
    "$(wc -l <"$work/en") lines of commands, $(wc -l <"$work/files") files"
exit $failed
