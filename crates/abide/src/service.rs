//! The daemon as a service of the user's systemd: the unit, who starts it, and how it says that it serves.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::configuration;
use crate::failure::Failure;

/// The name of the unit.
pub(crate) const UNIT: &str = "abide.service";

/// The variable by which a service manager says where it wants to be told.
pub(crate) const NOTIFY: &str = "NOTIFY_SOCKET";

/// Where the unit is, or would be.
pub(crate) fn unit_path() -> Result<PathBuf, Failure> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.map_or_else(|| configuration::home().map(|home| home.join(".config")), Ok)?;
    Ok(base.join("systemd/user").join(UNIT))
}

/// Whether a daemon is started as a service: the unit is installed, and no configuration is named that it does not have.
pub(crate) fn starts() -> bool {
    std::env::var_os(configuration::VARIABLE).is_none() && unit_path().is_ok_and(|path| path.exists())
}

/// The unit that starts this program.
pub(crate) fn unit(program: &Path) -> String {
    format!(
        "[Unit]\n\
         Description=Abide\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={} up --foreground\n\
         KillMode=process\n\
         OOMPolicy=continue\n\
         Delegate=yes\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         LimitNOFILE=65536\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        quoted(&program.to_string_lossy())
    )
}

/// A word as a unit takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    let escaped = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

/// Asks systemd for something. What it says goes to standard error.
pub(crate) fn ask(program: &str, args: &[&str]) -> io::Result<()> {
    let status = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program} {} failed", args.join(" ")))) }
}

/// Tells the service manager that started this process that it serves, where one wants to know.
pub(crate) fn notify_ready() -> io::Result<()> {
    let Some(socket) = std::env::var_os(NOTIFY).filter(|socket| !socket.is_empty()) else { return Ok(()) };
    let sender = UnixDatagram::unbound()?;
    sender.send_to_addr(b"READY=1", &address(&socket)?).map(drop)
}

/// A path, or with `@` before it a name that is no file.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_this_program() {
        insta::assert_snapshot!(unit(Path::new("/usr/local/bin/abide")), @r"
        [Unit]
        Description=Abide

        [Service]
        Type=notify
        ExecStart=/usr/local/bin/abide up --foreground
        KillMode=process
        OOMPolicy=continue
        Delegate=yes
        Restart=on-failure
        RestartSec=1
        LimitNOFILE=65536

        [Install]
        WantedBy=default.target
        ");
    }

    #[test]
    fn a_path_of_any_characters_is_one_word() {
        assert_eq!(quoted("/home/ada/bin/abide"), "/home/ada/bin/abide");
        assert_eq!(quoted("/a b/100%/$x\"y\\z"), r#""/a b/100%%/$$x\"y\\z""#);
    }

    #[test]
    fn a_manager_is_told_at_a_path_or_a_name() {
        for (socket, is_path) in [("/run/user/1000/systemd/notify", true), ("@name", false)] {
            let address = address(OsStr::new(socket)).unwrap();
            assert_eq!(address.as_pathname().is_some(), is_path, "{socket}");
        }
    }
}
