# Every target does its own set-up and works on a fresh machine with a Rust toolchain.
# `demo` and `test` are the two that a newcomer needs.

CARGO ?= cargo
NODES ?= 8
# Those whose tools must be there; others are tried where they are.
LANGUAGES ?= python

.PHONY: demo build test languages sweep check fix bench fuzz toolchain clean

## Build, then watch a ring install an application on demand and lose a node without losing data.
demo: build
	target/release/prost demo --nodes $(NODES)

build: toolchain
	$(CARGO) build --release --locked --package prost-node

## Everything that must hold: unit, property, simulated-world and end-to-end tests, and the fuzz targets for a moment.
test: toolchain
	$(CARGO) test --workspace --locked
	$(CARGO) test --release --locked --package prost-sim --test sweep --test records --test consistency -- --ignored --nocapture
	$(CARGO) test --release --locked --package prost-kbr --package prost-manager --package prost-sim --features prost-kbr/planted,prost-manager/planted,prost-sim/planted --test planted --test planted_records -- --nocapture
	$(CARGO) test --release --locked --package prost-manager --test it fall_over
	cd peerlets && $(CARGO) test --workspace --locked
	$(MAKE) fuzz

## Peerlets in other languages, with the tools that their communities use: from nothing to an answer on a ring.
languages: toolchain
	PROST_TEST_LANGUAGES=$(LANGUAGES) $(CARGO) test --release --locked --package prost-tests --test e2e -- --ignored --nocapture authoring::a_peerlet_in

## As the sweep of the tests, with ten times as many seeds.
sweep:
	PROST_SWEEP_SEEDS=20000 $(CARGO) test --release --locked --package prost-sim --test sweep -- --ignored --nocapture

## Read-only: format, lints, documentation.
check: toolchain
	$(CARGO) fmt --all --check
	cd peerlets && $(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	cd peerlets && $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	sh tests/pure.sh

## Writes: format and what clippy can mend by itself.
fix:
	$(CARGO) fmt --all
	cd peerlets && $(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

## Ratios against bare quinn, bare wasmtime and the compiler alone, in the same run.
bench: toolchain
	$(CARGO) bench --locked --package prost-node

fuzz:
	sh fuzz/run.sh

toolchain:
	sh peerlets/toolchain.sh

clean:
	$(CARGO) clean
	rm -rf peerlets/target fuzz/target
