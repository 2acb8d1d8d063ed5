//! `gcluster install-service`: the master as a systemd service of this user.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Globals;
use super::master::Backend;
use super::output::{note, print};
use super::pidfile::PidFile;
use crate::exit::{Failure, Result};

/// The unit as the package installs it.
const UNIT: &str = include_str!("../../packaging/gcluster.service");
/// The line of it that starts the master.
const START: &str = "ExecStart=/usr/bin/gcluster master\n";
const NAME: &str = "gcluster.service";
/// A line of every unit of ours: what does not have it is somebody else's.
const MARK: &str = "`gcluster install-service`";

/// Write a systemd user unit that keeps a master running; prints how to start it
///
/// The master then starts at login, tells systemd when it is ready and that it is alive, and is started again when it
/// crashes; agents go on meanwhile.
#[derive(Args, Debug)]
pub(crate) struct InstallServiceArgs {
    /// Take the unit away again
    #[arg(long)]
    uninstall: bool,
    /// Print what would be written and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Address that the master listens on [default: the master's]
    #[arg(long, value_name = "ADDR")]
    addr: Option<SocketAddr>,
    /// What executes the prompts of agents that do not say [default: the master's]
    #[arg(long, value_enum, value_name = "NAME")]
    backend: Option<Backend>,
}

/// Does `gcluster install-service`.
pub(crate) fn run(globals: &Globals, args: &InstallServiceArgs) -> Result {
    let path = directory()?.join(NAME);
    let there = std::fs::read_to_string(&path).ok();
    if there.as_deref().is_some_and(|text| !text.contains(MARK)) {
        let told = format!("{} was not written by gcluster, so it is left as it is", path.display());
        return Err(Failure::failed(told).hint("move it away if gcluster's is to take its place"));
    }
    if args.uninstall {
        return uninstall(&path, there.is_some(), args.dry_run);
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
    let named = globals.data_dir.is_some() || crate::config::Surroundings::read().data_dir.is_some();
    let data_dir = globals.data_dir()?;
    let search = std::env::var("PATH").unwrap_or_default();
    let text = unit(&program, args, named.then_some(data_dir.as_path()), &search)?;
    if args.dry_run {
        note(&format!("{} would be:", path.display()));
        return print(&text);
    }
    write(&path, &text)?;
    let done = if there.as_deref() == Some(&text) { "is as it should be" } else { "written" };
    if let Some(master) = PidFile::running(&data_dir) {
        note(&format!(
            "note: a master runs already at {} (process {}); stop it with `gcluster down` before the service starts",
            master.address, master.pid
        ));
    }
    print(&format!("{} {done}\n{}", path.display(), advice()))
}

/// What to do next.
fn advice() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "$USER".to_owned());
    let rows = [
        ("systemctl --user daemon-reload", "make systemd read it"),
        ("systemctl --user enable --now gcluster", "start the master, now and at each login"),
        (&format!("loginctl enable-linger {user}"), "keep it running when you are logged out"),
        ("journalctl --user -u gcluster -f", "its log"),
    ];
    rows.iter().fold("Next:\n".to_owned(), |text, (command, what)| format!("{text}  {command:<42} {what}\n"))
}

fn uninstall(path: &Path, is_there: bool, dry_run: bool) -> Result {
    if !is_there {
        return print(&format!("there is no {}\n", path.display()));
    }
    if dry_run {
        return print(&format!("{} would be removed\n", path.display()));
    }
    std::fs::remove_file(path)
        .map_err(|error| Failure::failed(format!("cannot remove {}: {error}", path.display())))?;
    print(&format!(
        "{} removed\nNext:\n  systemctl --user disable --now gcluster    stop the master and its agents; the state is kept\n  \
         systemctl --user daemon-reload\n",
        path.display()
    ))
}

/// The unit that starts this program in this way.
fn unit(program: &Path, args: &InstallServiceArgs, data_dir: Option<&Path>, search: &str) -> Result<String> {
    let mut words = vec![shown(program)?, "master".to_owned()];
    if let Some(addr) = args.addr {
        words.extend(["--addr".to_owned(), addr.to_string()]);
    }
    if let Some(backend) = args.backend {
        words.extend(["--backend".to_owned(), backend.name().to_owned()]);
    }
    if let Some(directory) = data_dir {
        words.extend(["--data-dir".to_owned(), shown(directory)?]);
    }
    let command: Vec<String> = words.iter().map(|word| quoted(&word.replace('$', "$$"))).collect();
    let mut lines = format!("ExecStart={}\n", command.join(" "));
    if !search.is_empty() && !search.contains(char::is_control) {
        // systemd has a search path of its own, without what a login shell adds: agents' programs are there.
        lines += &format!("Environment={}\n", quoted(&format!("PATH={search}")));
    }
    Ok(UNIT.replacen(START, &lines, 1))
}

fn shown(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        Failure::failed(format!("the path {} cannot be written into a unit of systemd", path.display()))
    })
}

/// A word as systemd reads it.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:=+@,%$".contains(c);
    if escaped.chars().all(is_plain) && !escaped.is_empty() { escaped } else { format!("\"{escaped}\"") }
}

/// Where units of this user are.
fn directory() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = config.or_else(|| set("HOME").map(|home| home.join(".config")));
    let config = config.ok_or_else(|| {
        Failure::failed("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for the unit")
    })?;
    Ok(config.join("systemd/user"))
}

fn write(path: &Path, text: &str) -> Result {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(cannot)?;
    }
    // Never half a unit.
    let new = path.with_extension("service.new");
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(addr: Option<&str>) -> InstallServiceArgs {
        let addr = addr.map(|addr| addr.parse().unwrap());
        InstallServiceArgs { uninstall: false, dry_run: false, addr, backend: Some(Backend::Command) }
    }

    #[test]
    fn the_packaged_unit_is_the_one_that_is_written_but_for_the_command() {
        let text =
            unit(Path::new("/usr/bin/gcluster"), &args(Some("127.0.0.1:7")), Some(Path::new("/d")), "/bin")
                .unwrap();
        assert!(UNIT.contains(START) && UNIT.contains(MARK));
        let differs: Vec<&str> =
            text.lines().filter(|line| !UNIT.lines().any(|other| other == *line)).collect();
        assert_eq!(
            differs,
            [
                "ExecStart=/usr/bin/gcluster master --addr 127.0.0.1:7 --backend command --data-dir /d",
                "Environment=PATH=/bin"
            ]
        );
        assert_eq!(text.lines().count(), UNIT.lines().count() + 1);
    }

    #[test]
    fn odd_paths_are_what_they_are() {
        assert_eq!(quoted("/a b/100%"), "\"/a b/100%%\"");
        assert_eq!(quoted("say \"x\\y\""), r#""say \"x\\y\"""#);
        let text = unit(Path::new("/a $b/g"), &args(None), None, "").unwrap();
        assert!(text.contains("ExecStart=\"/a $$b/g\" master --backend command\n"), "{text}");
        assert!(!text.contains("Environment"));
        assert!(unit(Path::new("/a\nb"), &args(None), None, "").is_err());
    }
}
