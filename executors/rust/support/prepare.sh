#!/bin/sh
# Makes, in the current directory, `link`: the compiler's arguments for linking against the shared
# standard library with the toolchain's own linker, asked directly instead of through `cc`. `$1` is
# the compiler, `$2` the directory of its libraries, `$3` its linker. Where that does not give a
# program that runs, there is no `link`, and compiles do without it.
set -eu
compiler=$1 libraries=$2 linker=$3

# Where `cc` finds the file `$1`.
find() { cc -print-file-name="$1"; }

[ -x "$linker" ] || exit 0
loader=$(cc -### -x c /dev/null 2>&1 | tr -d '"' | sed -n 's/.* -dynamic-linker \([^ ]*\) .*/\1/p')
[ -n "$loader" ] || exit 0
{
    printf -- '-dynamic-linker\n%s\n-rpath\n%s\n' "$loader" "$libraries"
    for library in libgcc_s.so libc.so; do printf -- '-L%s\n' "$(dirname "$(find $library)")"; done
    # What is linked is little: more threads cost more than they bring.
    echo --threads=1
    for object in Scrt1.o crti.o crtbeginS.o crtendS.o crtn.o; do find $object; done
} >arguments
printf '%s\n' -Cprefer-dynamic "-Clinker=$linker" -Clinker-flavor=ld.lld \
    "-Clink-arg=@$PWD/arguments" >try.arguments
echo 'fn main() { std::process::exit(std::panic::catch_unwind(|| panic!()).map_or(42, |()| 1)) }' \
    >try.rs
status=0
"$compiler" @try.arguments -o try try.rs 2>/dev/null && { ./try 2>/dev/null || status=$?; }
rm -f try try.rs
if [ "$status" = 42 ]; then mv try.arguments link; else rm -f try.arguments; fi
