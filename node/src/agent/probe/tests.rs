//! The probing as a whole, on the host that runs the tests.

use std::{collections::BTreeSet, path::Path};

use proto::capability::Capability;

use super::*;

#[tokio::test]
async fn nothing_is_silently_missing() {
    let mut tasks = JoinSet::new();
    let prober = Prober::spawn(ProbeLimits::default(), &mut tasks);

    let document = prober.capabilities().await.unwrap();

    let json = serde_json::to_value(&*document).unwrap();
    for capability in Capability::ALL {
        assert!(
            json.get(capability.as_str()).is_some(),
            "no field {capability}"
        );
        let told = !json[capability.as_str()].is_null();
        let failed = document.failure(capability).is_some();
        let may_be_none = capability == Capability::Domain;
        assert!(told || failed || may_be_none, "{capability}: {document:#?}");
    }
}

#[tokio::test]
async fn a_place_that_hangs_costs_one_probe_and_is_named() {
    let blocking = Blocking::default();
    let (release, hang) = std::sync::mpsc::sync_channel::<()>(0);
    let hanging = blocking.look("workspaces", move || hang.recv());
    let given_up = tokio::time::timeout(Duration::from_millis(1), hanging).await;
    let scope = Arc::new(Scope::new(&ProbeLimits::default(), blocking));

    let document = gather::capabilities(scope).await;

    assert!(given_up.is_err());
    assert!(document.workspaces.is_none());
    assert!(document.failure(Capability::Workspaces).is_some());
    assert!(document.shells.is_some() && document.privilege.is_some());
    drop(release);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn this_host_is_told_as_it_is() {
    let scope = Arc::new(Scope::new(&ProbeLimits::default(), Blocking::default()));

    let document = gather::capabilities(scope).await;

    let hostname = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let os = document.os.unwrap();
    assert_eq!(document.hostname.unwrap().untrusted(), hostname.trim());
    assert_eq!(os.kernel.unwrap().untrusted(), kernel.trim());
    assert_eq!(
        document.privilege.unwrap().uid,
        Some(rustix::process::geteuid().as_raw())
    );
    let shells = document.shells.unwrap();
    let sh = shells.iter().find(|shell| shell.name.untrusted() == "sh");
    assert!(Path::new(sh.unwrap().path.untrusted()).is_absolute());
}

#[tokio::test]
async fn all_who_ask_meanwhile_share_one_probing() {
    let mut tasks = JoinSet::new();
    let prober = Prober::spawn(ProbeLimits::default(), &mut tasks);

    let (first, second, third) = tokio::join!(
        prober.capabilities(),
        prober.capabilities(),
        prober.capabilities(),
    );

    let first = first.unwrap();
    assert!(Arc::ptr_eq(&first, &second.unwrap()));
    assert!(Arc::ptr_eq(&first, &third.unwrap()));
}

#[tokio::test]
async fn an_old_answer_is_not_given_again() {
    let limits = ProbeLimits {
        fresh: Duration::ZERO,
        ..ProbeLimits::default()
    };
    let mut tasks = JoinSet::new();
    let prober = Prober::spawn(limits, &mut tasks);

    let first = prober.capabilities().await.unwrap();
    let second = prober.capabilities().await.unwrap();

    assert!(!Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_prober_ends_with_its_last_handle_and_says_when_it_was_stopped() {
    let mut tasks = JoinSet::new();
    drop(Prober::spawn(ProbeLimits::default(), &mut tasks));
    assert!(tasks.join_next().await.unwrap().is_ok());

    let prober = Prober::spawn(ProbeLimits::default(), &mut tasks);
    tasks.shutdown().await;

    assert_eq!(prober.capabilities().await, Err(AskProberError::Stopped));
}

#[cfg(unix)]
#[tokio::test]
async fn a_program_that_hangs_costs_only_its_version() {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "git", "exec sleep 600");
    program(folder.path(), "make", "echo 'GNU Make 4.3'");
    let limits = ProbeLimits {
        child: Duration::from_secs(1),
        probe: Duration::from_secs(20),
        ..ProbeLimits::default()
    };
    let mut scope = Scope::new(&limits, Blocking::default());
    scope.search_path = folder.path().as_os_str().to_owned();

    let found = tools::probe(Arc::new(scope)).await.unwrap();

    let told: Vec<(&str, Option<&str>)> = found
        .value
        .iter()
        .map(|tool| {
            let version = tool.version.as_ref().map(|version| version.untrusted());
            (tool.name.untrusted(), version)
        })
        .collect();
    assert_eq!(told, [("git", None), ("make", Some("GNU Make 4.3"))]);
    assert_eq!(found.gaps[0].part.as_deref(), Some("version of git"));
}

#[cfg(unix)]
fn program(folder: &Path, name: &str, body: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    let path = folder.join(name);
    fs_err::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn each_capability_has_one_probe() {
    let probes = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent/probe");

    let with_a_probe: BTreeSet<String> = fs_err::read_dir(probes)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let source = fs_err::read_to_string(path).unwrap();
            source.starts_with("//! Probe: ")
        })
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let named: BTreeSet<String> = Capability::ALL.iter().map(ToString::to_string).collect();

    assert_eq!(with_a_probe, named);
}
