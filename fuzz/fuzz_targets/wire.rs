//! Frames from a hostile peer: whatever decodes must mean the same after it was encoded again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost_fuzz::{encoded, frames, plant};
use prost_kbr::wire::{decode, frame_length};
use prost_kbr::{Header, Message};

fuzz_target!(init: plant(frames()), |data: &[u8]| {
    let _ = frame_length(data);
    let Ok(message) = decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(decode(encoded(&message)).as_ref(), Ok(&message));
    if let Message::Route { routed, .. } = &message
        && let Some(header) = Header::decode(&routed.header)
    {
        assert_eq!(Header::decode(&header.encode()), Some(header));
    }
});
