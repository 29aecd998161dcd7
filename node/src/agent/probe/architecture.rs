//! Probe: what the processor speaks, by one name on every platform.

use std::path::PathBuf;

use proto::text::Text;

use super::{
    found::{Found, ProbeError},
    kernel,
};

/// Returns the machine's architecture, which may be wider than the agent's own.
pub(super) fn probe() -> Result<Found<Text<32>>, ProbeError> {
    match kernel::ask().machine {
        Some(machine) => Ok(Found::whole(Text::cut(common_name(&machine)))),
        None => Err(ProbeError::Unreadable {
            place: PathBuf::from("kernel"),
            wanted: "machine",
        }),
    }
}

/// Returns the name that Linux uses for what others call differently.
fn common_name(machine: &str) -> &str {
    match machine {
        "AMD64" | "amd64" => "x86_64",
        "ARM64" | "arm64" => "aarch64",
        "x86" | "i386" | "i586" => "i686",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_architecture_has_one_name() {
        assert_eq!(common_name("AMD64"), common_name("x86_64"));
        assert_eq!(common_name("arm64"), "aarch64");
        assert_eq!(common_name("riscv64"), "riscv64");
    }
}
