//! The text of an identity file: TOML, with PEM blocks that `openssl` reads from it as it is.

use std::fmt::Write as _;

use pem::Pem;
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::{Identity, ParseIdentityError, Parts};
use crate::{Addresses, key::PrivateKey, secret_file::encode_pem};

/// The PEM label of a certificate (RFC 7468 §5).
const CERTIFICATE: &str = "CERTIFICATE";

const KEYS: [&str; 6] = [
    "mesh",
    "fingerprint",
    "node",
    "certificate",
    "private-key",
    "addresses",
];

pub(super) fn write(identity: &Identity) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
    let (mesh, node) = (identity.mesh(), identity.node());
    let [leaf, authority] = identity.chain();
    let certificate = |der: &[u8]| encode_pem(&Pem::new(CERTIFICATE, der));
    text.push_str("# An identity of a Mesosync mesh. Holds a private key: keep it secret.\n");
    let _ = write!(
        text,
        "mesh = \"{mesh}\"\nfingerprint = \"{}\"\nnode = \"{node}\"\n",
        identity.fingerprint()
    );
    let _ = write!(
        text,
        "certificate = '''\n{}{}'''\n",
        certificate(leaf),
        certificate(authority)
    );
    let _ = write!(
        text,
        "private-key = '''\n{}'''\n",
        identity.key().to_pem().as_str()
    );
    write_addresses(&mut text, identity.addresses());
    text
}

fn write_addresses(text: &mut String, addresses: &Addresses) {
    if addresses.is_empty() {
        return;
    }
    text.push_str("\n[addresses]\n");
    for (node, known) in addresses {
        // Neither a node nor an address can contain a character that TOML would have escaped.
        let quoted: Vec<String> = known
            .iter()
            .map(|address| format!("\"{address}\""))
            .collect();
        let _ = writeln!(text, "\"{node}\" = [{}]", quoted.join(", "));
    }
}

pub(super) fn read(text: &str) -> Result<Parts, ParseIdentityError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        // The error itself would show the line.
        let before = error
            .span()
            .map_or("", |at| text.get(..at.start).unwrap_or(""));
        ParseIdentityError::Syntax {
            line: before.matches('\n').count() + 1,
        }
    })?;
    let key = take_text(&mut table, "private-key").map(Zeroizing::new);
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(ParseIdentityError::UnknownKey {
            shown: shown_key(key),
        });
    }
    let (certificate, authority) = take_certificates(&mut table)?;
    Ok(Parts {
        mesh: take(&mut table, "mesh", "the name of a mesh")?,
        fingerprint: take(&mut table, "fingerprint", "64 hexadecimal digits")?,
        node: take(&mut table, "node", "role/name")?,
        certificate,
        authority,
        key: PrivateKey::from_pem(&key?).map_err(ParseIdentityError::Key)?,
        addresses: take_addresses(&mut table)?,
    })
}

/// Shows an unknown key if it is a word: a line of a key that lost its quotes is not.
fn shown_key(key: &str) -> String {
    let is_word = key.len() <= 20 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if is_word {
        format!("\"{key}\"")
    } else {
        "(not shown)".to_owned()
    }
}

fn take_text(table: &mut Table, key: &'static str) -> Result<String, ParseIdentityError> {
    match table.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) | None => Err(ParseIdentityError::Value {
            key,
            expected: "a text",
        }),
    }
}

fn take<T: std::str::FromStr>(
    table: &mut Table,
    key: &'static str,
    expected: &'static str,
) -> Result<T, ParseIdentityError> {
    take_text(table, key)?
        .parse()
        .map_err(|_| ParseIdentityError::Value { key, expected })
}

fn take_certificates(table: &mut Table) -> Result<(Vec<u8>, Vec<u8>), ParseIdentityError> {
    let text = take_text(table, "certificate")?;
    let blocks = pem::parse_many(&text).unwrap_or_default();
    let found = blocks.len();
    let ders: Vec<Vec<u8>> = blocks
        .into_iter()
        .filter(|block| block.tag() == CERTIFICATE)
        .map(Pem::into_contents)
        .collect();
    match <[Vec<u8>; 2]>::try_from(ders) {
        Ok([leaf, authority]) if found == 2 => Ok((leaf, authority)),
        Ok(_) | Err(_) => Err(ParseIdentityError::Certificates { found }),
    }
}

fn take_addresses(table: &mut Table) -> Result<Addresses, ParseIdentityError> {
    let entries = match table.remove("addresses") {
        Some(Value::Table(entries)) => entries,
        None => return Ok(Addresses::new()),
        Some(_) => {
            return Err(ParseIdentityError::Value {
                key: "addresses",
                expected: "a table",
            });
        }
    };
    let mut addresses = Addresses::new();
    for (index, (node, known)) in entries.into_iter().enumerate() {
        let entry = index + 1;
        let wrong = ParseIdentityError::Addresses {
            entry,
            source: None,
        };
        let node = node.parse().map_err(|_| wrong.clone())?;
        let known = known.as_array().ok_or_else(|| wrong.clone())?;
        let known = known.iter().map(|value| {
            let text = value.as_str().ok_or_else(|| wrong.clone())?;
            text.parse()
                .map_err(|source| ParseIdentityError::Addresses {
                    entry,
                    source: Some(source),
                })
        });
        addresses.insert(node, known.collect::<Result<_, _>>()?);
    }
    Ok(addresses)
}
