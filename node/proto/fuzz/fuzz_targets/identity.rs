//! The reader of identity files: an identity that holds together or an error, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::Identity;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Identity::parse(text);
    }
});
