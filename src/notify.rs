//! Telling the service manager that started this program: ready, alive, stopping (`sd_notify`).
//!
//! ```text
//! READY=1 ─▶ WATCHDOG=1 … WATCHDOG=1 ─▶ STOPPING=1      datagrams to $NOTIFY_SOCKET
//! ```
//! Without that variable nobody is told anything.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager's socket, if there is one.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    pub(crate) fn of_environment() -> Self {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, own: u32) -> Self {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| {
            let address = address(name.as_bytes());
            let opened = address.and_then(|address| {
                let socket = UnixDatagram::unbound()?;
                // A manager that does not read must not hold the master up.
                socket.set_nonblocking(true)?;
                Ok((socket, address))
            });
            opened
                .map_err(|error| tracing::warn!(%error, ?name, "the service manager cannot be told anything"))
                .ok()
        });
        let number = |name: &str| variable(name)?.into_string().ok()?.parse::<u64>().ok();
        let is_ours = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(own));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && is_ours && socket.is_some());
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// The service works, and at what.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// It ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=ending agents, keeping state");
    }

    /// Says that it is alive for as long as `alive` finds it so in time. Never returns; without a watchdog it only waits.
    pub(crate) async fn watch<F>(&self, alive: impl Fn(Duration) -> F) -> std::convert::Infallible
    where
        F: Future<Output = Result<(), String>>,
    {
        let Some(limit) = self.watchdog else { return std::future::pending().await };
        // Three chances within the manager's limit.
        let pause = limit / 3;
        loop {
            match alive(pause).await {
                Ok(()) => self.tell("WATCHDOG=1"),
                Err(why) => tracing::error!(%why, "the service manager is not told that the master is alive"),
            }
            tokio::time::sleep(pause / 2).await;
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "the service manager was not told {}", message.lines().next().unwrap_or_default());
        }
    }
}

/// A path, or a name behind `@`.
fn address(name: &[u8]) -> std::io::Result<SocketAddr> {
    match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        _ => Err(std::io::Error::other("it is neither a path nor a name behind @")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn environment(lines: &[(&str, &str)]) -> Manager {
        let value =
            |name: &str| lines.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Manager::of(value, 7)
    }

    fn next(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut buffer = [0; 256];
        let read = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    #[test]
    fn sockets_with_a_path_and_with_a_name_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())]).ready("a\nb");
        assert_eq!(next(&by_path), "READY=1\nSTATUS=a b");
        let name = format!("gcluster-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        environment(&[("NOTIFY_SOCKET", &format!("@{name}"))]).stopping();
        assert!(next(&by_name).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names() {
        let watchdog = |lines: &[(&str, &str)]| {
            let all =
                [&[("NOTIFY_SOCKET", "@gcluster-nobody"), ("WATCHDOG_USEC", "3000000")], lines].concat();
            environment(&all).watchdog
        };
        assert_eq!(watchdog(&[]), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(&[("WATCHDOG_PID", "7")]), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(&[("WATCHDOG_PID", "8")]), None);
        assert_eq!(environment(&[("WATCHDOG_USEC", "3000000")]).watchdog, None, "nobody to tell");
        // Neither a missing nor an unusable socket is a failure.
        environment(&[]).ready("x");
        environment(&[("NOTIFY_SOCKET", "vsock:2:1234")]).ready("x");
    }

    #[tokio::test]
    async fn only_what_is_alive_says_so() {
        let name = format!("gcluster-test-watchdog-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = environment(&[("NOTIFY_SOCKET", &format!("@{name}")), ("WATCHDOG_USEC", "3000")]);
        let asked = AtomicUsize::new(0);
        let alive = |_| {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            async move { if n == 0 { Err("stuck".to_owned()) } else { Ok(()) } }
        };
        tokio::select! {
            never = manager.watch(alive) => match never {},
            () = async { while asked.load(Ordering::SeqCst) < 4 { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(next(&socket), "WATCHDOG=1");
        socket.set_nonblocking(true).unwrap();
        let more = std::iter::from_fn(|| socket.recv(&mut [0; 64]).ok()).count();
        assert!(more + 1 < asked.load(Ordering::SeqCst), "the first time it was not");
    }
}
