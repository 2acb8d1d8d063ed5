//! `metrics/tickets.csv`: rows are appended whole and durable, each once.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use gcluster_types::tickets::record::{HEADER, Record, read};

/// The file, and the keys of its rows.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    keys: HashSet<(String, String)>,
}

impl File {
    /// Reads what is there. A row that a crash cut short is taken away, a file of another version is rewritten with the
    /// columns of this one, and what is no such file is put aside.
    pub(super) fn open(path: PathBuf) -> io::Result<(File, Vec<Record>)> {
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A row is one line, and ends only with the write that began it.
        let (text, cut) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
        let records = match (text.is_empty(), HEADER.starts_with(cut)) {
            (true, true) => Ok(Vec::new()),
            (true, false) => Err("there is no whole line in it".to_owned()),
            (false, _) => read(text).map_err(|why| why.to_string()),
        };
        let records = match records {
            Ok(records) => records,
            Err(why) => {
                let aside = aside(&path);
                tracing::warn!(file = %path.display(), kept = %aside.display(), "this is no file of metrics: {why}");
                fs::rename(&path, aside)?;
                return Ok((File { path, keys: HashSet::new() }, Vec::new()));
            }
        };
        if !cut.is_empty() {
            replace(&path, text)?;
        }
        if text.lines().next() != Some(HEADER) && !records.is_empty() {
            let rows: String = records.iter().map(Record::line).collect();
            replace(&path, &format!("{HEADER}\r\n{rows}"))?;
        }
        let keys = records.iter().map(Record::key).collect();
        Ok((File { path, keys }, records))
    }

    /// Whether the row is there.
    pub(super) fn has(&self, record: &Record) -> bool {
        self.keys.contains(&record.key())
    }

    /// Adds a row unless it is there; it is on disk when this returns. An error leaves the file as it was.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<bool> {
        if self.has(record) {
            return Ok(false);
        }
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&self.path)?;
        let length = file.metadata()?.len();
        let mut text = match length {
            0 => format!("{HEADER}\r\n"),
            // Somebody who edited it may have left the last line open.
            _ if last_byte(&mut file)? != b'\n' => "\r\n".to_owned(),
            _ => String::new(),
        };
        text.push_str(&record.line());
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
            file.set_len(length)?;
            return Err(error);
        }
        if length == 0 {
            sync_directory(&self.path)?;
        }
        self.keys.insert(record.key());
        Ok(true)
    }
}

fn last_byte(file: &mut fs::File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte.first().copied().unwrap_or_default())
}

/// Puts another text in the place of a file, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("csv.new");
    let mut file = fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}

/// A name beside the file that is free.
fn aside(path: &Path) -> PathBuf {
    let mut names = (1_u32..).map(|n| path.with_extension(format!("csv.old-{n}")));
    names.find(|name| !name.exists()).unwrap_or_else(|| path.with_extension("csv.old"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: &str) -> Record {
        Record { uid: uid.into(), finished: "2026-01-01T00:00:00Z".parse().ok(), ..Record::default() }
    }

    fn rows(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with(HEADER) && text.ends_with("\r\n"), "{text}");
        read(&text).unwrap().into_iter().map(|record| record.uid).collect()
    }

    #[test]
    fn each_row_is_written_once_wherever_the_write_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole.csv");
        let (mut file, _) = File::open(whole.clone()).unwrap();
        assert!(file.append(&record("a")).unwrap() && file.append(&record("b")).unwrap());
        assert!(!file.append(&record("a")).unwrap());
        let bytes = fs::read(&whole).unwrap();
        for cut in 0..=bytes.len() {
            let path = dir.path().join("cut.csv");
            fs::write(&path, &bytes[..cut]).unwrap();
            let (mut file, _) = File::open(path.clone()).unwrap();
            for uid in ["a", "b", "c"] {
                file.append(&record(uid)).unwrap();
            }
            assert_eq!(rows(&path), ["a", "b", "c"], "cut at {cut}");
        }
    }

    #[test]
    fn another_version_is_rewritten_and_what_is_no_metrics_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics/tickets.csv");
        fs::create_dir(dir.path().join("metrics")).unwrap();
        fs::write(&path, "uid,finished,mood\na,2026-01-01T00:00:00Z,good\n").unwrap();
        let (mut file, records) = File::open(path.clone()).unwrap();
        assert_eq!(records.len(), 1);
        assert!(!file.append(&record("a")).unwrap() && file.append(&record("b")).unwrap());
        assert_eq!(rows(&path), ["a", "b"]);
        fs::write(&path, "my notes\n").unwrap();
        let (mut file, _) = File::open(path.clone()).unwrap();
        file.append(&record("a")).unwrap();
        assert_eq!(rows(&path), ["a"]);
        assert_eq!(fs::read_to_string(path.with_extension("csv.old-1")).unwrap(), "my notes\n");
        // Also without a line end, and what is no text.
        for (n, notes) in [(2, &b"notes"[..]), (3, &b"caf\xe9"[..]), (4, &b"my\nnotes"[..])] {
            fs::write(&path, notes).unwrap();
            let (mut file, _) = File::open(path.clone()).unwrap();
            file.append(&record("a")).unwrap();
            assert_eq!(rows(&path), ["a"]);
            assert_eq!(fs::read(path.with_extension(format!("csv.old-{n}"))).unwrap(), notes);
        }
    }

    #[test]
    fn a_file_that_was_taken_away_begins_anew_and_one_left_open_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tickets.csv");
        let (mut file, _) = File::open(path.clone()).unwrap();
        file.append(&record("a")).unwrap();
        fs::remove_file(&path).unwrap();
        file.append(&record("b")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.trim_end()).unwrap();
        file.append(&record("c")).unwrap();
        assert_eq!(rows(&path), ["b", "c"]);
    }
}
