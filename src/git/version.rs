//! Which git is there, and whether it is new enough.

use std::fmt;
use std::path::Path;

use crate::{Error, Git, Result};

/// The oldest git that works: 2.38 has `merge-tree --write-tree`.
pub const MINIMUM: Version = Version { major: 2, minor: 38 };

/// A version of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// The version of the git in PATH.
///
/// # Errors
/// When there is none, or one older than [`MINIMUM`].
pub async fn version() -> Result<Version> {
    let said = Git::new(Path::new("/")).text(["version"]).await?;
    let found = parse(&said).unwrap_or(Version { major: 0, minor: 0 });
    if found < MINIMUM { Err(Error::TooOld(found)) } else { Ok(found) }
}

/// Reads `git version 2.47.3` and what vendors make of it, such as `git version 2.39.5 (Apple Git-154)`.
fn parse(said: &str) -> Option<Version> {
    let number = said.split_whitespace().nth(2)?;
    let mut parts = number.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some(Version { major, minor })
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_vendors_are_read() {
        assert_eq!(parse("git version 2.47.3"), Some(Version { major: 2, minor: 47 }));
        assert_eq!(parse("git version 2.39.5 (Apple Git-154)"), Some(Version { major: 2, minor: 39 }));
        assert_eq!(parse("git version 2.45.windows.1"), Some(Version { major: 2, minor: 45 }));
        assert_eq!(parse("fish"), None);
        assert!(parse("git version 2.9.0").unwrap() < MINIMUM);
    }
}
