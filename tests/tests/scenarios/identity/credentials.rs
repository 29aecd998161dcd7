//! What a peer shows: an identity that the real command line issued, or a certificate that no CA
//! of ours would sign, signed with the real CA's key.

use std::path::{Path, PathBuf};

use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use scenarios::Mesh;
use time::{Duration, OffsetDateTime};

/// A chain and the key of its first certificate.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl Credentials {
    /// Reads the identity file that `controller pki issue` wrote.
    pub(crate) fn of_identity(path: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(path).unwrap();
        Self {
            chain: chain.collect::<Result<_, _>>().unwrap(),
            key: PrivateKeyDer::from_pem_file(path).unwrap(),
        }
    }

    /// Issues an identity by the real command line, and reads it.
    pub(crate) fn issued(mesh: &Mesh, role: &str, name: &str) -> Self {
        let path = mesh.folder().join(format!("{role}-{name}.stolen"));
        let words = ["pki", "issue", role, name, "--out", path.to_str().unwrap()];
        let _ = mesh.run(words).expect_success();
        Self::of_identity(&path)
    }
}

/// A CA in the hands of an attacker.
pub(crate) struct Forger {
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
    authority_pem: String,
}

/// A forged certificate with its key.
pub(crate) struct Forged {
    pub(crate) credentials: Credentials,
    chain_pem: String,
    key_pem: String,
}

impl Forger {
    /// Takes the real CA of `mesh`, with its key.
    pub(crate) fn with_key_of(mesh: &Mesh) -> Self {
        let folder = mesh.home().join("pki");
        let authority_pem = fs_err::read_to_string(folder.join("ca.pem")).unwrap();
        let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).unwrap();
        let key = KeyPair::from_pem(&fs_err::read_to_string(folder.join("ca.key")).unwrap());
        Self {
            issuer: Issuer::from_ca_cert_der(&authority, key.unwrap()).unwrap(),
            authority,
            authority_pem,
        }
    }

    /// Makes a CA of its own that looks like that of every lab: the same subject, the same mesh.
    pub(crate) fn impostor() -> Self {
        Self::with_key_of(&Mesh::init("lab"))
    }

    /// Signs an honest certificate for `node`, such as `agent/srv-linux-01`, after `change`.
    pub(crate) fn sign(&self, node: &str, change: impl FnOnce(&mut CertificateParams)) -> Forged {
        let mut params = honest(node);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        self.with_chain(&leaf, &key)
    }

    /// Signs a certificate for `node` with itself, and appends the CA's.
    pub(crate) fn self_signed(&self, node: &str) -> Forged {
        let key = KeyPair::generate().unwrap();
        let leaf = honest(node).self_signed(&key).unwrap();
        self.with_chain(&leaf, &key)
    }

    fn with_chain(&self, leaf: &Certificate, key: &KeyPair) -> Forged {
        Forged {
            credentials: Credentials {
                chain: vec![leaf.der().clone(), self.authority.clone()],
                key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            },
            chain_pem: leaf.pem() + &self.authority_pem,
            key_pem: key.serialize_pem(),
        }
    }
}

impl Forged {
    /// Writes the identity file of `node` as the command line would, into the folder of `mesh`.
    pub(crate) fn save(&self, mesh: &Mesh, node: &str) -> PathBuf {
        let fingerprint = mesh.run(["pki", "fingerprint"]).expect_success();
        let text = format!(
            "mesh = \"lab\"\nfingerprint = \"{}\"\nnode = \"{node}\"\ncertificate = '''\n{}'''\nprivate-key = '''\n{}'''\n",
            fingerprint.stdout_text().trim(),
            self.chain_pem,
            self.key_pem
        );
        let path = mesh
            .folder()
            .join(format!("{}.forged", node.replace('/', "-")));
        write_private(&path, &text);
        path
    }
}

/// Writes `text` for the owner's eyes only, as identity files must be.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs_err::write(path, text).unwrap();
    set_mode(path, 0o600);
}

/// Sets the permission bits of a file.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    #[cfg(unix)]
    fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    #[cfg(not(unix))]
    let _ = (path, mode);
}

/// What the CA of the mesh `lab` puts into a node's certificate.
fn honest(node: &str) -> CertificateParams {
    let (role, name) = node.split_once('/').unwrap();
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + Duration::days(90);
    params.serial_number = Some(SerialNumber::from_slice(&[0x42; 16]));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, node);
    params.subject_alt_names = vec![
        uri(&format!("spiffe://lab/{node}")),
        dns(&format!("{name}.{role}.mesosync.internal")),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}
