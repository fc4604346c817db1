//! Who a process is.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// The effective user of this process.
pub fn current_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    current_uid() == 0
}

/// Becomes the user and group `uid`, without other groups and without capabilities, for good.
/// The process must have one thread.
pub(crate) fn become_user(uid: u32) -> io::Result<()> {
    // The change of user below clears what counts.
    bound_capabilities();
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

/// Gives up every capability, as far as the host lets us; one who is not root has none after the
/// next execution in any case.
pub(crate) fn drop_capabilities() {
    bound_capabilities();
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).unwrap_or_default();
}

/// Keeps any later execution from granting capabilities.
fn bound_capabilities() {
    for number in 0..64_u32 {
        let Some(capability) = CapabilitySet::from_bits(1 << number) else { continue };
        // There are numbers beyond the kernel's last one, and hosts that keep us from dropping.
        remove_capability_from_bounding_set(capability).unwrap_or_default();
    }
    // Kernels without ambient capabilities have nothing to clear.
    clear_ambient_capability_set().unwrap_or_default();
}

/// A user that nothing belongs to, as far as anybody knows.
const NOBODY_ELSE: u32 = 64_998;

/// Becomes somebody who may signal the processes of `uid`, and nobody else's, and whom they may
/// not signal: only the effective user counts for the sender of a signal, and only the real and
/// the saved one for its target. The process must have one thread.
pub(crate) fn become_warden_of(uid: u32) -> io::Result<()> {
    let (warden, user) = (Uid::from_raw(NOBODY_ELSE), Uid::from_raw(uid));
    let group = Gid::from_raw(NOBODY_ELSE);
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    // No user of the three is root, so the kernel takes every capability away.
    set_thread_res_uid(warden, user, warden)?;
    Ok(())
}
