//! The contract as wasmtime sees it, generated from `wit/peerlet.wit`.
#![allow(missing_docs, unreachable_pub, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../../wit/peerlet.wit",
    world: "peerlet",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
});
