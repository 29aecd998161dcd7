//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|is| is == value);
    // A command through the daemon takes as long as its process needs to start, and a third of that
    // was to relocate 300 KB of tables by 21,000 entries. At a fixed address nothing is relocated;
    // libraries, heap and stack still lie at random ones.
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("PROFILE", "release")
    {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
