#!/bin/sh
# Makes, in the current directory, what compiles can start from: precompiled headers, and the
# arguments that choose a fast linker. `$1` is the compiler. What cannot be made is left out, and
# compiles do without it.
set -eu
compiler=$1

# Precompiles the headers `$3`... as `$2`, for the flags `$1`. Without the header itself, a compile
# to which the precompiled one does not apply fails, instead of quietly reading something else.
make() {
    flags=$1 name=$2
    shift 2
    mkdir -p "$flags"
    for header in "$@"; do echo "#include <$header>"; done >"$flags/$name.h"
    if "$compiler" -pthread -std="${flags%-*}" -O"${flags##*-}" -x c++-header \
        -o "$flags/$name.new" "$flags/$name.h" 2>/dev/null; then
        mv "$flags/$name.new" "$flags/$name.h.gch"
    fi
    rm -f "$flags/$name.h" "$flags/$name.new"
}

# The commonest header for the commonest flags: half a second and 24 MB each.
make_iostream() {
    for flags in "$@"; do make "$flags" iostream iostream; done
}

# All headers take two seconds and 100 MB, so only the default flags have them.
{
    make gnu++17-1 everything bits/stdc++.h
    make_iostream gnu++20-1 gnu++20-2
} &
make gnu++17-1 basics algorithm iostream string vector
make gnu++17-1 page algorithm functional iostream map memory numeric string vector
make_iostream gnu++17-1 gnu++17-0 gnu++17-2 c++17-1 c++17-2 c++20-1 c++20-2
wait

# The first that links a program which runs.
: >link
for linker in mold gold lld; do
    echo 'int main() { return 42; }' >try.cpp
    status=0
    "$compiler" -fuse-ld=$linker -o try try.cpp 2>/dev/null && { ./try || status=$?; }
    rm -f try try.cpp
    if [ "$status" = 42 ]; then
        echo "-fuse-ld=$linker" >link
        cp link fast-link
        break
    fi
done
