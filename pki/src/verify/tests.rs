use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use super::*;
use crate::{
    ReadCertificateError,
    forge::{DAY, ForgedAuthority, NOW, dns, leaf_params, nothing_revoked, now, uri},
};

fn verify(
    authority: &ForgedAuthority,
    chain: &[CertificateDer<'_>],
    usage: Usage,
) -> Result<NodeId, VerifyError> {
    verify_peer(chain, &authority.trust(), usage, now(), &nothing_revoked())
}

/// What a peer learns when it presents a certificate like that of `agent/a`, but changed.
fn refusal(change: impl FnOnce(&mut rcgen::CertificateParams)) -> VerifyError {
    let authority = ForgedAuthority::honest();
    let chain = authority.chain("agent/a", change);
    verify(&authority, &chain, Usage::Client).unwrap_err()
}

fn names(uris: usize, dns: usize, others: usize) -> VerifyError {
    VerifyError::Certificate(ReadCertificateError::Names { uris, dns, others })
}

#[test]
fn an_agent_may_dial_and_be_dialled() {
    let authority = ForgedAuthority::honest();
    let chain = authority.chain("agent/a", |_| {});

    for usage in [Usage::Client, Usage::Server] {
        let peer = verify(&authority, &chain, usage);
        assert_eq!(peer.unwrap().to_string(), "agent/a");
    }
}

#[test]
fn a_controller_may_only_dial() {
    let authority = ForgedAuthority::honest();
    let chain = authority.chain("controller/c", |_| {});

    assert!(verify(&authority, &chain, Usage::Client).is_ok());
    assert_eq!(
        verify(&authority, &chain, Usage::Server),
        Err(VerifyError::WrongUsage(Usage::Server))
    );
}

#[test]
fn the_anchor_may_stand_anywhere_behind_the_leaf() {
    let authority = ForgedAuthority::honest();
    let other = ForgedAuthority::honest().der;
    let mut chain = authority.chain("agent/a", |_| {});
    chain.insert(1, other);

    assert!(verify(&authority, &chain, Usage::Client).is_ok());
}

#[test]
fn two_role_uris_are_refused() {
    let refused = refusal(|params| {
        params
            .subject_alt_names
            .push(uri("spiffe://home/controller/a"));
    });

    assert_eq!(refused, names(2, 1, 0));
}

#[test]
fn a_certificate_without_a_role_uri_is_refused() {
    let without_uri = refusal(|params| {
        params.subject_alt_names.remove(0);
    });
    let without_names = refusal(|params| params.subject_alt_names.clear());

    assert_eq!(without_uri, names(0, 1, 0));
    assert_eq!(without_names, names(0, 0, 0));
}

#[test]
fn a_second_dns_name_or_an_ip_address_is_refused() {
    let second = refusal(|params| {
        let name = dns("b.agent.mesosync.internal");
        params.subject_alt_names.push(name);
    });
    let address = refusal(|params| {
        let address = rcgen::SanType::IpAddress([192, 0, 2, 7].into());
        params.subject_alt_names.push(address);
    });

    assert_eq!(second, names(1, 2, 0));
    assert_eq!(address, names(1, 1, 1));
}

#[test]
fn names_that_disagree_are_refused() {
    for other in [
        "b.agent.mesosync.internal",
        "a.controller.mesosync.internal",
        "*.agent.mesosync.internal",
    ] {
        let refused = refusal(|params| params.subject_alt_names[1] = dns(other));

        let VerifyError::Certificate(ReadCertificateError::Dns { shown, .. }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(shown, other);
    }
}

#[test]
fn hostile_names_are_refused_though_the_ca_signed_them() {
    for name in [
        "agent/../x",
        "agent/a,b",
        "agent/a.b",
        "agent/A",
        "agent/a\0",
        "agent/",
        "agent",
        "agent/a/b",
        "root/a",
        "agent/-a",
        "agent/a b",
        "agent/a%00",
        "agent/a\u{1b}[2J",
        "agent/a?x",
        "agent/a#x",
    ] {
        let refused =
            refusal(|params| params.subject_alt_names[0] = uri(&format!("spiffe://home/{name}")));

        let VerifyError::Certificate(ReadCertificateError::Uri { shown }) = &refused else {
            panic!("{name:?}: {refused}");
        };
        assert!(
            shown
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        );
    }
}

#[test]
fn a_right_to_left_mark_in_a_name_is_refused() {
    // rcgen takes no such name, so the extension is written byte by byte.
    let refused = refusal(|params| {
        let names = [
            &[0x30, 0x38, 0x86, 0x1b][..],
            "spiffe://home/agent/a\u{202e}bcd".as_bytes(),
            &[0x82, 0x19],
            b"a.agent.mesosync.internal",
        ];
        params.subject_alt_names.clear();
        params
            .custom_extensions
            .push(rcgen::CustomExtension::from_oid_content(
                &[2, 5, 29, 17],
                names.concat(),
            ));
    });

    assert!(
        matches!(
            refused,
            VerifyError::Certificate(
                ReadCertificateError::Uri { .. } | ReadCertificateError::Malformed
            )
        ),
        "{refused}"
    );
}

#[test]
fn a_certificate_of_another_mesh_is_refused_though_the_ca_signed_it() {
    let refused = refusal(|params| params.subject_alt_names[0] = uri("spiffe://office/agent/a"));

    assert_eq!(
        refused,
        VerifyError::WrongMesh {
            expected: "home".parse().unwrap(),
            presented: "office".parse().unwrap(),
        }
    );
}

#[test]
fn a_certificate_without_the_usage_is_refused() {
    let with = |usages: Vec<ExtendedKeyUsagePurpose>| {
        refusal(|params| params.extended_key_usages = usages)
    };

    let expected = VerifyError::WrongUsage(Usage::Client);
    assert_eq!(with(vec![ExtendedKeyUsagePurpose::ServerAuth]), expected);
    assert_eq!(with(vec![ExtendedKeyUsagePurpose::CodeSigning]), expected);
    assert_eq!(with(vec![ExtendedKeyUsagePurpose::Any]), expected);
    assert_eq!(with(vec![]), expected);
}

#[test]
fn a_certificate_with_a_ca_flag_is_refused_as_a_nodes() {
    let refused = refusal(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));

    assert_eq!(refused, VerifyError::AuthorityAsNode);
}

#[test]
fn the_ca_itself_is_no_node() {
    let authority = ForgedAuthority::honest();
    let chain = [authority.der.clone(), authority.der.clone()];

    let refused = verify(&authority, &chain, Usage::Client);

    assert_eq!(refused, Err(VerifyError::AuthorityAsNode));
}

#[test]
fn another_ca_of_the_same_name_is_refused() {
    let ours = ForgedAuthority::honest();
    let theirs = ForgedAuthority::honest();

    let with_their_ca = theirs.chain("agent/a", |_| {});
    let with_our_ca = [theirs.leaf("agent/a", |_| {}), ours.der.clone()];
    let with_both = [
        theirs.leaf("agent/a", |_| {}),
        theirs.der.clone(),
        ours.der.clone(),
    ];

    for chain in [&with_their_ca[..], &with_our_ca, &with_both] {
        let refused = verify(&ours, chain, Usage::Client);
        assert_eq!(refused, Err(VerifyError::ForeignAuthority));
    }
}

#[test]
fn a_self_signed_certificate_with_the_right_name_is_refused() {
    let authority = ForgedAuthority::honest();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf_params("controller/c").self_signed(&key).unwrap();

    for chain in [
        vec![leaf.der().clone()],
        vec![leaf.der().clone(), authority.der.clone()],
    ] {
        let refused = verify(&authority, &chain, Usage::Client);
        assert_eq!(refused, Err(VerifyError::ForeignAuthority));
    }
}

#[test]
fn a_certificate_that_a_node_signed_is_refused() {
    let authority = ForgedAuthority::honest();
    let node_key = KeyPair::generate().unwrap();
    let node_params = leaf_params("agent/a");
    let node = authority.leaf("agent/a", |_| {});
    let issuer = rcgen::Issuer::from_params(&node_params, &node_key);
    let leaf = leaf_params("controller/c")
        .signed_by(&KeyPair::generate().unwrap(), &issuer)
        .unwrap();

    let chain = [leaf.der().clone(), node, authority.der.clone()];

    let refused = verify(&authority, &chain, Usage::Client);
    assert_eq!(refused, Err(VerifyError::ForeignAuthority));
}

#[test]
fn an_intermediate_ca_is_not_believed() {
    let authority = ForgedAuthority::honest();
    let between = ForgedAuthority::honest();
    let cross_signed = authority.leaf("agent/a", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });

    let chain = [
        between.leaf("controller/c", |_| {}),
        cross_signed,
        authority.der.clone(),
    ];

    let refused = verify(&authority, &chain, Usage::Client);
    assert_eq!(refused, Err(VerifyError::ForeignAuthority));
}

#[test]
fn an_expired_certificate_is_refused_with_both_dates() {
    let refused = refusal(|params| params.not_after = NOW - DAY / 2);

    let not_after = NOW - DAY / 2;
    assert_eq!(
        refused,
        VerifyError::Expired {
            not_after,
            now: NOW
        }
    );
    let said = refused.to_string();
    assert!(said.contains("2030-03-03T17:06:07Z") && said.contains("2030-03-04T05:06:07Z"));
}

#[test]
fn a_certificate_from_the_future_is_refused_with_both_dates() {
    let refused = refusal(|params| params.not_before = NOW + DAY);

    let not_before = NOW + DAY;
    assert_eq!(
        refused,
        VerifyError::NotValidYet {
            not_before,
            now: NOW
        }
    );
    let said = refused.to_string();
    assert!(said.contains("2030-03-05T05:06:07Z") && said.contains("2030-03-04T05:06:07Z"));
}

#[test]
fn an_expired_anchor_is_refused() {
    let not_after = NOW - DAY / 2;
    let authority = ForgedAuthority::with(|params| params.not_after = not_after);
    let chain = authority.chain("agent/a", |_| {});

    let refused = verify(&authority, &chain, Usage::Client);

    let expected = VerifyError::AuthorityExpired {
        not_after,
        now: NOW,
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn an_anchor_from_the_future_is_refused() {
    let not_before = NOW + DAY;
    let authority = ForgedAuthority::with(|params| params.not_before = not_before);
    let chain = authority.chain("agent/a", |_| {});

    let refused = verify(&authority, &chain, Usage::Client);

    let expected = VerifyError::AuthorityNotValidYet {
        not_before,
        now: NOW,
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn a_pinned_certificate_without_the_ca_flag_is_refused() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let authority = ForgedAuthority::with(|params| params.is_ca = is_ca);
        let chain = authority.chain("agent/a", |_| {});

        let refused = verify(&authority, &chain, Usage::Client);

        assert_eq!(refused, Err(VerifyError::NotAnAuthority));
    }
}

#[test]
fn a_pinned_certificate_that_may_not_sign_is_refused() {
    let authority =
        ForgedAuthority::with(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let chain = authority.chain("agent/a", |_| {});

    let refused = verify(&authority, &chain, Usage::Client);

    assert_eq!(refused, Err(VerifyError::NotAnAuthority));
}

#[test]
fn long_chains_and_long_certificates_are_refused_unread() {
    let authority = ForgedAuthority::honest();
    let garbage = CertificateDer::from(vec![0; MAX_CERTIFICATE_LEN + 1]);
    let many = vec![authority.der.clone(); MAX_CHAIN_LEN + 1];

    assert_eq!(
        verify(&authority, &many, Usage::Client),
        Err(VerifyError::ChainTooLong { certificates: 5 })
    );
    assert_eq!(
        verify(&authority, &[authority.der.clone(), garbage], Usage::Client),
        Err(VerifyError::CertificateTooLong { bytes: 8193 })
    );
    assert_eq!(
        verify(&authority, &[], Usage::Client),
        Err(VerifyError::NoCertificate)
    );
}

/// One error for each way in which a reason reaches rustls.
pub(crate) fn reasons() -> Vec<VerifyError> {
    let (not_after, not_before, next_update) = (NOW - DAY, NOW + DAY, NOW - DAY);
    let presented: NodeId = "agent/b".parse().unwrap();
    vec![
        VerifyError::NoCertificate,
        VerifyError::ForeignAuthority,
        VerifyError::AuthorityExpired {
            not_after,
            now: NOW,
        },
        VerifyError::Expired {
            not_after,
            now: NOW,
        },
        VerifyError::NotValidYet {
            not_before,
            now: NOW,
        },
        VerifyError::Revoked,
        VerifyError::OtherKey,
        VerifyError::StaleCrl {
            next_update,
            now: NOW,
        },
        VerifyError::WrongUsage(Usage::Client),
        VerifyError::WrongUsage(Usage::Server),
        VerifyError::Malformed(webpki::Error::BadDer),
        VerifyError::WrongRole {
            accepted: vec![proto::id::Role::Controller],
            presented: presented.clone(),
        },
        VerifyError::WrongName {
            expected: "agent/a".parse().unwrap(),
            presented,
        },
    ]
}

#[test]
fn every_reason_survives_the_way_through_rustls() {
    for reason in reasons() {
        let tls = rustls::Error::from(reason.clone());
        assert_eq!(VerifyError::from_tls(&tls), Some(reason));
    }
}

mod hostile_bytes {
    use proptest::prelude::*;

    use super::*;
    use crate::{Crl, Identity, PublicKey, Serial, peer_id};

    /// Real encodings to be garbled, since random bytes seldom get past the first tag.
    fn real() -> impl Strategy<Value = Vec<u8>> {
        let authority = crate::forge::authority();
        let leaf = crate::forge::identity(&authority, "agent/a");
        let crl = authority
            .sign_crl(&crate::NextCrl {
                number: 1,
                this_update: NOW,
                next_update: NOW + DAY,
                revoked: [(crate::forge::serial(), NOW)].into(),
            })
            .unwrap();
        let csr = rcgen::CertificateParams::default()
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap();
        let samples = vec![
            leaf.certificate().der().to_vec(),
            authority.certificate().to_vec(),
            crl.der().to_vec(),
            csr.der().to_vec(),
        ];
        let garbled = (
            proptest::sample::select(samples),
            proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            any::<prop::sample::Index>(),
        );
        garbled.prop_map(|(mut bytes, edits, cut)| {
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let keep = bytes.len() - cut.index(bytes.len()) % 8;
            bytes.truncate(keep);
            bytes
        })
    }

    proptest! {
        #[test]
        fn no_reader_panics(bytes in prop_oneof![real(), proptest::collection::vec(any::<u8>(), 0..300)]) {
            let authority = ForgedAuthority::honest();
            let der = CertificateDer::from(bytes.clone());
            let _ = NodeCertificate::read(&bytes);
            let _ = peer_id(std::slice::from_ref(&der));
            let _ = PublicKey::from_csr(&bytes);
            let _ = Crl::read(&bytes, &authority.der);
            let _ = Crl::read(&bytes, &der);
            let _ = Serial::from_der_integer(&bytes);
            let _ = verify(&authority, &[der.clone(), authority.der.clone()], Usage::Client);
            let pinned = Trust {
                mesh: "home".parse().unwrap(),
                fingerprint: Fingerprint::of_certificate(&der),
            };
            let chain = [authority.leaf("agent/a", |_| {}), der];
            let refused = verify_peer(&chain, &pinned, Usage::Client, now(), &nothing_revoked());
            prop_assert!(refused.is_err());
        }

        #[test]
        fn no_text_reader_panics(text in "\\PC{0,200}|(mesh|node|private-key|[a-z=\"'\\[\\]\n. -]){0,60}") {
            let authority = ForgedAuthority::honest();
            prop_assert!(Identity::parse(&text).is_err());
            prop_assert!(Crl::from_pem(&text, &authority.der).is_err());
        }
    }
}
