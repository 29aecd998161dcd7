use super::*;
use crate::forge::{DAY, NOW, authority, identity, node, openssl};

fn text_of(identity: &Identity) -> String {
    file::write(identity).to_string()
}

fn parse_error(text: &str) -> ParseIdentityError {
    Identity::parse(text).unwrap_err()
}

#[test]
fn an_identity_survives_the_way_through_its_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.identity");
    let mut addresses = Addresses::new();
    addresses.insert(
        node("agent/a"),
        vec![
            "192.0.2.7:4433".parse().unwrap(),
            "[2001:db8::7]:1".parse().unwrap(),
        ],
    );
    let made = authority()
        .issue_identity(node("controller/c"), addresses, crate::Term::starting(NOW))
        .unwrap();

    made.save(&path, Existing::Refuse).unwrap();
    let read = Identity::load(&path, NOW).unwrap();

    assert_eq!(read.trust, made.trust);
    assert_eq!(read.certificate, made.certificate);
    assert_eq!(read.chain, made.chain);
    assert_eq!(read.addresses, made.addresses);
    assert_eq!(read.key.to_pem(), made.key.to_pem());
}

#[test]
fn openssl_reads_certificate_and_key_from_the_file_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let made = identity(&authority(), "agent/a");
    made.save(&home.path().join("a.identity"), Existing::Refuse)
        .unwrap();

    let certificate = openssl(
        home.path(),
        &["x509", "-in", "a.identity", "-noout", "-pubkey"],
    );
    let key = openssl(home.path(), &["pkey", "-in", "a.identity", "-pubout"]);

    assert_eq!(certificate, key);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.identity");
    identity(&authority(), "agent/a")
        .save(&path, Existing::Refuse)
        .unwrap();
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Identity::load(&path, NOW).unwrap_err();

    assert!(matches!(
        refused,
        LoadIdentityError::File(crate::ReadSecretError::TooOpen { mode: 0o644, .. })
    ));
    assert!(refused.to_string().contains("chmod 600"));
}

#[test]
fn an_expired_identity_is_refused_with_its_end_but_can_be_shown() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.identity");
    identity(&authority(), "agent/a")
        .save(&path, Existing::Refuse)
        .unwrap();

    let refused = Identity::load(&path, NOW + 91 * DAY).unwrap_err();
    let early = Identity::load(&path, NOW - DAY / 2).unwrap_err();
    let opened = Identity::open(&path).unwrap();

    assert!(matches!(refused, LoadIdentityError::Expired { .. }));
    assert!(
        refused.to_string().contains("2030-06-02T05:06:07Z"),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("controller pki issue agent a"),
        "{refused}"
    );
    assert!(matches!(early, LoadIdentityError::NotValidYet { .. }));
    assert_eq!(opened.not_after(), NOW + 90 * DAY);
}

#[test]
fn an_identity_is_due_two_weeks_before_its_end_and_not_earlier() {
    let identity = identity(&authority(), "agent/a");

    assert_eq!(identity.days_left_when_due(NOW), None);
    assert_eq!(identity.days_left_when_due(NOW + 75 * DAY), None);
    assert_eq!(identity.days_left_when_due(NOW + 77 * DAY), Some(13));
}

#[test]
fn a_file_is_not_overwritten_unless_asked() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.identity");
    let authority = authority();
    let first = identity(&authority, "agent/a");
    let second = identity(&authority, "agent/b");
    first.save(&path, Existing::Refuse).unwrap();

    assert!(second.save(&path, Existing::Refuse).is_err());
    assert_eq!(Identity::open(&path).unwrap().node(), &node("agent/a"));

    second.save(&path, Existing::Replace).unwrap();
    assert_eq!(Identity::open(&path).unwrap().node(), &node("agent/b"));
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let ours = authority();
    let (a, b) = (identity(&ours, "agent/a"), identity(&ours, "agent/b"));
    let theirs = identity(&authority(), "agent/a");
    let text = text_of(&a);

    let other_node = text.replace("node = \"agent/a\"", "node = \"controller/a\"");
    assert!(matches!(
        parse_error(&other_node),
        ParseIdentityError::OtherNode { .. }
    ));
    let other_mesh = text.replace("mesh = \"home\"", "mesh = \"office\"");
    assert!(matches!(
        parse_error(&other_mesh),
        ParseIdentityError::Unverified(VerifyError::WrongMesh { .. })
    ));
    let other_pin = text.replace(
        &a.fingerprint().to_string(),
        &theirs.fingerprint().to_string(),
    );
    assert!(matches!(
        parse_error(&other_pin),
        ParseIdentityError::OtherAuthority { .. }
    ));
    let other_key = text.replace(a.key.to_pem().as_str(), &b.key.to_pem());
    assert_eq!(parse_error(&other_key), ParseIdentityError::OtherKey);
    let der = |identity: &Identity| {
        secret_file::encode_pem(&pem::Pem::new("CERTIFICATE", identity.chain[0].to_vec()))
    };
    let other_leaf = text.replace(&der(&a), &der(&theirs));
    assert_eq!(
        parse_error(&other_leaf),
        ParseIdentityError::Unverified(VerifyError::ForeignAuthority)
    );
    let leaf_alone = text.replace(
        &secret_file::encode_pem(&pem::Pem::new("CERTIFICATE", a.chain[1].to_vec())),
        "",
    );
    assert_eq!(
        parse_error(&leaf_alone),
        ParseIdentityError::Certificates { found: 1 }
    );
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let text = format!("color = 1\n{}", text_of(&identity(&authority(), "agent/a")));

    let refused = parse_error(&text).to_string();

    assert!(refused.contains("\"color\""), "{refused}");
}

#[test]
fn each_missing_key_is_named() {
    let text = text_of(&identity(&authority(), "agent/a"));
    let table: toml::Table = text.parse().unwrap();
    for key in ["mesh", "fingerprint", "node", "certificate", "private-key"] {
        let mut without = table.clone();
        without.remove(key);

        let refused = parse_error(&without.to_string()).to_string();

        assert!(refused.starts_with(key), "{key}: {refused}");
    }
}

#[test]
fn addresses_of_another_form_are_refused() {
    let text = text_of(&identity(&authority(), "agent/a"));
    for addresses in [
        "addresses = 1",
        "[addresses]\n\"agent\" = []",
        "[addresses]\n\"agent/b\" = \"192.0.2.7:1\"",
        "[addresses]\n\"agent/b\" = [\"192.0.2.7\"]",
        "[addresses]\n\"agent/b\" = [7]",
    ] {
        let refused = parse_error(&format!("{text}{addresses}\n")).to_string();

        assert!(refused.contains("addresses"), "{addresses}: {refused}");
    }
}

#[test]
fn no_message_shows_any_of_the_private_key() {
    let made = identity(&authority(), "agent/a");
    let text = text_of(&made);
    let pem = made.key.to_pem();
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();

    let garbled = [
        text.replace("private-key = '''", "private-key = "),
        text.replace("private-key = '''", "private-key = '"),
        text.replace("private-key = '''", "key = '''"),
        text.replace("mesh = \"home\"", &format!("mesh = \"{}\"", lines[0])),
        text.replace("node = \"agent/a\"", &format!("node = \"{}\"", lines[1])),
        text.replace(
            "node =",
            &format!("{} = 1\nnode =", lines[0].replace(['+', '/'], "-")),
        ),
        text.replace("-----BEGIN PRIVATE KEY-----", "-----BEGIN KEY-----"),
        text.replace(lines[0], &lines[0].to_lowercase()),
    ];
    for text in garbled {
        let refused = parse_error(&text);
        let said = format!("{refused} {refused:?}");
        for line in &lines {
            let starts = &line[..line.len().min(8)];
            assert!(!said.contains(starts), "{said}");
            assert!(!said.contains(&starts.replace(['+', '/'], "-")), "{said}");
        }
    }
}

#[test]
fn debug_shows_no_key() {
    let made = identity(&authority(), "agent/a");
    let key = format!("{:?}", made.key);

    let shown = format!("{made:?}");

    assert!(shown.contains("agent/a") && shown.contains(&key), "{shown}");
    let secret = rcgen::KeyPair::from_pem(&made.key.to_pem()).unwrap();
    let listed = format!("{:?}", secret.serialized_der());
    // Sixteen bytes of the private number, as a list of numbers or as text.
    assert!(!shown.contains(&listed[1..40]));
    assert!(!shown.contains(made.key.to_pem().lines().nth(1).unwrap()));
}
