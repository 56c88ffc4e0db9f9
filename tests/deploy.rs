//! Every file in `deploy/` is read by what will read it.

use std::path::{Path, PathBuf};

use segmentd::config::Config;

#[test]
fn every_file_parses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).expect("readable").map(|e| e.expect("entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        match path.extension().and_then(|e| e.to_str()) {
            Some("toml") => {
                let config = Config::parse(&path.display().to_string(), &text, &folder, &[]).unwrap_or_else(|e| panic!("{e}"));
                assert!(config.notes.is_empty(), "a sample asks for nothing that has no effect: {:?}", config.notes);
            }
            kind => panic!("{}: nothing here reads {kind:?}; add it to this test", path.display()),
        }
    }
}
