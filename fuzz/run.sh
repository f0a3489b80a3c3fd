#!/bin/sh
# Builds the fuzz targets with the stable toolchain and runs each for a bounded number of inputs.
set -eu
cd "$(dirname "$0")/.."
RUNS=${RUNS:-20000}
RUSTC_BOOTSTRAP=1 cargo build --locked --manifest-path fuzz/Cargo.toml
for target in wire manifest; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    "fuzz/target/debug/$target" -runs="$RUNS" -artifact_prefix="fuzz/artifacts/$target/" "fuzz/corpus/$target"
done
echo "fuzz targets ran $RUNS inputs each"
