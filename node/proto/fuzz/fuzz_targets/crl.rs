//! The reader of revocation lists: a list of its CA or an error, never a panic.
//!
//! `ca.der` is the certificate of a CA whose key was thrown away after it signed the seed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::Crl;
use rustls_pki_types::CertificateDer;

const AUTHORITY: &[u8] = include_bytes!("../ca.der");

fuzz_target!(|bytes: &[u8]| {
    let authority = CertificateDer::from(AUTHORITY);
    if let Ok(list) = Crl::read(bytes, &authority) {
        let again = Crl::from_pem(&list.to_pem(), &authority);
        assert_eq!(again.as_ref(), Ok(&list));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Crl::from_pem(text, &authority);
    }
});
