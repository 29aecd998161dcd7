use super::*;
use crate::{
    NextCrl,
    forge::{DAY, NOW, mesh, node, serial},
};

fn new_mesh() -> NewMesh {
    NewMesh {
        name: mesh(),
        controller: "alice".parse().unwrap(),
        now: NOW,
    }
}

#[test]
fn a_new_store_holds_a_ca_and_this_controllers_identity() {
    let home = tempfile::tempdir().unwrap();

    let store = Store::create(home.path(), new_mesh()).unwrap();

    let own = Identity::load(&Store::controller_identity(home.path()), NOW).unwrap();
    assert_eq!(own.node(), &node("controller/alice"));
    assert_eq!(own.fingerprint(), store.authority().fingerprint());
    let opened = Store::open(home.path()).unwrap();
    assert_eq!(opened.authority().fingerprint(), own.fingerprint());
    let listed = opened.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(&listed[0].serial, own.serial());
    // Nothing is left of the draft.
    assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 2);
}

#[test]
fn a_store_is_not_made_over_another() {
    let home = tempfile::tempdir().unwrap();
    let first = Store::create(home.path(), new_mesh()).unwrap();

    let refused = Store::create(home.path(), new_mesh());

    assert!(matches!(refused, Err(CreateStoreError::Exists { .. })));
    let kept = Store::open(home.path()).unwrap();
    assert_eq!(
        kept.authority().fingerprint(),
        first.authority().fingerprint()
    );
}

#[test]
fn a_store_is_not_made_over_an_identity_of_another_mesh() {
    let home = tempfile::tempdir().unwrap();
    fs_err::write(Store::controller_identity(home.path()), "mine").unwrap();

    let refused = Store::create(home.path(), new_mesh());

    assert!(matches!(refused, Err(CreateStoreError::Exists { .. })));
    assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_home_without_a_ca_says_how_to_make_one() {
    let home = tempfile::tempdir().unwrap();

    let refused = Store::open(home.path()).unwrap_err();

    assert!(refused.to_string().contains("controller pki init"));
}

#[cfg(unix)]
#[test]
fn the_stores_directories_are_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let outer = tempfile::tempdir().unwrap();
    let home = outer.path().join("made/by/us");

    Store::create(&home, new_mesh()).unwrap();

    for path in ["", "pki", "pki/issued"] {
        let mode = fs_err::metadata(home.join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
    for path in ["pki/ca.key", "controller.identity"] {
        let mode = fs_err::metadata(home.join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[test]
fn a_renewal_is_listed_beside_what_it_renews() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), new_mesh()).unwrap();
    let issue = |now| {
        let term = Term::starting(now);
        store
            .issue_identity(node("agent/a"), Addresses::new(), term)
            .unwrap()
    };

    let (first, second) = (issue(NOW), issue(NOW + DAY));

    let listed = store.list().unwrap();
    let serials: Vec<&Serial> = listed.iter().map(|issued| &issued.serial).collect();
    assert_eq!(serials[..2], [first.serial(), second.serial()]);
    assert_eq!(listed[1].not_before, second.not_before());
    assert_eq!(listed[1].not_after, second.not_after());
    assert_eq!(listed[2].node, node("controller/alice"));
}

#[test]
fn nothing_is_issued_that_cannot_be_recorded() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), new_mesh()).unwrap();
    fs_err::remove_dir_all(home.path().join("pki/issued")).unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&rcgen::KeyPair::generate().unwrap())
        .unwrap();

    let term = Term::starting(NOW);
    let issued = store.issue_identity(node("agent/a"), Addresses::new(), term);
    let signed = store.sign_csr(csr.der(), &node("agent/a"), term);

    assert!(matches!(issued, Err(StoreIssueError::Record(_))));
    assert!(matches!(signed, Err(StoreIssueError::Record(_))));
}

#[test]
fn a_signed_request_is_on_record() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), new_mesh()).unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&rcgen::KeyPair::generate().unwrap())
        .unwrap();

    let signed = store
        .sign_csr(csr.der(), &node("agent/a"), Term::starting(NOW))
        .unwrap();

    assert_eq!(&store.list().unwrap()[0].serial, signed.serial());
}

#[test]
fn a_damaged_record_is_an_error_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), new_mesh()).unwrap();
    let path = home.path().join("pki/issued/00.pem");
    fs_err::write(&path, "garbage").unwrap();
    let unfinished = home.path().join("pki/issued/.mesosync-x1");
    fs_err::write(unfinished, "half").unwrap();

    let refused = store.list().unwrap_err();

    assert!(refused.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn revoked_certificates_are_listed_as_such_and_stay_revoked() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::create(home.path(), new_mesh()).unwrap();
    let agent = store
        .issue_identity(node("agent/a"), Addresses::new(), Term::starting(NOW))
        .unwrap();
    let sign = |number, serial: &Serial| {
        let next = NextCrl {
            number,
            this_update: NOW,
            next_update: NOW + DAY,
            revoked: [(serial.clone(), NOW + DAY)].into(),
        };
        store.authority().sign_crl(&next).unwrap()
    };
    assert_eq!(store.crl().unwrap(), None);

    store.publish_crl(&sign(2, agent.serial())).unwrap();
    assert!(store.publish_crl(&sign(1, &serial())).is_err());

    let listed = store.list().unwrap();
    assert_eq!(listed[0].revoked, Some(NOW + DAY));
    assert_eq!(listed[1].revoked, None);
}
