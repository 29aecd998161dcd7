//! The reader of signing requests: a proven public key or an error, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::PublicKey;

fuzz_target!(|der: &[u8]| {
    let _ = PublicKey::from_csr(der);
});
