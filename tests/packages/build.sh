#!/bin/bash
# Builds the Debian packages from the tarball and debian/:
#
#     tests/packages/build.sh TARBALL FOLDER
#
# FOLDER is made anew; the packages, their source and the .changes file lie in it. make package
# calls this. DEB_BUILD_OPTIONS and the like are dpkg-buildpackage's.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
tarball=$(realpath "$1")
rm -rf "$2"
mkdir -p "$2"
cd "$2"

version=$(dpkg-parsechangelog -l "$source/debian/changelog" -S Version)
if test "$(basename "$tarball")" != "shmkit-$version.tar.gz"; then
    echo "debian/changelog has version $version, and the tarball is $(basename "$tarball")" >&2
    exit 1
fi
tar xzf "$tarball"
cd "shmkit-$version"
test -d debian || { echo "the tarball has no debian/" >&2 && exit 1; }
DEB_BUILD_OPTIONS="noautodbgsym ${DEB_BUILD_OPTIONS-}"
export DEB_BUILD_OPTIONS
if ! dpkg-buildpackage -us -uc >../log 2>&1; then
    tail -n 60 ../log
    echo "dpkg-buildpackage failed; its log is $PWD/../log" >&2
    exit 1
fi
cd ..
rm -rf "shmkit-$version"
