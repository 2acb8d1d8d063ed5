//! The hub: a bare repository between the user's checkout and the workers, with hooks that keep them apart.
//!
//! ```text
//! hub.git/hooks/…            what may be moved by whom; made again when somebody changes them
//! hub.git/gcluster/bases     the refs that only merges move
//! hub.git/gcluster/inbox/    what was pushed and not yet seen to
//! hub.git/gcluster/moved     written whenever a branch moves, for whoever watches
//! refs/gcluster/host/BASE    the base branch of the user's repository, as it was last fetched
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Git, Result};

/// How long a fetch may take.
const TRANSFER: Duration = Duration::from_secs(1_800);
/// How often a fetch is tried that another one came in between of.
const TRIES: usize = 5;
/// The variable by which hooks know that one of gcluster's own controllers runs git.
pub const CONTROLLER: &str = "GCLUSTER_CONTROLLER";

const HOOKS: [(&str, &str); 3] = [
    ("pre-receive", include_str!("hooks/pre-receive")),
    ("reference-transaction", include_str!("hooks/reference-transaction")),
    ("post-receive", include_str!("hooks/post-receive")),
];

/// A hub, and in whose name git is run in it.
#[derive(Debug, Clone)]
pub struct Hub {
    path: PathBuf,
    who: String,
}

/// What a hub should be.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The branch that merges go into.
    pub base: String,
    /// Format of object names: `sha1` or `sha256`.
    pub format: String,
    /// Name and address of who commits, where the user has set them for the repository.
    pub identity: Option<(String, String)>,
}

/// Commits that matter, each only if it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tips {
    /// Of the base branch.
    pub base: Option<String>,
    /// Of the base branch of the user's repository, as last fetched.
    pub host: Option<String>,
    /// Of the base branch as workers see it under the name `origin/BASE`.
    pub origin: Option<String>,
    /// Of the base branch as it was last pushed upstream.
    pub upstream: Option<String>,
}

impl Hub {
    /// The hub at a path. `who` is the controller or verb in whose name git is run.
    pub fn new(path: &Path, who: &str) -> Self {
        Self { path: path.to_owned(), who: who.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Git in it, which its hooks let through.
    pub fn git(&self) -> Git {
        Git::new(&self.path).env(CONTROLLER, &self.who)
    }

    /// Makes it, or mends what is not as it should be. Answers what was mended, in words; nothing for one that was as
    /// it should be.
    ///
    /// # Errors
    /// When it cannot be written or git fails.
    pub async fn ensure(&self, wanted: &Wanted) -> Result<Vec<String>> {
        let mut mended = Vec::new();
        let is_there = self.path.join("HEAD").is_file() && self.path.join("objects").is_dir();
        if !is_there || !self.path.join("refs").is_dir() {
            self.io("make", std::fs::create_dir_all(&self.path))?;
            let format = format!("--object-format={}", wanted.format);
            let branch = format!("--initial-branch={}", wanted.base);
            // Whatever is the user's own default: refs are looked at as files.
            let files = ["-c", "init.defaultRefFormat=files"];
            let init = ["init", "--bare", "--quiet", "--template=", &format, &branch, "."];
            self.git().text(files.into_iter().chain(init)).await?;
            mended.push("the bare repository".to_owned());
        }
        self.ensure_settings(wanted, &mut mended).await?;
        self.io("write hooks of", self.ensure_files(wanted, &mut mended))?;
        Ok(mended)
    }

    async fn ensure_settings(&self, wanted: &Wanted, mended: &mut Vec<String>) -> Result<()> {
        let path = self.path.display().to_string();
        let hooks = self.path.join("hooks").display().to_string();
        let mut settings = vec![
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("receive.autogc", "false"),
            ("receive.denynonfastforwards", "true"),
            ("receive.denycurrentbranch", "refuse"),
            // A branch that was moved by mistake can be found again.
            ("core.logallrefupdates", "true"),
            ("gc.reflogexpire", "90.days"),
            ("gc.reflogexpireunreachable", "30.days"),
            ("gc.pruneexpire", "2.weeks"),
            // A commit is on the disk when git says that it is there.
            ("core.fsync", "committed"),
            ("core.fsyncmethod", "batch"),
            // Also where the user's own settings, or a tool of the project, have it elsewhere.
            ("core.hookspath", hooks.as_str()),
            ("remote.origin.url", path.as_str()),
            ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
        ];
        if let Some((name, email)) = &wanted.identity {
            settings.extend([("user.name", name.as_str()), ("user.email", email.as_str())]);
        }
        let known = self.settings().await?;
        for (key, value) in settings {
            if known.get(key).map(Vec::as_slice) != Some(&[value.to_owned()]) {
                self.git().text(["config", "--replace-all", key, value]).await?;
                mended.push(format!("the setting {key}"));
            }
        }
        Ok(())
    }

    /// The hub's own settings.
    async fn settings(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let listed = self.git().text(["config", "--local", "--list", "--null"]).await?;
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in listed.split('\0').filter(|entry| !entry.is_empty()) {
            let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
            settings.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Ok(settings)
    }

    fn ensure_files(&self, wanted: &Wanted, mended: &mut Vec<String>) -> std::io::Result<()> {
        std::fs::create_dir_all(self.path.join("hooks"))?;
        std::fs::create_dir_all(self.inbox())?;
        for (name, text) in HOOKS {
            let file = self.path.join("hooks").join(name);
            let runs = std::fs::metadata(&file).is_ok_and(|meta| meta.permissions().mode() & 0o111 == 0o111);
            if !runs || std::fs::read(&file).ok().as_deref() != Some(text.as_bytes()) {
                replace(&file, text, 0o755)?;
                mended.push(format!("the hook {name}"));
            }
        }
        let (file, text) = (self.path.join("gcluster/bases"), format!("refs/heads/{}\n", wanted.base));
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            replace(&file, &text, 0o644)?;
            mended.push("the name of the base branch".to_owned());
        }
        Ok(())
    }

    /// The folder into which pushes are written down.
    pub fn inbox(&self) -> PathBuf {
        self.path.join("gcluster/inbox")
    }

    /// The commits that matter.
    ///
    /// # Errors
    /// When git cannot read the hub.
    pub async fn tips(&self, base: &str) -> Result<Tips> {
        let names = [
            format!("refs/heads/{base}"),
            host_ref(base),
            format!("refs/remotes/origin/{base}"),
            upstream_ref(base),
        ];
        let mut args = vec!["for-each-ref", "--format=%(objectname) %(refname)"];
        args.extend(names.iter().map(String::as_str));
        let listed = self.git().text(args).await?;
        let tip = |name: &String| {
            let mut lines = listed.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(_, reference)| reference == name).map(|(commit, _)| commit.to_owned())
        };
        let [base, host, origin, upstream] = &names;
        Ok(Tips { base: tip(base), host: tip(host), origin: tip(origin), upstream: tip(upstream) })
    }

    /// Takes over the base branch of the user's repository, with its commits, as [`Tips::host`]. Nothing is merged.
    ///
    /// # Errors
    /// When the repository cannot be read or the disk is full.
    pub async fn fetch_host(&self, address: &str, base: &str) -> Result<()> {
        let refspec = format!("+refs/heads/{base}:{}", host_ref(base));
        let git = self.git().limit(TRANSFER);
        let args = ["fetch", "--quiet", "--no-write-fetch-head", "--update-shallow", "--", address, &refspec];
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match git.text(args).await {
                Ok(_) => return Ok(()),
                // The controller and `gcluster sync` may fetch the same at once: one of them finds the ref moved.
                Err(Error::Failed { said, .. }) if tries > 0 && said.contains("cannot lock ref") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves a ref from `old` to `new`, if it is at `old`; none stands for a ref that is not there. False when it is
    /// somewhere else.
    ///
    /// # Errors
    /// When git cannot write it.
    pub async fn swap(&self, reference: &str, new: &str, old: Option<&str>, why: &str) -> Result<bool> {
        let zeros = "0".repeat(new.len());
        let expected = old.unwrap_or(&zeros);
        let args = ["update-ref", "--create-reflog", "-m", why, reference, new, expected];
        let failure = match self.git().text(args).await {
            Ok(_) => return Ok(true),
            Err(failure) => failure,
        };
        let now = self.commit(reference).await?;
        // Whoever is told that it failed must be able to trust it.
        match now.as_deref() {
            Some(now) if now == new => Ok(true),
            now if now != old => Ok(false),
            _ => Err(failure),
        }
    }

    /// The commit of a ref, if it is there.
    ///
    /// # Errors
    /// When git cannot read the hub.
    pub async fn commit(&self, name: &str) -> Result<Option<String>> {
        let args = ["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")];
        let output = self.git().output(&args, None).await?;
        match output.code {
            Some(0) => Ok(Some(output.text())),
            Some(1) => Ok(None),
            _ => self.git().text(args).await.map(Some),
        }
    }

    /// How many commits each of two has that the other lacks; none when they have nothing in common.
    ///
    /// # Errors
    /// When git cannot read the hub.
    pub async fn apart(&self, ours: &str, theirs: &str) -> Result<Option<(i64, i64)>> {
        if ours == theirs {
            return Ok(Some((0, 0)));
        }
        let common = self.git().output(&["merge-base", ours, theirs], None).await?;
        if common.code == Some(1) {
            return Ok(None);
        }
        let range = format!("{ours}...{theirs}");
        let counts = self.git().text(["rev-list", "--left-right", "--count", &range]).await?;
        let mut counts = counts.split_whitespace().filter_map(|count| count.parse().ok());
        Ok(counts.next().zip(counts.next()))
    }

    /// All branches but the base, with their tips, by name.
    ///
    /// # Errors
    /// When git cannot read the hub.
    pub async fn branches(&self, base: &str) -> Result<Vec<(String, String)>> {
        let format = "--format=%(refname:lstrip=2) %(objectname)";
        let listed = self.git().text(["for-each-ref", format, "refs/heads/"]).await?;
        let branches = listed.lines().filter_map(|line| line.rsplit_once(' '));
        Ok(branches
            .filter(|(name, _)| *name != base)
            .map(|(name, commit)| (name.to_owned(), commit.to_owned()))
            .collect())
    }

    fn io<T>(&self, verb: &str, result: std::io::Result<T>) -> Result<T> {
        result.map_err(|source| Error::Io {
            command: format!("hub: cannot {verb} it"),
            directory: self.path.clone(),
            source,
        })
    }
}

/// The ref of the user's base branch in a hub.
pub fn host_ref(base: &str) -> String {
    format!("refs/gcluster/host/{base}")
}

/// The ref that keeps what was pushed upstream last.
pub fn upstream_ref(base: &str) -> String {
    format!("refs/gcluster/upstream/{base}")
}

/// Writes a file so that it is whole at any moment.
fn replace(file: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
