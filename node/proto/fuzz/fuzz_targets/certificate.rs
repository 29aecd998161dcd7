//! The reader of a peer's certificate: a certificate of a node or an error, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::NodeCertificate;

fuzz_target!(|der: &[u8]| {
    if let Ok(certificate) = NodeCertificate::read(der) {
        assert_eq!(&certificate.der()[..], der);
    }
});
