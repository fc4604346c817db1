//! Landlock domains: which files a process may use, and whom it may signal.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

/// The rights that we know of. Kernels that know fewer enforce those that they know;
/// the probe proves by trying that these are enough.
const KNOWN: ABI = ABI::V9;

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

/// Whether a domain limits signals as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scoped {
    Yes,
    No,
}

/// A domain that is not entered yet.
#[derive(Debug)]
pub(crate) struct Domain(RulesetCreated);

impl Domain {
    /// A domain that may read and execute what is below `readable`, and do nothing else; if it is
    /// scoped it may signal nobody outside either.
    pub(crate) fn new(readable: &[PathBuf], scoped: Scoped) -> Result<Self, RulesetError> {
        // No address may be bound or connected to; the filter lets nobody come so far.
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::from_all(KNOWN))?;
        if scoped == Scoped::Yes {
            ruleset = ruleset.scope(Scope::Signal)?.scope(Scope::AbstractUnixSocket)?;
        }
        Self(ruleset.create()?).with(readable, AccessFs::from_read(KNOWN))
    }

    /// Enters it, with leave to read and execute what is below `readable`, and to change what is
    /// below `writable`. Returns whether anything is enforced.
    pub(crate) fn enter(
        self,
        readable: &[PathBuf],
        writable: &[PathBuf],
    ) -> Result<bool, RulesetError> {
        let domain = self.with(readable, AccessFs::from_read(KNOWN))?;
        let status = domain.with(writable, writable_rights())?.0.restrict_self()?;
        Ok(enforced(&status))
    }

    fn with(self, paths: &[PathBuf], rights: BitFlags<AccessFs>) -> Result<Self, RulesetError> {
        Ok(Self(self.0.add_rules(path_beneath_rules(paths, rights))?))
    }
}

/// Everything but devices: nobody makes or controls one.
fn writable_rights() -> BitFlags<AccessFs> {
    AccessFs::from_all(KNOWN) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

fn enforced(status: &RestrictionStatus) -> bool {
    status.ruleset != RulesetStatus::NotEnforced
}
