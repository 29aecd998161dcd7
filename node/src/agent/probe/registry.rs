//! The registry of Windows, read by `reg query`.

use proto::text::Text;

use super::{
    found::ProbeError,
    scope::{Scope, system32},
};

/// Returns the value `name` of `key`.
pub(super) async fn value(scope: &Scope, key: &str, name: &str) -> Result<String, ProbeError> {
    let program = system32("reg.exe");
    let said = scope.ask(&program, &["query", key, "/v", name]).await?;
    data(&said.stdout, name)
        .map(str::to_owned)
        .ok_or(ProbeError::Unreadable {
            place: program,
            wanted: "value",
        })
}

/// Returns the value `name` of `key` as text, where there is one.
pub(super) async fn text<const MAX: usize>(
    scope: &Scope,
    key: &str,
    name: &str,
) -> Option<Text<MAX>> {
    value(scope, key, name)
        .await
        .ok()
        .map(|data| Text::cut(&data))
}

/// Finds `    NAME    REG_SZ    DATA` in what `reg query` printed.
fn data<'a>(printed: &'a str, name: &str) -> Option<&'a str> {
    printed.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix(name)?;
        let (kind, data) = rest.strip_prefix(' ')?.trim_start().split_once(' ')?;
        kind.starts_with("REG_").then(|| data.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let printed = "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\X\r\n    ProductNameLong    REG_SZ    no\r\n    \
                       ProductName    REG_SZ    Windows 11 Pro\r\n\r\n";

        assert_eq!(data(printed, "ProductName"), Some("Windows 11 Pro"));
        assert_eq!(data(printed, "Product"), None);
    }
}
