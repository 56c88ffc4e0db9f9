//! `src/wire/proto/v1.rs` is what `proto/segmentd/v1` generates. `UPDATE_GOLDEN=1 cargo test --test wire generated` writes it anew.

use std::path::Path;

const FILES: [&str; 6] = ["event", "change", "membership", "journal", "snapshot", "time_zones"];

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = FILES.map(|f| format!("segmentd/v1/{f}.proto"));
    let descriptors = protox::compile(names, [root.join("proto")]).expect("the proto files compile");
    let out = tempfile::tempdir().expect("a folder for the generated code");
    prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).expect("code is generated");
    let fresh = std::fs::read_to_string(out.path().join("segmentd.v1.rs")).expect("one file for the package");
    let checked_in = root.join("src/wire/proto/v1.rs");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&checked_in, &fresh).expect("the generated code is written");
    }
    let stored = std::fs::read_to_string(&checked_in).expect("the generated code is checked in");
    assert!(stored == fresh, "src/wire/proto/v1.rs is stale: run `UPDATE_GOLDEN=1 cargo test --test wire generated`");
}

#[test]
fn every_proto_file_is_compiled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/segmentd/v1");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .expect("the proto folder")
        .map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    found.sort();
    let mut listed = FILES.map(|f| format!("{f}.proto"));
    listed.sort();
    assert_eq!(found, listed);
}
