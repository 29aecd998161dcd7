use std::time::Duration;

use super::*;
use crate::{
    NextCrl, Revocation, StaleCrl, VerifyError,
    forge::{DAY, ForgedAuthority, NOW, authority, identity, openssl, serial},
};

fn next(number: u64, revoked: &[&Serial]) -> NextCrl {
    NextCrl {
        number,
        this_update: NOW,
        next_update: NOW + DAY,
        revoked: revoked
            .iter()
            .map(|serial| ((*serial).clone(), NOW))
            .collect(),
    }
}

#[test]
fn a_list_says_what_was_signed() {
    let authority = authority();
    let (a, b) = (serial(), serial());

    let made = authority.sign_crl(&next(7, &[&a, &b])).unwrap();
    let read = Crl::from_pem(&made.to_pem(), authority.certificate()).unwrap();

    assert_eq!(read, made);
    assert_eq!(read.number(), 7);
    assert_eq!(read.issuer(), authority.fingerprint());
    assert_eq!((read.this_update(), read.next_update()), (NOW, NOW + DAY));
    assert_eq!(read.revoked().keys().collect::<Vec<_>>().len(), 2);
    assert_eq!(read.revoked()[&a], NOW);
}

#[test]
fn numbers_of_every_size_survive() {
    let authority = authority();
    for number in [0, 1, 127, 128, 255, 256, u64::MAX] {
        let made = authority.sign_crl(&next(number, &[])).unwrap();
        assert_eq!(made.number(), number);
    }
}

#[test]
fn openssl_verifies_a_list_and_refuses_what_it_revokes() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority();
    let (good, bad) = (
        identity(&authority, "agent/a"),
        identity(&authority, "agent/b"),
    );
    let crl = authority.sign_crl(&next(7, &[bad.serial()])).unwrap();
    fs_err::write(home.path().join("ca.pem"), authority.certificate_pem()).unwrap();
    fs_err::write(home.path().join("crl.pem"), crl.to_pem()).unwrap();
    for (name, identity) in [("good.pem", &good), ("bad.pem", &bad)] {
        let block = pem::Pem::new("CERTIFICATE", identity.certificate().der().to_vec());
        fs_err::write(
            home.path().join(name),
            crate::secret_file::encode_pem(&block),
        )
        .unwrap();
    }

    let text = openssl(
        home.path(),
        &[
            "crl", "-in", "crl.pem", "-CAfile", "ca.pem", "-noout", "-text",
        ],
    );
    let at = NOW.unix_timestamp().to_string();
    let verify = |file: &str| {
        let output = std::process::Command::new("openssl")
            .args([
                "verify",
                "-crl_check",
                "-CAfile",
                "ca.pem",
                "-CRLfile",
                "crl.pem",
            ])
            .args(["-attime", &at, file])
            .current_dir(home.path())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };

    assert!(
        text.contains(&bad.serial().to_string().to_uppercase()),
        "{text}"
    );
    assert!(
        text.contains("X509v3 CRL Number: \n                7"),
        "{text}"
    );
    assert_eq!(verify("good.pem"), (true, String::new()));
    let (accepted, said) = verify("bad.pem");
    assert!(!accepted && said.contains("certificate revoked"), "{said}");
}

#[test]
fn garbled_cut_and_extended_lists_are_refused() {
    let authority = authority();
    let der = authority
        .sign_crl(&next(7, &[&serial()]))
        .unwrap()
        .der()
        .to_vec();
    let read = |bytes: &[u8]| Crl::read(bytes, authority.certificate());

    assert!(read(&der).is_ok());
    for length in 0..der.len() {
        assert!(
            read(&der[..length]).is_err(),
            "the first {length} bytes were taken"
        );
    }
    for at in 0..der.len() {
        let mut garbled = der.clone();
        garbled[at] ^= 0x01;
        assert!(read(&garbled).is_err(), "a change of byte {at} was taken");
    }
    assert_eq!(
        read(&[&der[..], &[0]].concat()),
        Err(ReadCrlError::Malformed)
    );
    assert_eq!(
        read(&vec![0x30; MAX_CRL_LEN + 1]),
        Err(ReadCrlError::TooLong {
            bytes: MAX_CRL_LEN + 1
        })
    );
}

#[test]
fn a_list_of_another_ca_of_the_same_name_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let crl = theirs.sign_crl(&next(7, &[])).unwrap();

    let refused = Crl::read(crl.der(), ours.certificate());

    assert_eq!(refused, Err(ReadCrlError::ForeignAuthority));
}

#[test]
fn a_list_that_a_node_signed_is_refused() {
    let forged = ForgedAuthority::with(|params| {
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    });
    let crl = authority().sign_crl(&next(7, &[])).unwrap();

    let refused = Crl::read(crl.der(), &forged.der);

    assert_eq!(refused, Err(ReadCrlError::NotCrlSigner));
}

#[test]
fn a_list_in_the_wrong_order_of_dates_is_not_signed() {
    let mut wrong = next(7, &[]);
    wrong.next_update = NOW - DAY;

    assert!(authority().sign_crl(&wrong).is_err());
}

#[test]
fn a_revoked_serial_is_refused_and_no_other() {
    let authority = authority();
    let (revoked, renewed) = (serial(), serial());
    let crl = authority.sign_crl(&next(7, &[&revoked])).unwrap();
    let revocation = Revocation::new(crl, StaleCrl::Refuse);
    let check = |serial| revocation.check(authority.fingerprint(), serial, NOW);

    assert_eq!(check(&revoked), Err(VerifyError::Revoked));
    assert_eq!(check(&renewed), Ok(()));
}

#[test]
fn a_list_with_an_older_number_is_refused() {
    let authority = authority();
    let revoked = serial();
    let sign = |number, revoked: &[&Serial]| authority.sign_crl(&next(number, revoked)).unwrap();
    let newest = sign(7, &[&revoked]);
    let revocation = Revocation::none_known(StaleCrl::Refuse);
    let clone = revocation.clone();
    revocation.replace(newest.clone()).unwrap();

    let older = OlderCrl::Number {
        offered: 6,
        known: 7,
    };
    let same = OlderCrl::Number {
        offered: 7,
        known: 7,
    };
    assert_eq!(clone.replace(sign(6, &[])), Err(older));
    assert_eq!(clone.replace(sign(7, &[])), Err(same));
    assert_eq!(clone.replace(newest.clone()), Ok(()));
    assert_eq!(clone.in_force().as_deref(), Some(&newest));
    assert_eq!(clone.replace(sign(8, &[])), Ok(()));
    assert_eq!(revocation.in_force().unwrap().number(), 8);
}

#[test]
fn a_list_of_another_mesh_replaces_none_and_lets_nobody_in() {
    let (ours, theirs) = (authority(), authority());
    let foreign = theirs.sign_crl(&next(8, &[])).unwrap();
    let revocation = Revocation::new(ours.sign_crl(&next(7, &[])).unwrap(), StaleCrl::Refuse);

    assert!(matches!(
        revocation.replace(foreign.clone()),
        Err(OlderCrl::Issuer { .. })
    ));
    let misplaced = Revocation::new(foreign, StaleCrl::Refuse);
    assert_eq!(
        misplaced.check(ours.fingerprint(), &serial(), NOW),
        Err(VerifyError::ForeignCrl)
    );
}

#[test]
fn a_stale_list_lets_nobody_in_once_its_grace_is_over() {
    let authority = authority();
    let crl = authority.sign_crl(&next(7, &[])).unwrap();
    let second = Duration::from_secs(1);
    let at = |stale, now| {
        Revocation::new(crl.clone(), stale).check(authority.fingerprint(), &serial(), now)
    };
    let next_update = NOW + DAY;
    let stale = |now| Err(VerifyError::StaleCrl { next_update, now });

    assert_eq!(at(StaleCrl::Refuse, next_update), Ok(()));
    assert_eq!(
        at(StaleCrl::Refuse, next_update + second),
        stale(next_update + second)
    );
    let grace = StaleCrl::AcceptFor(DAY);
    assert_eq!(at(grace, next_update + DAY), Ok(()));
    let late = next_update + DAY + second;
    assert_eq!(at(grace, late), stale(late));
    assert!(
        stale(late)
            .unwrap_err()
            .to_string()
            .contains("2030-03-05T05:06:07Z")
    );
}
