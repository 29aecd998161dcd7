//! Probe: what the host calls itself.

use std::path::PathBuf;

use proto::text::Text;

use super::{
    found::{Found, ProbeError},
    kernel,
};

/// Returns the kernel's host name.
pub(super) fn probe() -> Result<Found<Text<256>>, ProbeError> {
    match kernel::ask().hostname {
        Some(name) => Ok(Found::whole(Text::cut(&name))),
        None => Err(ProbeError::Unreadable {
            place: PathBuf::from("kernel"),
            wanted: "host name",
        }),
    }
}
