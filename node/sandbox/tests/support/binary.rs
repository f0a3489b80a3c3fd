//! The binary format, for components that no text can say.

/// Bytes of a number in the binary format.
pub fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A component of these sections.
pub fn component(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for (number, contents) in sections {
        bytes.push(*number);
        bytes.extend(leb(contents.len()));
        bytes.extend(contents);
    }
    bytes
}

/// Sections of components.
pub const CORE_MODULE: u8 = 1;
pub const CORE_TYPES: u8 = 3;
pub const COMPONENT: u8 = 4;
pub const TYPES: u8 = 7;

/// A core module of these sections.
pub fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = component(sections);
    bytes[4..8].copy_from_slice(&[1, 0, 0, 0]);
    bytes
}
