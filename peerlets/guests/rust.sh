# Compiles the crate in $PEERLET_DIR. What cargo says of it, as JSON, goes to standard output.
set -eu
. "$GUESTS/toolchain.sh"

mkdir -p "$PEERLET_CACHE"
guest_toolchain "$PEERLET_CACHE/toolchain" || exit 69
case $GUEST_TOOLCHAIN in
Debian*)
    # The standard library is built from its source, once for all peerlets of this user.
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PEERLET_CACHE/target}"
    ;;
esac
# Cargo reads its settings where it runs.
cd "$PEERLET_DIR"
guest_cargo build --release --target "$GUEST_TARGET" --message-format json-render-diagnostics
