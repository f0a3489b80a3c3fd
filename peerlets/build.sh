#!/bin/sh
# Compiles every standard peerlet and puts the components where others find them.
#
#   build.sh [DIR]     components go to DIR/NAME.wasm; by default target/peerlets of the repository
#
# A standard peerlet is a folder here whose crate is a `cdylib`; the folder's name is the component's.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here/../target/peerlets}
. "$here/toolchain.sh"

scrub_environment
guest_toolchain "$here/target/.toolchain" || exit 1

names=$(
    for manifest in "$here"/*/Cargo.toml; do
        if sed -n '/^\[lib\]/,/^$/p' "$manifest" | grep -q cdylib; then basename "$(dirname "$manifest")"; fi
    done
)

cd "$here"
for name in $names; do
    # As nothing but a component: where a crate is to be a library too, the linker leaves in what the component never calls.
    guest_cargo rustc --quiet --locked --release --lib --target "$GUEST_TARGET" --target-dir "$here/target" \
        --package "$name" --crate-type cdylib || {
        say "error: the peerlet $name does not compile (with $GUEST_TOOLCHAIN); see above"
        exit 1
    }
done

mkdir -p "$output"
for name in $names; do
    built=$here/target/$GUEST_TARGET/release/$name.wasm
    if cmp -s "$built" "$output/$name.wasm"; then continue; fi
    # Another build may read the old component: replace it in one step.
    cp "$built" "$output/.$name.$$"
    mv -f "$output/.$name.$$" "$output/$name.wasm"
    changed=yes
done
[ -z "${changed:-}" ] || say "built$(printf ' %s' $names) with $GUEST_TOOLCHAIN"
