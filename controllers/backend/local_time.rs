//! The time zone that programs of this machine write times in.

use std::path::Path;

use k8s_openapi::jiff::tz::TimeZone;

/// Where the zones are described.
const ZONES: &str = "/usr/share/zoneinfo";
/// The zone of the machine.
const MACHINE: &str = "/etc/localtime";

/// As the C library and Rust's programs choose it: `TZ`, else that of the machine, else UTC.
pub(crate) fn local_zone() -> TimeZone {
    named(std::env::var("TZ").ok().as_deref(), Path::new(ZONES), Path::new(MACHINE))
}

fn named(name: Option<&str>, zones: &Path, machine: &Path) -> TimeZone {
    let zone = match name.map(|name| name.trim_start_matches(':')) {
        None => read(machine),
        Some("") => None,
        // An absolute path replaces the folder.
        Some(name) => read(&zones.join(name)).or_else(|| TimeZone::posix(name).ok()),
    };
    zone.unwrap_or(TimeZone::UTC)
}

fn read(path: &Path) -> Option<TimeZone> {
    TimeZone::tzif("Local", &std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn a_zone_is_a_rule_a_file_or_utc() {
        let nowhere = Path::new("/no/such/place");
        let hour = |name: Option<&str>, machine: &Path| {
            let zone = named(name, nowhere, machine);
            Timestamp::UNIX_EPOCH.to_zoned(zone).hour()
        };
        assert_eq!(hour(Some("XYZ-3"), nowhere), 3, "POSIX counts to the west");
        assert_eq!(
            (hour(None, nowhere), hour(Some(""), nowhere), hour(Some("No/Where"), nowhere)),
            (0, 0, 0)
        );
        // A file with one zone of two hours, as RFC 8536 describes version 1.
        let mut file = b"TZif".to_vec();
        file.extend([0; 16]);
        for count in [0_u32, 0, 0, 0, 1, 4] {
            file.extend(count.to_be_bytes());
        }
        file.extend(7200_i32.to_be_bytes());
        file.extend([0, 0]);
        file.extend(b"ABC\0");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("localtime");
        std::fs::write(&path, file).unwrap();
        assert_eq!(hour(None, &path), 2);
        assert_eq!(hour(path.to_str(), nowhere), 2, "a path in TZ");
    }
}
