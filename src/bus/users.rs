//! What the system knows of users: their names and groups.
//!
//! It may be asked of a server far away, so it is asked beside everything else.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::model::{ErrorKind, Result, quoted};

/// How long others wait for it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The groups of a user, its first and the others; none where nobody can tell.
pub(super) async fn groups_of(uid: u32) -> Vec<u32> {
    let found = tokio::task::spawn_blocking(move || {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        user.and_then(|user| groups(&user)).unwrap_or_default()
    });
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Ok(groups)) => groups,
        _ => Vec::new(),
    }
}

/// The number and the groups of the user with this name or number.
///
/// # Errors
/// `NotFound` where there is none.
pub(super) async fn find(name: String) -> Result<(u32, Vec<u32>)> {
    let asked = name.clone();
    let found = tokio::task::spawn_blocking(move || {
        let number = || User::from_uid(Uid::from_raw(asked.parse().ok()?)).ok().flatten();
        let user = User::from_name(&asked).ok().flatten().or_else(number)?;
        Some((user.uid.as_raw(), groups(&user).unwrap_or_default()))
    });
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Ok(Some(found))) => Ok(found),
        _ => Err(ErrorKind::NotFound.because(format_args!("there is no user {}", quoted(&name)))),
    }
}

fn groups(user: &User) -> Option<Vec<u32>> {
    let name = CString::new(user.name.as_str()).ok()?;
    let groups = getgrouplist(&name, user.gid).ok()?;
    Some(groups.into_iter().map(Gid::as_raw).collect())
}
