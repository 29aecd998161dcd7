use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose};

use super::*;
use crate::{
    ReadCsrError,
    forge::{DAY, NOW, authority, dns, identity, mesh, node, openssl, uri},
};

fn write_pem(home: &Path, name: &str, der: &[u8]) {
    let text = secret_file::encode_pem(&pem::Pem::new("CERTIFICATE", der));
    fs_err::write(home.join(name), text).unwrap();
}

/// What `openssl` verifies at the time of the tests.
fn verify_with_openssl(home: &Path, purpose: &str) -> String {
    let at = NOW.unix_timestamp().to_string();
    let words = [
        "verify",
        "-x509_strict",
        "-CAfile",
        "ca.pem",
        "-attime",
        &at,
        "-purpose",
        purpose,
        "leaf.pem",
    ];
    openssl(home, &words)
}

#[test]
fn openssl_verifies_every_role_for_what_it_does() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority();
    write_pem(home.path(), "ca.pem", authority.certificate());
    for (text, purposes) in [
        ("agent/a", &["sslclient", "sslserver"][..]),
        ("controller/c", &["sslclient"]),
        ("rendezvous/r", &["sslclient", "sslserver"]),
    ] {
        let leaf = identity(&authority, text);
        write_pem(home.path(), "leaf.pem", leaf.certificate().der());
        for purpose in purposes {
            assert_eq!(verify_with_openssl(home.path(), purpose), "leaf.pem: OK\n");
        }
    }
}

#[test]
fn openssl_reads_a_nodes_certificate_as_the_design_has_it() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority();
    let leaf = identity(&authority, "agent/srv-linux-01");
    write_pem(home.path(), "leaf.pem", leaf.certificate().der());

    let text = openssl(home.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);

    for line in [
        "Issuer: CN = Mesosync CA home",
        "Subject: CN = agent/srv-linux-01",
        "Not Before: Mar  4 05:01:07 2030 GMT",
        "Not After : Jun  2 05:06:07 2030 GMT",
        "NIST CURVE: P-256",
        "URI:spiffe://home/agent/srv-linux-01, DNS:srv-linux-01.agent.mesosync.internal",
        "TLS Web Client Authentication, TLS Web Server Authentication",
        "CA:FALSE",
        "Digital Signature",
        "Signature Algorithm: ecdsa-with-SHA256",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let serial = openssl(
        home.path(),
        &["x509", "-in", "leaf.pem", "-noout", "-serial"],
    );
    let expected = leaf.serial().to_string().to_uppercase();
    assert_eq!(serial.trim(), format!("serial={expected}"));
}

#[test]
fn openssl_reads_the_ca_as_the_design_has_it() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority();
    write_pem(home.path(), "ca.pem", authority.certificate());

    let text = openssl(home.path(), &["x509", "-in", "ca.pem", "-noout", "-text"]);
    let print = openssl(
        home.path(),
        &["x509", "-in", "ca.pem", "-noout", "-fingerprint", "-sha256"],
    );

    for line in [
        "Subject: CN = Mesosync CA home",
        "Not After : Feb 29 05:06:07 2040 GMT",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let shown = print.trim().split('=').next_back().unwrap();
    assert_eq!(shown.parse(), Ok(authority.fingerprint()));
}

#[test]
fn the_longest_names_fit() {
    let name = "x".repeat(63);
    let authority = Authority::create(&name.parse().unwrap(), NOW).unwrap();

    let issued = identity(&authority, &format!("controller/{name}"));

    assert_eq!(issued.node().name.as_str(), name);
    assert_eq!(issued.mesh().as_str(), name);
}

#[test]
fn a_renewal_with_the_same_key_has_another_serial() {
    let authority = authority();
    let key = PrivateKey::generate().unwrap().public().unwrap();

    let first = authority
        .issue(&node("agent/a"), &key, Term::starting(NOW))
        .unwrap();
    let second = authority
        .issue(&node("agent/a"), &key, Term::starting(NOW))
        .unwrap();

    assert_eq!(first.public_key(), second.public_key());
    assert_ne!(first.serial(), second.serial());
}

#[test]
fn a_certificate_lies_inside_the_life_of_its_ca() {
    let authority = Authority::create(&mesh(), NOW).unwrap();
    let issue = |now, validity| {
        authority.issue_identity(node("agent/a"), Addresses::new(), Term { now, validity })
    };

    let at_once = issue(NOW, NODE_VALIDITY).unwrap();
    assert!(at_once.not_before() >= authority.not_before);
    assert!(matches!(
        issue(NOW, 3651 * DAY),
        Err(IssueError::OutlivesAuthority { .. })
    ));
    assert!(matches!(
        issue(NOW - DAY, NODE_VALIDITY),
        Err(IssueError::BeforeAuthority { .. })
    ));
    for validity in [Duration::ZERO, Duration::MAX] {
        assert!(matches!(issue(NOW, validity), Err(IssueError::Dates)));
    }
}

/// A request by `key` for everything that it must not get.
fn greedy_request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "x".repeat(300));
    params.subject_alt_names.extend([
        uri("spiffe://home/controller/root"),
        dns("root.controller.mesosync.internal"),
    ]);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Any];
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn only_the_public_key_is_taken_from_a_request() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority();
    let key = KeyPair::generate().unwrap();

    let issued = authority
        .sign_csr(&greedy_request(&key), &node("agent/a"), Term::starting(NOW))
        .unwrap();

    assert_eq!(issued.node(), &node("agent/a"));
    assert_eq!(
        issued.public_key(),
        rcgen::PublicKeyData::subject_public_key_info(&key)
    );
    write_pem(home.path(), "leaf.pem", issued.der());
    let text = openssl(home.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    for greed in ["evil", "root", "xxx", "CA:TRUE", "Certificate Sign", "Any"] {
        assert!(!text.contains(greed), "{greed} in {text}");
    }
    let names: Vec<&str> = text.lines().filter(|line| line.contains("URI:")).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(
        names[0].trim(),
        "URI:spiffe://home/agent/a, DNS:a.agent.mesosync.internal"
    );
}

#[test]
fn a_request_that_openssl_made_is_signed() {
    let home = tempfile::tempdir().unwrap();
    openssl(
        home.path(),
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "key.pem",
            "-subj",
            "/CN=whatever",
            "-outform",
            "DER",
            "-out",
            "csr.der",
        ],
    );
    let csr = fs_err::read(home.path().join("csr.der")).unwrap();

    let issued = authority().sign_csr(&csr, &node("agent/a"), Term::starting(NOW));

    assert_eq!(issued.unwrap().node(), &node("agent/a"));
}

#[test]
fn requests_that_prove_no_key_are_refused() {
    let csr = greedy_request(&KeyPair::generate().unwrap());
    let mut forged = csr.clone();
    // The last byte belongs to the signature.
    *forged.last_mut().unwrap() ^= 1;
    let trailing = [&csr[..], &[0]].concat();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();

    assert_eq!(PublicKey::from_csr(&forged), Err(ReadCsrError::Signature));
    assert_eq!(PublicKey::from_csr(&trailing), Err(ReadCsrError::Malformed));
    assert_eq!(
        PublicKey::from_csr(&csr[..csr.len() - 1]),
        Err(ReadCsrError::Malformed)
    );
    assert_eq!(
        PublicKey::from_csr(&greedy_request(&ed25519)),
        Err(ReadCsrError::KeyKind)
    );
    assert_eq!(
        PublicKey::from_csr(&[0x30; 9000]),
        Err(ReadCsrError::TooLong { bytes: 9000 })
    );
}

#[test]
fn a_ca_survives_the_way_through_its_files() {
    let home = tempfile::tempdir().unwrap();
    let made = authority();

    made.save(home.path()).unwrap();
    let read = Authority::load(home.path()).unwrap();

    assert_eq!(read.mesh(), made.mesh());
    assert_eq!(read.fingerprint(), made.fingerprint());
    assert!(identity(&read, "agent/a").fingerprint() == made.fingerprint());
    assert!(made.save(home.path()).is_err(), "overwrote a CA");
}

#[cfg(unix)]
#[test]
fn the_cas_key_is_private_and_refused_when_it_is_not() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = tempfile::tempdir().unwrap();
    authority().save(home.path()).unwrap();
    let path = home.path().join("ca.key");
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();

    let refused = Authority::load(home.path()).unwrap_err();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
}

#[test]
fn files_that_are_no_ca_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let made = authority();
    made.save(home.path()).unwrap();

    let path = home.path().join("ca.pem");
    fs_err::write(&path, authority().certificate_pem()).unwrap();
    assert!(matches!(
        Authority::load(home.path()),
        Err(LoadAuthorityError::OtherKey)
    ));
    fs_err::remove_file(&path).unwrap();
    write_pem(
        home.path(),
        "ca.pem",
        identity(&made, "agent/a").certificate().der(),
    );
    assert!(matches!(
        Authority::load(home.path()),
        Err(LoadAuthorityError::NotAnAuthority)
    ));
    write_pem(home.path(), "ca.pem", b"garbage");
    assert!(matches!(
        Authority::load(home.path()),
        Err(LoadAuthorityError::Certificate)
    ));
}

#[test]
fn debug_shows_no_key() {
    let made = authority();

    let shown = format!("{made:?}");

    assert!(shown.contains("[private key]"), "{shown}");
    assert!(!shown.contains(made.key.to_pem().lines().nth(1).unwrap()));
}
