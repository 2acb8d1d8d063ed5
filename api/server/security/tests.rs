use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn secrets_are_private_and_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Security::open(&data).unwrap();
    let again = Security::open(&data).unwrap();
    assert_eq!((first.certificates.ca_pem(), &first.admin), (again.certificates.ca_pem(), &again.admin));
    first.write_kubeconfig(&data, "127.0.0.1:1".parse().unwrap()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in ["ca.crt", "ca.key", "admin.token", "viewer.token", "agents.key", "kubeconfig"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let viewer = std::fs::read_to_string(data.join("viewer.token")).unwrap();
    assert_eq!(first.identify(&first.admin), Some(Identity::Admin));
    assert_eq!(first.identify(&viewer), Some(Identity::Viewer));
    let agent = again.agent_token("default", "a", "1");
    assert_eq!(first.identify(&agent).unwrap().user(), "system:serviceaccount:default:a");
    assert_eq!(first.identify(""), None);
    assert_eq!(first.identify(&first.admin[1..]), None);
    assert!(!format!("{first:?}").contains(&*first.admin));
}

#[test]
fn a_damaged_authority_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    Security::open(dir.path()).unwrap();
    std::fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
    let error = Security::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("ca.key") && error.contains("remove"), "{error}");
}

#[test]
fn an_authority_whose_halves_do_not_fit_or_that_has_expired_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Security::open(one.path()).unwrap();
    Security::open(other.path()).unwrap();
    std::fs::copy(other.path().join("ca.key"), one.path().join("ca.key")).unwrap();
    let error = Security::open(one.path()).unwrap_err().to_string();
    assert!(error.contains("do not belong together") && error.contains("remove"), "{error}");

    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    std::fs::write(other.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(other.path().join("ca.key"), key.serialize_pem()).unwrap();
    let error = Security::open(other.path()).unwrap_err().to_string();
    assert!(error.contains("ca.crt has expired") && error.contains("remove"), "{error}");
}

/// Writes a self-signed certificate for a name, and its key.
fn owners(dir: &Path, name: &str, until: i32) -> TlsOptions {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let files = (dir.join("tls.crt"), dir.join("tls.key"));
    std::fs::write(&files.0, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    TlsOptions { certificate: Some(files), hostnames: Vec::new() }
}

#[test]
fn the_owners_certificate_is_for_its_names_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = owners(dir.path(), "one.example", 2070);
    options.hostnames.push("master.lan".into());
    let security = Security::open_with(&dir.path().join("data"), options).unwrap();
    for (name, has) in [("one.example", true), ("two.example", false), ("MASTER.lan", true), ("", false)] {
        assert_eq!(security.has_name(name), has, "{name}");
    }
    owners(dir.path(), "two.example", 2070);
    assert!(security.certificates.reload());
    assert!(security.has_name("two.example") && !security.has_name("one.example"));
    // What is not usable changes nothing.
    owners(dir.path(), "three.example", 2001);
    assert!(!security.certificates.reload());
    std::fs::write(dir.path().join("tls.crt"), "nonsense").unwrap();
    assert!(!security.certificates.reload());
    assert!(security.has_name("two.example"));
    security.certificates.renew();
}

#[test]
fn an_owners_certificate_that_cannot_be_used_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let open = |options: &TlsOptions| Security::open_with(&data, options.clone()).unwrap_err().to_string();
    let old = owners(dir.path(), "one.example", 2001);
    assert!(open(&old).contains("tls.crt") && open(&old).contains("expired"), "{}", open(&old));
    let good = owners(dir.path(), "one.example", 2070);
    std::fs::write(dir.path().join("tls.key"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(open(&good).contains("do not belong together"), "{}", open(&good));
    std::fs::remove_file(dir.path().join("tls.key")).unwrap();
    assert!(open(&good).contains("tls.key"), "{}", open(&good));
}
