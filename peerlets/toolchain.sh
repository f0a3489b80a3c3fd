#!/bin/sh
# Makes sure that peerlets can be compiled: finds a toolchain that builds WASI 0.2 components, or fetches one.
#
#   toolchain.sh                       find or fetch, and say which
#   PROST_GUEST_TOOLCHAIN=NAME ...     only that one: installed, rustup or debian
#
# In this order: the `wasm32-wasip2` target of the current Rust toolchain where it is installed; `rustup target add`;
# Debian's Rust packages, which bring the standard library's source, with this toolchain's component linker.
#
# build.sh reads this file and calls `guest_toolchain`, which sets GUEST_TOOLCHAIN and defines what `guest_cargo` needs.

GUEST_TARGET=wasm32-wasip2
RUSTUP_SECONDS=${PROST_RUSTUP_SECONDS:-120}
DEBIAN_PACKAGES="rustc-web cargo-web rust-web-src lld-16 wasi-libc"

say() { echo "peerlets: $*" >&2; }

# What an outer cargo tells its build scripts must not reach an inner one: flags, target directory, wrappers, profiles.
# The user's own settings do: where cargo and rustup live, which toolchain, and how to reach the network.
scrub_environment() {
    for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case $name in
        CARGO_HOME | CARGO_HTTP_* | CARGO_NET_* | CARGO_REGISTR* | CARGO_SOURCE_* | CARGO_TERM_*) ;;
        RUSTUP_*) ;;
        CARGO | CARGO_* | RUST* | CLIPPY_* | LD_LIBRARY_PATH | DYLD_*) unset "$name" ;;
        MAKEFLAGS | MFLAGS | TARGET | HOST | PROFILE | OPT_LEVEL | DEBUG | NUM_JOBS | OUT_DIR) unset "$name" ;;
        esac
    done
}

# Runs a command for at most that many seconds.
bounded() {
    seconds=$1
    shift
    if command -v timeout >/dev/null 2>&1; then
        timeout -k 5 "$seconds" "$@" </dev/null
        return
    fi
    "$@" </dev/null &
    bounded_pid=$!
    (sleep "$seconds" && kill "$bounded_pid") >/dev/null 2>&1 &
    bounded_watch=$!
    wait "$bounded_pid"
    bounded_status=$?
    kill "$bounded_watch" 2>/dev/null
    return "$bounded_status"
}

target_is_installed() {
    libraries=$(rustc --print target-libdir --target "$GUEST_TARGET" 2>/dev/null) || return 1
    ls "$libraries"/libstd-*.rlib >/dev/null 2>&1
}

use_installed() {
    target_is_installed || return 1
    GUEST_TOOLCHAIN="the installed $GUEST_TARGET target of $(rustc --version)"
    guest_cargo() { cargo "$@"; }
}

use_rustup() {
    command -v rustup >/dev/null 2>&1 || return 1
    say "asking rustup for the $GUEST_TARGET target (at most $RUSTUP_SECONDS s)"
    RUSTUP_MAX_RETRIES=1 bounded "$RUSTUP_SECONDS" rustup --quiet target add "$GUEST_TARGET" >&2 || return 1
    use_installed || return 1
    GUEST_TOOLCHAIN="rustup's $GUEST_TARGET target, just added to $(rustc --version)"
}

debian_wasm_ld() { ls /usr/bin/wasm-ld /usr/bin/wasm-ld-* 2>/dev/null | tail -n 1; }

debian_is_installed() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] || return 1
    [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ] || return 1
    [ -n "$(debian_wasm_ld)" ] && [ -f /usr/lib/wasm32-wasi/libc.a ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_debian() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null 2>&1 || return 1
    say "installing Debian's packages: $DEBIAN_PACKAGES"
    apt="env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2"
    # shellcheck disable=SC2086
    {
        as_root $apt update || say "apt-get update failed; trying with the package lists that are there"
        as_root $apt install -y --no-install-recommends $DEBIAN_PACKAGES
    } </dev/null >&2
}

# The component linker comes with the current toolchain, not with Debian's.
component_linker() {
    host=$(rustc --version --verbose | sed -n 's/^host: //p')
    linker=$(rustc --print sysroot)/lib/rustlib/$host/bin/wasm-component-ld
    if [ -x "$linker" ]; then echo "$linker"; else command -v wasm-component-ld; fi
}

use_debian() {
    GUEST_LINKER=$(component_linker) || {
        say "no wasm-component-ld in this Rust toolchain"
        return 1
    }
    debian_is_installed || install_debian || return 1
    debian_is_installed || return 1
    GUEST_TOOLCHAIN="Debian's $(/usr/bin/rustc --version), its standard library built from source"
    # Cargo's build-std is unstable, and Debian's library source fits only Debian's compiler.
    guest_cargo() {
        PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP2_LINKER="$GUEST_LINKER" \
            RUSTFLAGS="-C link-self-contained=no -L native=/usr/lib/wasm32-wasi -C link-arg=--wasm-ld-path=$(debian_wasm_ld)" \
            /usr/bin/cargo "$@" -Zbuild-std=std,panic_abort
    }
}

# Sets GUEST_TOOLCHAIN and defines guest_cargo. $1, where given, is a file that remembers a choice that took long.
guest_toolchain() {
    remembered=${1:-/dev/null}
    case ${PROST_GUEST_TOOLCHAIN:-} in
    installed | rustup | debian)
        "use_$PROST_GUEST_TOOLCHAIN" && return
        say "error: the guest toolchain '$PROST_GUEST_TOOLCHAIN' does not work here; unset PROST_GUEST_TOOLCHAIN to try the others"
        return 1
        ;;
    "") ;;
    *)
        say "error: PROST_GUEST_TOOLCHAIN is '$PROST_GUEST_TOOLCHAIN'; it can be installed, rustup or debian"
        return 1
        ;;
    esac
    use_installed && return
    if [ "$(cat "$remembered" 2>/dev/null)" = debian ] && debian_is_installed && use_debian; then return; fi
    use_rustup && return
    if use_debian; then
        [ "$remembered" = /dev/null ] || { mkdir -p "$(dirname "$remembered")" && echo debian >"$remembered"; }
        return
    fi
    say "error: nothing here compiles for $GUEST_TARGET; run 'rustup target add $GUEST_TARGET' where rustup's server can be reached, or install $DEBIAN_PACKAGES"
    return 1
}

case $0 in
*toolchain.sh)
    scrub_environment
    guest_toolchain "$(dirname "$0")/target/.toolchain" || exit 1
    say "using $GUEST_TOOLCHAIN"
    ;;
esac
