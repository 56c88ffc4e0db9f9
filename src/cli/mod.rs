//! One file per command; parses arguments, prints, decides exit codes.
