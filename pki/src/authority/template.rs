//! What stands in the certificates of a mesh, field by field, before they are signed.
//!
//! Every field that rcgen would fill by itself is set: its dates run from 1975 to 4096, and its
//! serial number is a hash of the key.

use proto::id::{MeshName, NodeId, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

use crate::{Serial, names};

/// The longest common name (ub-common-name, RFC 5280 appendix A.1).
const MAX_COMMON_NAME_LEN: usize = 64;

/// The certificate of a CA, which may sign nodes but no other CA.
pub(crate) fn authority(
    mesh: &MeshName,
    serial: &Serial,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = common_name(format!("Mesosync CA {mesh}"), mesh.as_str());
    params.subject_alt_names = vec![SanType::URI(names::mesh_uri(mesh).try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The certificate of a node.
pub(crate) fn node(
    mesh: &MeshName,
    node: &NodeId,
    serial: &Serial,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = common_name(node.to_string(), node.name.as_str());
    params.subject_alt_names = vec![
        SanType::URI(names::node_uri(mesh, node).try_into()?),
        SanType::DnsName(names::node_dns(node).try_into()?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(node.role);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Returns what nodes of `role` do in a connection, and no more than that.
fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

    match role {
        // Dials the rendezvous, and is dialled by controllers.
        Role::Agent => vec![ClientAuth, ServerAuth],
        // Only ever dials.
        Role::Controller => vec![ClientAuth],
        // Is dialled by both, and dials other rendezvous.
        Role::Rendezvous => vec![ClientAuth, ServerAuth],
    }
}

/// A subject for people; nothing is decided by it. Falls back to `short` if `full` does not fit.
fn common_name(full: String, short: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let fits = full.len() <= MAX_COMMON_NAME_LEN;
    let text = if fits { full } else { short.to_owned() };
    name.push(DnType::CommonName, text);
    name
}
