use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn secrets_are_private_and_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Security::open(&data).unwrap();
    let again = Security::open(&data).unwrap();
    assert_eq!((first.ca_pem.as_str(), &first.admin), (again.ca_pem.as_str(), &again.admin));
    first.write_kubeconfig(&data, "127.0.0.1:1".parse().unwrap()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in ["ca.crt", "ca.key", "admin.token", "viewer.token", "kubeconfig"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let viewer = std::fs::read_to_string(data.join("viewer.token")).unwrap();
    assert_eq!(first.identify(&first.admin), Some(Identity::Admin));
    assert_eq!(first.identify(&viewer), Some(Identity::Viewer));
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
