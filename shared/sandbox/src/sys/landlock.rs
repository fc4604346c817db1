//! Landlock domains: which files a process may use, and whom it may signal.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// The rights on files that we know of. Kernels that know fewer enforce those that they know;
/// the probe proves by trying that these are enough.
const FILES: ABI = ABI::V5;

/// Enters a domain that may signal nobody outside itself. Fails where the kernel has no such
/// scope. It leaves files alone; but a domain that says nothing of moving them between
/// directories forbids it to every domain inside, so it says that it is allowed.
pub(crate) fn enter_scope() -> Result<(), RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::Signal)?
        .scope(Scope::AbstractUnixSocket)?
        .handle_access(AccessFs::Refer)?
        .create()?
        .add_rules(path_beneath_rules(["/"], AccessFs::Refer))?
        .restrict_self()?;
    Ok(())
}

/// Enters a domain that may read and execute what is below `readable`, change what is below
/// `writable`, and nothing else; with `scope` it may signal nobody outside either. Returns
/// whether anything is enforced.
pub(crate) fn enter_files(
    readable: &[PathBuf],
    writable: &[PathBuf],
    scope: bool,
) -> Result<bool, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(FILES))?;
    if scope {
        ruleset = ruleset.scope(Scope::Signal)?.scope(Scope::AbstractUnixSocket)?;
    }
    let status = ruleset
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(FILES)))?
        .add_rules(path_beneath_rules(writable, writable_rights()))?
        .restrict_self()?;
    Ok(enforced(&status))
}

/// Everything but devices: nobody makes or controls one.
fn writable_rights() -> landlock::BitFlags<AccessFs> {
    AccessFs::from_all(FILES) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

fn enforced(status: &RestrictionStatus) -> bool {
    status.ruleset != RulesetStatus::NotEnforced
}
